"""Reading recipes: every mistake at once, each at its place, whatever the file holds."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundler.errors import HostError, RecipeError, RecipeNotFoundError
from bundler.stages.read import MOST_BYTES, parse_recipe, read_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.errors import RecipeMistake
    from bundler.model.recipe import Recipe

SHORTEST = "version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"


def parse(text: str) -> Recipe:
    return parse_recipe(text.encode(), "edge.yaml")


def mistakes(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    return [str(each) for each in caught.value.mistakes]


def only_mistake(more: str) -> str:
    """Give the one mistake in the lines `more`, which begin at line 5."""
    (found,) = mistakes(SHORTEST + more)
    return found


TWENTY = """\
version: 2
name: Edge Site
release: stabel
arch: [amd46, arm64, arm64]
componets: {}
components:
  disable: [traefic]
images:
  extra: [nginx, "a:b:c", nginx:latest, 3]
  exclude: [x/Y]
  layers: zst
site:
  config:
    token: secret
    disable: [traefik]
    node_name: a
    cluster-cidr: 1.50
    write-kubeconfig-mode: 0644
  registries:
    mirrors:
      docker.io:
        endpoint: ["http://me:secret@mirror.example"]
        rewite: {}
    configs:
      mirror.example: {tls: {ca_file: /../a}}
sources:
  tag_style: dashed
  registries:
    docker.io: []
pack:
  level: 20
"""

TWENTY_PLACES = [
    (1, 10, "version"),
    (2, 7, "name"),
    (3, 10, "release"),
    (4, 8, "arch[0]"),
    (4, 22, "arch[2]"),
    (5, 1, "componets"),
    (7, 13, "components.disable[0]"),
    (9, 18, "images.extra[1]"),
    (9, 27, "images.extra[2]"),
    (9, 41, "images.extra[3]"),
    (10, 13, "images.exclude[0]"),
    (11, 11, "images.layers"),
    (14, 5, "site.config.token"),
    (15, 15, "site.config.disable[0]"),
    (16, 5, "site.config.node_name"),
    (17, 19, "site.config.cluster-cidr"),
    (18, 28, "site.config.write-kubeconfig-mode"),
    (22, 20, 'site.registries.mirrors."docker.io".endpoint[0]'),
    (23, 9, 'site.registries.mirrors."docker.io".rewite'),
    (25, 39, 'site.registries.configs."mirror.example".tls.ca_file'),
    (27, 14, "sources.tag_style"),
    (29, 16, 'sources.registries."docker.io"'),
    (31, 10, "pack.level"),
]


def test_more_than_twenty_mistakes_are_told_at_once_each_at_its_place() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(TWENTY)
    error = caught.value
    assert [(each.line, each.column, each.path) for each in error.mistakes] == TWENTY_PLACES
    assert error.what.splitlines()[0] == f"edge.yaml has {len(TWENTY_PLACES)} mistakes:"
    for mistake, line in zip(error.mistakes, error.what.splitlines()[1:], strict=True):
        assert line == f"edge.yaml:{mistake.line}:{mistake.column}: {mistake.path}: {mistake.what}"
    assert error.exit_code == 2
    assert "me:secret" not in str(error)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("engin: docker", '5:1: engin: unknown key; did you mean "engine"?'),
        ("disable: [traefik]", "5:1: disable: unknown key here; did you mean components.disable?"),
        ("frobnicate: 1", "5:1: frobnicate: unknown key; known here: arch, charts, components, engine, "),
        ("engine: Docker", '5:9: engine: "Docker" is not one of auto, docker, registry; did you mean "docker"?'),
        ("engine: 1", "5:9: engine: is the number 1, and one of auto, docker, registry is expected"),
        ("engine:", "5:8: engine: is empty: give it a value or remove the key"),
        ("images:", "5:8: images: is empty: give it a value or remove the key"),
        ("images: []", "5:9: images: is a list, and a mapping (key: value) is expected"),
        ("images: nginx", '5:9: images: is the text "nginx", and a mapping (key: value) is expected'),
        ("images: {extra: nginx}", '5:17: images.extra: is the text "nginx", and a list is expected'),
        ("pack: {level: fast}", '5:15: pack.level: is the text "fast", and a whole number is expected'),
        ("pack: {level: 9.0}", "5:15: pack.level: is the number 9.0, and a whole number is expected"),
        ("pack: {level: true}", "5:15: pack.level: is true, and a whole number is expected"),
        ("pack: {level: 0}", "5:15: pack.level: is 0: the least is 1"),
        ("pack: {level: 20}", "5:15: pack.level: is 20: the most is 19"),
        ("sources: {tag_style: 1.50}", "5:22: sources.tag_style: is the number 1.5, and one of percent, dash, plain is"),  # noqa: E501
        ("sources: {releases: 1.50}", '5:21: sources.releases: is read as a number, and text is expected: put it in quotes, "1.50"'),  # noqa: E501
        ("sources: {releases: ['https://a', 'https://a/']}", "5:35: sources.releases[1]: is in the list twice"),
        ("sources: {releases: [./a, {url: ftp://b}]}", "5:33: sources.releases[1].url: is not a URL that begins with"),
        ("sources: {releases: {url: https://a}}", "5:21: sources.releases: is a mapping, and a list is expected"),
        ("sources: {releases: file://host/a}", "5:21: sources.releases: is not the URL of a folder"),
        ("sources: {releases: [{url: https://a, auth: {token: hunter2}}]}", "5:53: sources.releases[0].auth.token: is written out, and secrets do not belong in a recipe: say where it is, {env: NAME}"),  # noqa: E501
        ("sources: {releases: [{url: https://a, auth: {}}]}", "5:45: sources.releases[0].auth: needs either token, or"),
        ("sources: {releases: [{url: https://a, auth: {username: {env: A}}}]}", "5:45: sources.releases[0].auth: needs username and password together"),  # noqa: E501
        ("sources: {releases: [{url: https://a, auth: {token: {env: 'a b'}}}]}", "5:59: sources.releases[0].auth.token.env: is not the name of an environment"),  # noqa: E501
        ("sources: {releases: [{url: https://a, auth: {token: {env: A, file: b}}}]}", "5:53: sources.releases[0].auth.token: says nowhere, or in several places, where it is: {env: NAME} or {file: PATH}"),  # noqa: E501
        ("sources: {releases: [{url: ./a, tls: {ca_file: b}}]}", "5:33: sources.releases[0].tls: does nothing for a folder"),  # noqa: E501
        ("sources: {releases: [{url: 'http://a', tls: {ca_file: b}}]}", "5:40: sources.releases[0].tls: does nothing for http"),  # noqa: E501
        ("sources: {registries: {quay.io: 'https://a'}}", '5:33: sources.registries."quay.io": is neither a list of mirrors'),  # noqa: E501
        ("sources: {registries: {quay.io: []}}", '5:33: sources.registries."quay.io": is an empty list'),
        ("sources: {registries: {docker.io: {plain_http: true}}}", '5:48: sources.registries."docker.io".plain_http: Docker Hub speaks https alone'),  # noqa: E501
        ("sources: {registries: {quay.io: {plain_http: true, tls: {ca_file: a}}}}", '5:52: sources.registries."quay.io".tls: does nothing beside plain_http'),  # noqa: E501
        ("sources: {registries: {quay.io: {tls: {cert_file: a}}}}", '5:40: sources.registries."quay.io".tls.cert_file: needs key_file'),  # noqa: E501
        ("sources: {registries: {a.b: {mirrors: ['https://m'], tls: {ca_file: a}}, c.d: {mirrors: ['https://m'], tls: {ca_file: b}}}}", '5:104: sources.registries."c.d".tls: differs from what sources.registries."a.b" says of m'),  # noqa: E501
        ("sources: {tag-style: dash}", '5:11: sources.tag-style: unknown key; did you mean "tag_style"?'),
        ("images: {exclude: ['a/b:1@sha256:" + "0" * 64 + "']}", "5:20: images.exclude[0]: 'a/b:1@sha256:"),
        ("sources: {registries: {index.docker.io: ['http://a']}}", '5:24: sources.registries."index.docker.io": is Docker Hub'),  # noqa: E501
        ("site: {registries: {auths: {}}}", "5:21: site.registries.auths: unknown key: is an old form"),
        ("site: {config: {config: x}}", "5:17: site.config.config: would make k3s read another file"),
        ("site: {config: {log: {b: 1}}}", "5:22: site.config.log: is a list or mapping, but k3s takes text"),
        ("site: {config: {disable: [x, [z]]}}", "5:30: site.config.disable[1]: is a list or mapping, but k3s takes"),
        ("site: {config: {disable: []}}", "5:26: site.config.disable: is an empty list"),
        ('site: {config: {log: "x\\ny"}}', "5:22: site.config.log: has line ends"),
        ("site: {config: {datastore-endpoint: 'mysql://u:p@tcp(db:1)/k'}}", "5:37: site.config.datastore-endpoint: holds an account"),  # noqa: E501
        ("site: {config: {disable: 'ccm, traefik'}}", '5:26: site.config.disable: names the component "traefik"'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_plain_words_at_its_place(text: str, mistake: str) -> None:
    assert only_mistake(text + "\n").startswith(mistake)


@pytest.mark.parametrize(
    ("release", "suggestion"),
    [
        ("stabel", 'did you mean "stable"?'),
        ("v1.34.1", 'did you mean "v1.34.1+k3s1"?'),
        ("1.34.1", 'did you mean "v1.34.1+k3s1"?'),
        ("v1.34.1-k3s2", 'did you mean "v1.34.1+k3s2"?'),
        ('"1.34"', 'did you mean "v1.34"?'),
        ("1.30", 'is read as a number: write "v1.30"'),
        ("V1.34", 'did you mean "v1.34"?'),
    ],
)
def test_a_release_that_is_nearly_right_is_completed(release: str, suggestion: str) -> None:
    (found,) = mistakes(SHORTEST.replace("stable", release))
    assert found.startswith("3:10: release: ")
    assert found.endswith(suggestion)


@pytest.mark.parametrize("version", ["1.30", '"1"', "true", "1.0", "2", "[1]"])
def test_only_the_number_one_is_version_one(version: str) -> None:
    (found,) = mistakes(SHORTEST.replace("version: 1", f"version: {version}"))
    assert found == "1:10: version: this k3s-bundler reads version 1: write 1, without quotes"


def test_missing_keys_are_told_at_their_parent_with_what_they_are_for() -> None:
    found = mistakes("# a comment\n\nengine: auto\n")
    assert [each.split(": is missing: ")[0] for each in found] == [
        "3:1: version",
        "3:1: name",
        "3:1: release",
        "3:1: arch",
    ]
    assert found[3].endswith("amd64, arm64, arm")


def test_a_value_that_yaml_itself_doubts_is_told_once() -> None:
    assert only_mistake("pack: {level: 09}\n").startswith("5:15: pack.level: YAML readers disagree")


def test_mistakes_of_yaml_and_of_the_recipe_come_together_in_the_order_of_the_file() -> None:
    found = mistakes(SHORTEST + "engine: podman\nengine: docker\npack: {level: 0}\n")
    assert [each.split(" ")[0] for each in found] == ["5:9:", "6:1:", "7:15:"]


def test_a_mistake_behind_an_alias_is_told_for_each_use_where_it_is_written() -> None:
    found = mistakes(SHORTEST + "images:\n  extra: &x [a/UPPER]\n  exclude: *x\n")
    assert [each.split(": '")[0] for each in found] == ["6:14: images.extra[0]", "6:14: images.exclude[0]"]


@pytest.mark.parametrize(
    ("text", "start"),
    [("- a\n", "1:1: a recipe is a mapping"), ("edge\n", "1:1: a recipe is a mapping"), ("", "1:1: the file is empty")],
)
def test_a_file_that_is_no_mapping_is_told_so(text: str, start: str) -> None:
    (found,) = mistakes(text)
    assert found.startswith(start)


def test_a_thousand_mistakes_are_counted_but_not_all_listed() -> None:
    with pytest.raises(RecipeError) as caught:
        parse(SHORTEST + "".join(f"key{n}: 1\n" for n in range(1000)))
    lines = caught.value.what.splitlines()
    assert lines[0] == "edge.yaml has 1000 mistakes:"
    assert lines[-1] == "... and 900 more"
    assert len(lines) == 102


def test_a_file_is_read_and_named_in_its_mistakes(tmp_path: Path) -> None:
    file = tmp_path / "edge.yaml"
    file.write_text(SHORTEST)
    assert read_recipe(file) == parse(SHORTEST)
    file.write_text(SHORTEST + "x: 1\n")
    with pytest.raises(RecipeError, match=r"edge\.yaml:5:1: x: unknown key") as caught:
        read_recipe(file)
    assert caught.value.source == str(file)


def test_files_that_cannot_be_read_are_told_with_a_hint(tmp_path: Path) -> None:
    for path, what in ((tmp_path / "no.yaml", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(RecipeNotFoundError, match=what) as caught:
            read_recipe(path)
        assert str(path) in caught.value.what
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    with pytest.raises(HostError, match="cannot be read"):
        read_recipe(loop)


def test_a_file_over_a_mebibyte_is_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "big.yaml"
    file.write_text(SHORTEST + "#" * (MOST_BYTES - len(SHORTEST)))
    assert read_recipe(file).name == "edge"
    with file.open("a") as more:
        more.truncate(1 << 40)  # sparse: reading all of it would not fit into memory
    with pytest.raises(RecipeError, match="bigger than 1048576 bytes"):
        read_recipe(file)


def whole(found: tuple[RecipeMistake, ...]) -> None:
    assert found
    for each in found:
        assert each.line >= 1
        assert each.column >= 1
        assert "does not fit (" not in each.what, "pydantic's own words reached a person"
        assert str(each).isprintable()
        assert len(each.what) <= 400


@settings(max_examples=200)
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
@example(b"\xff")
@example(b"? [a]\n: b")
def test_any_bytes_are_a_recipe_or_its_mistakes_within_a_second(data: bytes) -> None:
    try:
        parse_recipe(data, "x")
    except RecipeError as error:
        whole(error.mistakes)


KEYS = [
    "version",
    "name",
    "release",
    "arch",
    "components",
    "disable",
    "images",
    "extra",
    "exclude",
    "layers",
    "site",
    "config",
    "registries",
    "mirrors",
    "endpoint",
    "rewrite",
    "configs",
    "tls",
    "ca_file",
    "cert_file",
    "key_file",
    "insecure_skip_verify",
    "sources",
    "releases",
    "tag_style",
    "channels",
    "engine",
    "pack",
    "level",
    "docker.io",
    "preset",
    "url",
    "plain_http",
    "username",
    "password",
    "env",
    "file",
    "*",
    "auth",
    "token",
    "<<",
]
scalars = st.sampled_from(
    [None, True, 1, 0, -3, 1.5, "", "x", "zstd", "stable", "arm", "https://a", "a:5000", "\x07", "é"]
)
odd = st.recursive(
    scalars | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)
FULL: dict[str, Any] = {
    "version": 1,
    "name": "edge",
    "release": "stable",
    "arch": ["arm", "amd64"],
    "components": {"disable": ["traefik"]},
    "images": {"extra": ["nginx:1"], "exclude": ["rancher/klipper-lb"], "layers": "plain"},
    "site": {
        "config": {"tls-san": ["a"], "write-kubeconfig-mode": "0644"},
        "registries": {
            "mirrors": {"docker.io": {"endpoint": ["https://m:5000"], "rewrite": {"^a": "b"}}, "*": None},
            "configs": {"m:5000": {"tls": {"ca_file": "/ca", "insecure_skip_verify": True}}},
        },
    },
    "sources": {
        "preset": "cn",
        "releases": [
            "http://r",
            "./assets",
            {"url": "https://s", "auth": {"token": {"env": "T"}}, "tls": {"ca_file": "c"}, "tag_style": "plain"},
            {"url": "https://u", "auth": {"username": {"env": "U"}, "password": {"file": "p"}}},
        ],
        "tag_style": "dash",
        "channels": "http://c",
        "registries": {
            "quay.io": ["http://q"],
            "a:5000": {
                "mirrors": ["https://m"],
                "auth": {"username": {"env": "U"}, "password": {"file": "p"}},
                "tls": {"ca_file": "c", "cert_file": "d", "key_file": "e"},
            },
            "b:5000": {"plain_http": True},
        },
    },
    "engine": "registry",
    "pack": {"level": 3},
}


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path] + [place for key, child in children for place in places(child, (*path, key))]


def put(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = put(data[path[0]], path[1:], value)
    return copy


def test_a_recipe_with_every_key_is_read() -> None:
    recipe = parse(yaml.safe_dump(FULL))
    assert recipe.arch == ("amd64", "arm")
    assert recipe.sources.registries["quay.io"].mirrors == ("http://q",)
    assert recipe.with_overrides(level=4).fingerprint() != recipe.fingerprint()


@settings(max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(places(FULL)), odd), min_size=1, max_size=3))
def test_anything_anywhere_in_a_recipe_is_taken_or_told_in_our_words(
    changes: list[tuple[tuple[Any, ...], Any]],
) -> None:
    data: Any = FULL
    for path, value in changes:
        if path in places(data):
            data = put(data, path, value)
    try:
        parse(yaml.safe_dump(data, allow_unicode=True))
    except RecipeError as error:
        whole(error.mistakes)


@pytest.mark.parametrize("seed", range(20))
def test_a_key_with_two_letters_swapped_is_recognized(seed: int) -> None:
    chance = random.Random(seed)
    path = chance.choice([place for place in places(FULL) if place and isinstance(place[-1], str) and len(place[-1]) > 5
                          and place[-1].isidentifier()])  # fmt: skip
    key = path[-1]
    at = chance.choice([n for n in range(len(key) - 1) if key[n] != key[n + 1]])
    wrong = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    here = FULL
    for part in path[:-1]:
        here = here[part]
    data = put(FULL, path[:-1], {wrong if name == key else name: value for name, value in here.items()})
    found = mistakes(yaml.safe_dump(data))
    assert any(f'{wrong}: unknown key; did you mean "{key}"?' in each for each in found)


def test_a_mebibyte_of_hostile_text_is_told_at_once() -> None:
    for text in (
        SHORTEST + "images: {extra: [" + "a/B, " * 9000 + "]}",
        SHORTEST + "".join(f"{'k' * 60}{n}: x\n" for n in range(9000)),
        SHORTEST + "site: {config: {x: " + "y" * 1_000_000 + "}}",
        SHORTEST + "'" + "k" * 1_000_000 + "': 1",
        SHORTEST + "engine: " + "1" * 1_000_000,
        SHORTEST + "sources: {releases: 'https://" + "a." * 500_000 + "'}",
        SHORTEST + "site: {registries: {mirrors: {docker.io: {rewrite: {'" + "(a*)*" * 40 + "': x}}}}}",
    ):
        before = time.process_time()
        told = ""
        try:
            parse(text)
        except RecipeError as error:
            told = str(error)
        assert len(told) < 100_000
        assert time.process_time() - before < 15
