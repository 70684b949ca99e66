from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bundler.model.recipe_mistakes import findings
from bundler.model.registries import Registries


def read(**parts: Any) -> Registries:
    return Registries.model_validate(parts)


def told(error: ValidationError) -> str:
    found = findings(error, Registries.model_json_schema(), lambda _: "")
    return "\n".join(f"{each.path} {each.what}" for each in found)


@pytest.mark.parametrize("name", ["docker.io", "*", "registry.example:5000", "localhost", "10.0.0.1:80", "[::1]:5000"])
def test_mirrors_are_named_by_registry_or_by_all(name: str) -> None:
    assert read(mirrors={name: {"endpoint": ("https://m.example",)}}).mirrors[name] is not None


def test_an_empty_mirror_is_one_the_embedded_registry_may_share() -> None:
    assert read(mirrors={"docker.io": None, "quay.io": {}}).mirrors["docker.io"] is None


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"mirrors": {"https://a": {}}}, "is a URL: registries are named by host"),
        ({"mirrors": {"a/b": {}}}, "is not a registry"),
        ({"mirrors": {"*.a": {}}}, "is not a registry"),
        ({"mirrors": {"registry-1.docker.io": {}}}, "write that"),
        ({"mirrors": {"a": {"endpoint": ("m.example:5000",)}}}, "begins with https"),
        ({"mirrors": {"a": {"endpoint": ("https://u:p@m",)}}}, "secrets do not belong"),
        ({"mirrors": {"a": {"endpoint": ("https://m", "https://m/")}}}, "is in the list twice"),
        ({"mirrors": {"a": {"endpoint": "https://m"}}}, "a list is expected"),
        ({"mirrors": {"a": {"endpoints": ()}}}, "unknown key"),
        ({"mirrors": {"a": {"rewrite": {"(": "x"}}}}, "is not a regular expression"),
        ({"mirrors": {"a": {"rewrite": {"(?=x)": "x"}}}}, "RE2"),
        ({"mirrors": {"a": {"rewrite": {"(a)\\1": "x"}}}}, "RE2"),
        ({"mirrors": {"a": {"rewrite": {"": "x"}}}}, "1 to 200"),
        ({"mirrors": {"a": {"rewrite": {"^x": 1}}}}, "text is expected"),
        ({"configs": {"a": {}}}, "says nothing: give it auth or tls"),
        ({"configs": {"a": {"auth": {}}}}, "is not one account"),
        ({"configs": {"a": {"auth": {"username": "x"}}}}, "needs password beside it"),
        ({"configs": {"a": {"auth": {"password": {"ask": True}}}}}, "needs username beside it"),
        ({"configs": {"a": {"auth": {"username": "x", "password": "hunter2"}}}}, "is written out"),
        ({"configs": {"a": {"auth": {"username": "x", "password": ("hunter2",)}}}}, "is written out"),
        ({"configs": {"a": {"auth": {"auth": 22}}}}, "is written out"),
        ({"configs": {"a": {"auth": {"auth": {}}}}}, "says nowhere, or in several places"),
        ({"configs": {"a": {"auth": {"auth": {"env": "A", "ask": True}}}}}, "says nowhere, or in several places"),
        ({"configs": {"a": {"auth": {"auth": {"env": "a-b"}}}}}, "is not the name of an environment variable"),
        ({"configs": {"a": {"auth": {"auth": {"ask": False}}}}}, "true"),
        ({"configs": {"a": {"auth": {"auth": {"file": "a/"}}}}}, "is not the path of a file"),
        ({"configs": {"a": {"auth": {"token": {"env": "A"}, "auth": {"env": "A"}}}}}, "k3s reads no token here"),
        ({"configs": {"a": {"auth": {"identity_token": {"env": "A"}, "auth": {"env": "A"}}}}}, "is not one account"),
        ({"configs": {"a": {"tls": {"ca_file": "ca/"}}}}, "is neither a file such as ./ca.pem"),
        ({"preset": "private"}, "needs host beside it"),
        ({"preset": "offline", "host": "a"}, "is for preset: private alone"),
        ({"preset": "private", "host": "https://a"}, "is not a host"),
        ({"preset": "online"}, "is not one of offline, embedded, private"),
        ({"mirrors": {"a": {"rewrite": {"^a": "x", "^ab": "y"}}}}, "may match what"),
        ({"mirrors": {"a": {"rewrite": {"^a/(.*)": "x", "b$": "y"}}}}, "may match what"),
        ({"mirrors": {"a": {"rewrite": {"^a|^c": "x", "^b": "y"}}}}, "may match what"),
        ({"mirrors": {"a": {"rewrite": {"^ab?": "x", "^ac": "y"}}}}, "may match what"),
        ({"configs": {"a": {"tls": {"ca_file": "/a/../b"}}}}, "is not a path at the site"),
        ({"configs": {"a": {"tls": {"cert_file": "/c"}}}}, "needs key_file"),
        ({"configs": {"a": {"tls": {"key_file": "/c"}}}}, "needs cert_file"),
        ({"configs": {"a": {"tls": {"insecure_skip_verify": "true"}}}}, "true or false is expected"),
        ({"auths": {}}, "unknown key"),
    ],
    ids=str,
)
def test_what_k3s_would_drop_or_refuse_is_a_mistake(parts: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(**parts)
    assert why in told(caught.value)
    assert "hunter2" not in told(caught.value)


@pytest.mark.parametrize(
    "rewrite",
    [
        {"^rancher/(.*)": "a/$1", "^library/(.*)": "b/$1", r"^k8s\.gcr\.io/": "c/"},
        {"^a": "x", "^b": "y"},
        {"(.*)": "x/$1"},
    ],
    ids=str,
)
def test_expressions_that_cannot_meet_are_taken(rewrite: dict[str, str]) -> None:
    assert read(mirrors={"a": {"rewrite": rewrite}}).mirrors


def test_a_preset_lies_below_what_is_written() -> None:
    private = read(preset="private", host="r.example:5000", mirrors={"quay.io": {"endpoint": ("https://q.example",)}})
    assert {name: mirror.endpoint if mirror else None for name, mirror in private.all_mirrors().items()} == {
        "*": ("https://r.example:5000",),
        "quay.io": ("https://q.example",),
    }
    assert read(preset="embedded", mirrors={"*": {"endpoint": ("https://q",)}}).all_mirrors()["*"] is not None
    assert read(preset="embedded").all_mirrors() == {"*": None}


def test_accounts_for_the_host_of_a_preset_must_name_its_port() -> None:
    auth = {"auth": {"username": "x", "password": {"ask": True}}}
    with pytest.raises(ValidationError) as caught:
        read(preset="private", host="r.example:5000", configs={"r.example": auth})
    assert 'write "r.example:5000"' in told(caught.value)


def test_a_config_with_another_port_than_its_endpoint_is_a_mistake() -> None:
    mirrors = {"docker.io": {"endpoint": ("https://m.example:5000",)}}
    tls = {"tls": {"ca_file": "/ca"}}
    with pytest.raises(ValidationError) as caught:
        read(mirrors=mirrors, configs={"m.example": tls})
    assert 'write "m.example:5000"' in told(caught.value)
    assert read(mirrors=mirrors, configs={"m.example:5000": tls}).configs
    assert read(mirrors=mirrors, configs={"other.example": tls}).configs
    assert read(mirrors=mirrors | {"m.example": {}}, configs={"m.example": tls}).configs


def test_a_rewrite_for_the_registry_itself_is_a_mistake_because_k3s_ignores_it() -> None:
    with pytest.raises(ValidationError) as caught:
        read(mirrors={"a.example": {"endpoint": ("https://a.example",), "rewrite": {"^x": "y"}}})
    assert "does nothing" in told(caught.value)
    assert read(mirrors={"a.example": {"endpoint": ("https://a.example:443",), "rewrite": {"^x": "y"}}}).mirrors


@pytest.mark.parametrize("pattern", ["^rancher/(.*)", r"\pL+", "[[:alpha:]]", r"\Qa\E", "(?i)x", "(?P<n>x)", "[+*]+"])
def test_expressions_of_go_are_taken(pattern: str) -> None:
    assert read(mirrors={"a": {"rewrite": {pattern: "$1"}}}).mirrors
