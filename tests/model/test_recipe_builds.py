"""The part of a recipe that names images of the Docker engine: what is read, and what is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import RecipeError
from bundler.model.recipe import Recipe
from bundler.model.recipe_builds import FromEnvironment
from bundler.stages.read import parse_recipe

APP = {"build": "./app", "ref": "registry.example/app:1.0"}


def read(*extra: Any) -> Recipe:
    whole = {"version": 1, "name": "edge", "release": "stable", "arch": ["arm64"], "images": {"extra": list(extra)}}
    return parse_recipe(json.dumps(whole, ensure_ascii=False).encode(), "edge.yaml")


def mistakes(*extra: Any) -> dict[str, str]:
    with pytest.raises(RecipeError) as refused:
        read(*extra)
    return {each.path.removeprefix("images.extra"): each.what for each in refused.value.mistakes}


def test_every_form_is_told_by_its_key() -> None:
    images = read(
        "docker.io/library/nginx:1.27",
        {"archive": "./app.tar"},
        {**APP, "args": {"A": "1", "B": {"env": "NUMBER"}}, "target": "app", "dockerfile": "./docker/Dockerfile"},
        {"ref": "app:dev", "engine": "docker"},
    ).images

    (build,) = images.builds
    assert (build.build, build.ref.name, build.target) == ("./app", "registry.example/app:1.0", "app")
    assert (build.dockerfile, dict(build.args)) == ("docker/Dockerfile", {"A": "1", "B": FromEnvironment(env="NUMBER")})
    (own,) = images.from_engine
    assert own.ref.name == "docker.io/library/app:dev"
    assert [str(each) for each in images.references] == ["docker.io/library/nginx:1.27"]
    assert [each.archive for each in images.archives] == ["./app.tar"]


@settings(deadline=None)
@given(
    args=st.dictionaries(
        st.sampled_from(["A", "b_2", "VERSION"]),
        st.text(st.characters(codec="utf-8", exclude_characters="@", exclude_categories=["Cc", "Cs"])),
    ),
    target=st.none() | st.sampled_from(["app", "1"]),
)
def test_what_is_read_is_written_and_read_the_same(args: dict[str, str], target: str | None) -> None:
    recipe = read({**APP, "args": args, **({"target": target} if target else {})})
    again = Recipe.model_validate(recipe.model_dump())
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()
    assert recipe.with_overrides(level=3).images == recipe.images


def test_a_default_that_is_written_out_does_not_change_the_fingerprint() -> None:
    assert read({**APP, "dockerfile": "Dockerfile", "args": {}}).fingerprint() == read(APP).fingerprint()
    assert read({**APP, "target": "x"}).fingerprint() != read(APP).fingerprint()


@pytest.mark.parametrize(
    "name",
    [
        "TOKEN",
        "NPM_TOKEN",
        "password",
        "DB_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "api_key",
        "APIKEY",
        "SSH_KEY",
        "TOKENS",
    ],
)
def test_an_argument_that_looks_like_a_secret_is_refused_with_the_way_out(name: str) -> None:
    (told,) = mistakes({**APP, "args": {name: "hunter2"}}).values()
    assert "looks like a secret" in told
    assert "docker buildx build --secret" in told
    assert "hunter2" not in told
    (told,) = mistakes({**APP, "args": {"PLAIN": {"env": name}}}).values()
    assert "looks like a secret" in told


@pytest.mark.parametrize("name", ["VERSION", "AUTHOR", "COMPASS", "TOKENIZER_VERSION", "KEYBOARD", "MONKEY"])
def test_a_name_that_only_resembles_one_is_none(name: str) -> None:
    (build,) = read({**APP, "args": {name: "1"}}).images.builds
    assert build.args[name] == "1"


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    found = mistakes(
        {"build": "./app", "args": {"A": 1, "B-C": "x", "U": "https://me:pw@proxy"}, "dockerfile": "../x", "foo": 2},
        {**APP, "ref": "app@sha256:" + "0" * 64},
        {"ref": "app:dev", "engine": "podman"},
        {"ref": "app:dev"},
        {"archive": "./app.tar", "build": "./app"},
        {**APP, "target": "a b"},
        {**APP, "args": {"U": "https://me:p/w@proxy"}},
        {"build": "https://example.com/app.git", "ref": "git:1"},
    )
    assert found["[0]"] == "needs ref too"
    assert "put numbers" in found["[0].args.A"]
    assert "not a name of a build argument" in found["[0].args.B-C"]
    assert "account in a URL" in found["[0].args.U"]
    assert "not the path of a file in the context" in found["[0].dockerfile"]
    assert found["[0].foo"].startswith("unknown key; known here: build, ref")
    assert "has a digest but no tag" in found["[1].ref"]
    assert found["[2].engine"].startswith('is not "docker"')
    assert "none of archive, build and engine" in found["[3]"]
    assert found["[4].build"] == "unknown key; known here: archive, ref"
    assert "not the name of a stage" in found["[5].target"]
    assert "account in a URL" in found["[6].args.U"]
    assert "not a folder" in found["[7].build"]


def test_two_images_of_one_name_are_a_mistake_wherever_they_come_from() -> None:
    own = {"ref": "registry.example/app:1.0", "engine": "docker"}
    assert list(mistakes(APP, own, "registry.example/app:1.0")) == ["[1]", "[2]"]
