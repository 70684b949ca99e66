"""etc/config.yaml and etc/registries.yaml: what k3s reads is what the recipe says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.recipe_site import Site
from bundler.model.registries import Registries
from bundler.model.secret import SiteSecrets
from bundler.site.config import config_files, config_yaml
from bundler.site.registries import registries_yaml
from bundler.site.yaml_text import yaml_text

NONE = SiteSecrets({})

if TYPE_CHECKING:
    from bundler.model.config import Component

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20) | st.sampled_from(
    [
        "y",
        "n",
        "yes",
        "No",
        "on",
        "1e3",
        "0o17",
        "0644",
        "1_000",
        "1.30",
        "~",
        "null",
        "true",
        "<<",
        "=",
        "#",
        "2024-01-01",
        "- a",
        "a: b",
    ]
)
scalars = texts | st.booleans() | st.integers(-(10**17), 10**17)
configs = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,2}\+?", fullmatch=True),
    scalars | st.lists(scalars, min_size=1, max_size=3).map(tuple),
    max_size=5,
)


def as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: as_lists(each) for key, each in value.items()}
    return [as_lists(each) for each in value] if isinstance(value, tuple) else value


@given(configs.filter(lambda config: "disable" not in config))
def test_values_read_back_with_their_types(config: dict[str, Any]) -> None:
    text = config_yaml(config, "every node")
    assert yaml.safe_load(text) == as_lists(config)
    text.decode("utf-8")


@given(configs, st.randoms())
def test_the_same_config_in_another_order_gives_the_same_bytes(config: dict[str, Any], chance: Any) -> None:
    items = list(config.items())
    chance.shuffle(items)
    assert config_yaml(dict(items), "agents") == config_yaml(config, "agents")


@given(texts)
def test_text_is_always_in_double_quotes_so_that_no_reader_takes_it_for_something_else(text: str) -> None:
    (line,) = [each for each in yaml_text({"key": text}, ()).decode().split("\n") if each]
    assert re.fullmatch(r'key: ".*"', line)


@pytest.mark.parametrize("word", ["y", "n", "on", "no", "yes", "off", "true", "null", "1", "*", "docker.io", "a+"])
def test_keys_that_a_reader_may_take_for_something_else_are_quoted(word: str) -> None:
    assert yaml_text({word: True}, ()).decode() == f'"{word}": true\n'


def written(site: dict[str, Any], disabled: tuple[Component, ...] = ()) -> dict[str, Any]:
    """What the recipe's `site` becomes: content by the middle of its name, `config` for the file of all nodes."""
    files = config_files(Site.model_validate(site), disabled)
    return {Path(path).stem.removeprefix("config-"): yaml.safe_load(text) for path, text in files.items()}


def test_components_come_first_in_disable_and_none_twice() -> None:
    for beside in (("ccm", "mine"), "ccm, mine", ("ccm,mine", "ccm")):
        data = written({"config": {"disable": beside, "debug": True}}, ("traefik", "runtimes"))
        assert data["server"] == {"debug": True, "disable": ["traefik", "runtimes", "ccm", "mine"]}
    assert written({}, ("traefik",))["server"] == {"disable": ["traefik"]}
    assert written({"config": {"disable": "mine"}})["server"] == {"disable": ["mine"]}


def test_agents_are_not_told_what_they_would_refuse_to_start_with() -> None:
    site = {"config": {"tls-san": ("k3s.example",), "debug": True, "disable-apiserver-lb": True}}
    assert written(site, ("traefik",)) == {
        "config": {"debug": True},
        "server": {"debug": True, "disable": ["traefik"], "tls-san": ["k3s.example"]},
        "agent": {"debug": True, "disable-apiserver-lb": True},
    }


def test_what_is_for_one_kind_of_node_lies_over_what_is_for_all() -> None:
    site = {
        "config": {"node-label": ("site=edge",), "node-taint": ("a=b:NoSchedule",), "debug": False},
        "server": {"node-taint": ("c=d:NoExecute",), "tls-san": ("a.example",)},
        "first_server": {"cluster-init": True, "tls-san+": ("b.example",)},
        "agent": {"node-label+": ("role=worker", "rack=7")},
    }
    common = {"node-label": ["site=edge"], "node-taint": ["a=b:NoSchedule"], "debug": False}
    server = common | {"node-taint": ["c=d:NoExecute"], "tls-san": ["a.example"]}
    assert written(site) == {
        "config": common,
        "server": server,
        "first-server": server | {"cluster-init": True, "tls-san": ["a.example", "b.example"]},
        "agent": common | {"node-label": ["site=edge", "role=worker", "rack=7"]},
    }


def test_a_file_is_only_written_where_nodes_are_told_something_else() -> None:
    assert written({"config": {"debug": True}}) == {"config": {"debug": True}}
    assert written({"server": {"debug": True}, "first_server": {"debug": True}}).keys() == {"config", "server"}
    assert written({"first_server": {"debug": True}}).keys() == {"config", "first-server"}
    assert written({"agent": {"debug": True}}).keys() == {"config", "agent"}


def test_a_flag_beyond_the_table_goes_to_the_roles_the_recipe_says() -> None:
    flags = {"new-one": True, "new-two": True, "new-three": True}
    unknown = {"new-one": ("server",), "new-two": ("agent",), "new-three": ("server", "agent")}
    assert written({"config": flags, "unknown_flags": unknown}) == {
        "config": {"new-three": True},
        "server": {"new-one": True, "new-three": True},
        "agent": {"new-two": True, "new-three": True},
    }


def test_a_plus_in_the_lowest_layer_is_the_list_itself() -> None:
    assert written({"config": {"node-label+": ("a=b",)}}) == {"config": {"node-label": ["a=b"]}}


def test_nothing_to_say_is_an_empty_mapping_which_k3s_accepts() -> None:
    assert yaml.safe_load(config_yaml({}, "servers")) == {}
    assert yaml.safe_load(registries_yaml(Registries(), NONE)) == {}


MIRRORS: dict[str, Any] = {
    "docker.io": {"endpoint": ("https://m.example:5000", "http://10.0.0.1"), "rewrite": {"^a/(.*)": "b/$1", "^c": ""}},
    "*": None,
    "quay.io": {},
}
CONFIGS: dict[str, Any] = {
    "m.example:5000": {"tls": {"ca_file": "/etc/ca.pem", "cert_file": "/c", "key_file": "/k"}},
    "10.0.0.1": {"tls": {"insecure_skip_verify": True}},
}


def test_registries_read_back_as_the_recipe_has_them() -> None:
    written = yaml.safe_load(registries_yaml(Registries.model_validate({"mirrors": MIRRORS, "configs": CONFIGS}), NONE))
    assert written == {"mirrors": as_lists(MIRRORS) | {"*": {}}, "configs": CONFIGS}


def test_registries_in_any_order_give_the_same_bytes_and_keep_the_order_of_endpoints() -> None:
    written = {
        registries_yaml(Registries.model_validate({"configs": CONFIGS, "mirrors": dict(order)}), NONE)
        for order in itertools.permutations(MIRRORS.items())
    }
    assert len(written) == 1
    assert yaml.safe_load(written.pop())["mirrors"]["docker.io"]["endpoint"] == [
        "https://m.example:5000",
        "http://10.0.0.1",
    ]


def test_both_files_say_in_a_comment_where_they_come_from() -> None:
    for data in (config_yaml({}, "servers"), registries_yaml(Registries(), NONE)):
        assert data.startswith(b"# Written by k3s-bundler ")
        assert data.endswith(b"\n")
        assert b"\r" not in data


def test_what_k3s_cannot_read_is_never_written() -> None:
    for value in (1.5, None, object()):
        with pytest.raises(TypeError):
            yaml_text({"key": value}, ())
