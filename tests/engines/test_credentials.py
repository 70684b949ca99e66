"""Docker's config.json and credential helpers, as real files and real programs."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest

from bundler.engines.credentials import Credentials, find_credentials
from bundler.errors import AccessDeniedError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.conftest import DockerConfig

HOST = "registry.example:5000"


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a credential helper on PATH; it is asked with `get` and the server on standard input."""
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\nread server\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_nobody_has_logged_in() -> None:
    assert find_credentials(HOST) is None


def test_logins_are_found_by_host_and_port(docker_config: DockerConfig) -> None:
    docker_config({HOST: "me:pass:word", "https://other.example/v2/": "you:secret"})
    assert find_credentials(HOST) == Credentials("me", "pass:word", "")
    assert find_credentials("other.example") == Credentials("you", "secret", "")
    assert find_credentials("registry.example") is None
    assert find_credentials("docker.io") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
def test_docker_hub_is_found_under_each_of_its_names(key: str, docker_config: DockerConfig) -> None:
    docker_config({key: "me:secret"})
    assert find_credentials("docker.io") == Credentials("me", "secret", "")


def test_an_identity_token_is_found(docker_config: DockerConfig) -> None:
    docker_config({HOST: {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "refresh-me"}})
    found = find_credentials(HOST)
    assert found
    assert found.identity_token == "refresh-me"


@pytest.mark.parametrize("login", [":", "me:", ":secret"])
def test_an_entry_without_a_secret_or_a_name_is_none(login: str, docker_config: DockerConfig) -> None:
    docker_config({HOST: login})
    assert find_credentials(HOST) is None


def test_credentials_never_show_in_text() -> None:
    credentials = Credentials("me", "secret", "token")
    assert f"{credentials} {credentials!r} {[credentials]}".count("Credentials(…)") == 3
    assert "secret" not in f"{credentials!r}"


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_is_asked_for_the_server(
    key: str, docker_config: DockerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(
        tmp_path / "bin",
        "safe",
        'test "$1" = get && printf \'{"ServerURL":"%s","Username":"me","Secret":"for %s"}\' "$server" "$server"',
        monkeypatch,
    )
    docker_config({}, **{key: "safe" if key == "credsStore" else {HOST: "safe"}})
    assert find_credentials(HOST) == Credentials("me", f"for {HOST}", "")
    if key == "credHelpers":
        assert find_credentials("other.example") is None
    else:
        assert find_credentials("docker.io") == Credentials("me", "for https://index.docker.io/v1/", "")


def test_a_helper_may_hold_an_identity_token(
    docker_config: DockerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", "safe", 'echo \'{"Username":"<token>","Secret":"refresh-me"}\'', monkeypatch)
    docker_config({}, credsStore="safe")
    assert find_credentials(HOST) == Credentials("", "", "refresh-me")


def test_a_helper_that_knows_nothing_means_nobody_has_logged_in(
    docker_config: DockerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", "safe", "echo credentials not found in native keychain; exit 1", monkeypatch)
    docker_config({}, credsStore="safe")
    assert find_credentials(HOST) is None


@pytest.mark.parametrize(
    "script",
    ["echo the keychain is locked; exit 1", "exit 3", "echo no json", "echo '[]'", "echo '{}'", "printf '\\377'"],
)
def test_a_helper_that_fails_is_an_error_that_names_registry_and_remedy(
    script: str, docker_config: DockerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path / "bin", "safe", script, monkeypatch)
    docker_config({}, credsStore="safe")
    with pytest.raises(AccessDeniedError, match=f"the credentials for {HOST}") as caught:
        find_credentials(HOST)
    assert "credsStore" in caught.value.hint


def test_a_helper_that_is_not_installed_is_an_error_that_names_it(docker_config: DockerConfig) -> None:
    docker_config({}, credHelpers={HOST: "absent"})
    with pytest.raises(AccessDeniedError, match="docker-credential-absent"):
        find_credentials(HOST)


@pytest.mark.parametrize("auths", [[], {HOST: 5}, {HOST: {"auth": "%%%"}}, {HOST: {"auth": "bm9jb2xvbg=="}}, "x"])
def test_a_config_of_another_form_is_our_error_or_no_login(auths: object, docker_config: DockerConfig) -> None:
    docker_config(auths=auths)
    try:
        assert find_credentials(HOST) is None
    except AccessDeniedError as error:
        assert HOST in error.what  # noqa: PT017


@pytest.mark.parametrize("text", ["[]", "5", "null", "{", "\ud800"])
def test_a_config_that_is_no_object_is_our_error_or_no_login(text: str, docker_config: DockerConfig) -> None:
    docker_config().write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert find_credentials(HOST) is None
    except AccessDeniedError as error:
        assert HOST in error.what  # noqa: PT017
