from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bundler.errors import UsageError
from bundler.model.recipe import Recipe, recipe_schema
from bundler.model.recipe_images import Exclusion
from bundler.model.reference import parse_reference

if TYPE_CHECKING:
    from bundler.model.platform import Architecture

SHORTEST: dict[str, Any] = {"version": 1, "name": "edge", "release": "stable", "arch": ("arm64", "amd64")}


def recipe(**more: Any) -> Recipe:
    return Recipe.model_validate(SHORTEST | more)


def test_defaults_are_those_of_the_documentation() -> None:
    shortest = recipe()
    assert (shortest.engine, shortest.pack.level, shortest.images.layers) == ("auto", 7, "zstd")
    (mirror,) = shortest.sources.release_mirrors
    assert (mirror.url, mirror.tag_style) == ("https://github.com/k3s-io/k3s/releases/download", "percent")
    assert shortest.sources.channels == "https://update.k3s.io/v1-release/channels"


@given(st.permutations(["amd64", "arm64", "arm"]), st.permutations(["a:1", "docker.io/library/b", "c.example/d:1"]))
def test_the_order_of_lists_that_are_sets_changes_nothing(arch: list[Architecture], extra: list[str]) -> None:
    one = recipe(arch=tuple(arch), images={"extra": tuple(extra)}, components={"disable": ("traefik", "coredns")})
    other = recipe(
        arch=("amd64", "arm64", "arm"),
        images={"extra": ("a:1", "b", "c.example/d:1")},
        components={"disable": ("coredns", "traefik")},
    )
    assert one == other
    assert one.fingerprint() == other.fingerprint()


def test_the_engine_is_not_part_of_the_fingerprint() -> None:
    assert recipe(engine="docker").fingerprint() == recipe(engine="registry").fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"release": "latest"},
        {"arch": ("amd64",)},
        {"components": {"disable": ("traefik",)}},
        {"images": {"extra": ("a:1",)}},
        {"images": {"exclude": ("a:1",)}},
        {"images": {"exclude": ("a",)}},
        {"images": {"layers": "plain"}},
        {"site": {"config": {"debug": True}}},
        {"site": {"config": {"debug": False}}},
        {"site": {"server": {"debug": True}}},
        {"site": {"first_server": {"debug": True}}},
        {"site": {"agent": {"debug": True}}},
        {"site": {"registries": {"mirrors": {"docker.io": None}}}},
        {"sources": {"releases": "https://a"}},
        {"sources": {"tag_style": "dash"}},
        {"sources": {"channels": "https://a"}},
        {"sources": {"registries": {"docker.io": ("https://a",)}}},
        {"sources": {"registries": {"docker.io": ("https://a", "https://b")}}},
        {"sources": {"registries": {"docker.io": ("https://b", "https://a")}}},
        {"pack": {"level": 8}},
    ],
    ids=str,
)
def test_every_other_change_makes_another_fingerprint(change: dict[str, Any]) -> None:
    seen = {recipe().fingerprint(), recipe(name="third").fingerprint(), recipe(pack={"level": 9}).fingerprint()}
    assert recipe(**change).fingerprint() not in seen


def test_a_recipe_survives_being_written_out_and_read_again() -> None:
    full = recipe(
        images={"extra": ("a:1",), "exclude": ("rancher/klipper-lb", "rancher/klipper-helm:v1")},
        site={"config": {"tls-san": ("a", "b")}, "registries": {"mirrors": {"*": {"endpoint": ("https://m",)}}}},
        sources={"registries": {"quay.io": ("http://q/x/",)}},
    )
    assert Recipe.model_validate(full.model_dump()) == full
    assert full.sources.registries["quay.io"].mirrors == ("http://q/x",)


def test_nothing_in_a_recipe_can_be_changed() -> None:
    full = recipe(site={"config": {"debug": True}}, sources={"registries": {"quay.io": ("http://q",)}})
    with pytest.raises(ValidationError, match="frozen"):
        full.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError, match="does not support item assignment"):
        full.site.config["debug"] = False  # type: ignore[index]
    with pytest.raises(TypeError, match="does not support item assignment"):
        recipe().sources.registries["a"] = ()  # type: ignore[index]


def test_overrides_stand_for_what_the_recipe_says() -> None:
    changed = recipe(images={"extra": ("a:1",)}).with_overrides(
        arch=("arm",), release="v1.34.1+k3s1", level=1, layers="plain"
    )
    expected = recipe(
        arch=("arm",),
        release="v1.34.1+k3s1",
        pack={"level": 1},
        images={"extra": ("a:1",), "layers": "plain"},
    )
    assert changed == expected
    assert recipe().with_overrides() == recipe()


def test_wrong_overrides_are_wrong_use_and_all_told() -> None:
    with pytest.raises(UsageError) as caught:
        recipe().with_overrides(arch=("amr64",), release="stabel", level=20, layers="gzip")
    assert type(caught.value) is UsageError
    for words in (
        'did you mean "arm64"?',
        'did you mean "stable"?',
        "the most is 19",
        '"gzip" is not one of zstd, plain',
    ):
        assert words in caught.value.what
    with pytest.raises(UsageError, match="empty list"):
        recipe().with_overrides(arch=())
    with pytest.raises(UsageError, match=r"arch\[1\]: is in the list twice"):
        recipe().with_overrides(arch=("arm", "arm"))


@pytest.mark.parametrize("name", ["a", "k3s", "edge-site-1", "a" * 40])
def test_names_are_rfc_1123_labels(name: str) -> None:
    assert recipe(name=name).name == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "a" * 41, "a\n", "a/b", "..", "é", "k3s-airgap"])
def test_names_that_cannot_be_file_names_everywhere_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        recipe(name=name)


@pytest.mark.parametrize(
    ("exclusion", "reference", "out"),
    [
        ("rancher/klipper-lb", "rancher/klipper-lb:v1", True),
        ("docker.io/rancher/klipper-lb", "rancher/klipper-lb:v1", True),
        ("rancher/klipper-lb:v1", "rancher/klipper-lb:v1", True),
        ("rancher/klipper-lb:v2", "rancher/klipper-lb:v1", False),
        ("rancher/klipper", "rancher/klipper-lb:v1", False),
        ("localhost:5000/a", "localhost:5000/a:1", True),
        ("localhost:5000/a", "a:1", False),
    ],
)
def test_an_exclusion_means_one_tag_or_all_of_a_repository(exclusion: str, reference: str, *, out: bool) -> None:
    (found,) = recipe(images={"exclude": (exclusion,)}).images.exclude
    assert found.matches(parse_reference(reference)) is out
    assert isinstance(found, Exclusion)


def test_the_checked_in_schema_is_that_of_the_types() -> None:
    import bundler.model.recipe as module

    checked_in = Path(module.__file__).with_name("recipe.schema.json")
    assert checked_in.read_text(encoding="utf-8") == recipe_schema(), (
        "write it again: k3s-bundler schema > bundler/model/recipe.schema.json"
    )
