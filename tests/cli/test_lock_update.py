"""`lock --update` asks by HEAD, and spends a GET only on what moved: registries count GETs of manifests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundler.cli.main import main
from bundler.model.lock import parse_lock
from tests.upstream import Upstream
from tests.upstream.faults import Headers, Status
from tests.upstream.images import standard_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HELLO = "docker.io/example/hello:1.0"
RECIPE = """\
version: 1
name: edge
release: v1.34.1+k3s1
arch: [amd64, arm64]
images:
  extra: [{extra}]
sources:
  releases: {releases}
  tag_style: plain
  registries:
    docker.io: ["{url}"]
"""


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def recipe(tmp_path: Path, upstream: Upstream) -> Path:
    path = tmp_path / "edge.yaml"
    path.write_text(RECIPE.format(extra=HELLO, releases=upstream.releases_url, url=upstream.url))
    assert lock(path) == 0
    upstream.forget_requests()
    return path


def lock(recipe: Path, *more: str) -> int:
    return main(["lock", str(recipe), "--cache-dir", str(recipe.parent / "cache"), "--quiet", *more])


def locked(recipe: Path) -> bytes:
    return recipe.with_name("edge.lock.json").read_bytes()


def gets(upstream: Upstream) -> list[str]:
    return [request.path for request in upstream.requests_to("/v2/*", "GET")]


def test_an_update_where_nothing_moved_gets_no_manifest_and_changes_nothing(recipe: Path, upstream: Upstream) -> None:
    before = locked(recipe)

    assert lock(recipe, "--update") == 0

    assert locked(recipe) == before
    assert gets(upstream) == []
    heads = upstream.requests_to("/v2/*/manifests/*", "HEAD")
    assert len(heads) == len(parse_lock(before, "the lock").architectures[0].images)


def test_checking_asks_nobody(recipe: Path, upstream: Upstream) -> None:
    assert lock(recipe, "--check") == 0
    assert upstream.requests == ()


def test_what_moved_is_fetched_and_nothing_else(recipe: Path, upstream: Upstream) -> None:
    other = standard_image("docker.io/example/other:1.0")
    repository = "/v2/example/hello"
    upstream.put(f"{repository}/manifests/1.0", other.top.data, other.top.media_type)
    for part in other.platforms:
        upstream.put(f"{repository}/manifests/{part.manifest.digest}", part.manifest.data, part.manifest.media_type)
        upstream.put(f"{repository}/blobs/{part.config.digest}", part.config.data)

    assert lock(recipe, "--update") == 0

    assert {path.startswith(repository) for path in gets(upstream)} == {True}
    images = json.loads(locked(recipe))["architectures"][0]["recipeImages"]
    assert [image["index"] for image in images] == [other.top.digest]


@pytest.mark.parametrize(
    "fault",
    [
        Headers({"Docker-Content-Digest": None}),
        Headers({"Docker-Content-Digest": "sha256:short"}),
    ],
    ids=["none", "malformed"],
)
def test_a_registry_that_does_not_say_the_digest_rightly_is_asked_for_the_manifest(
    recipe: Path, upstream: Upstream, fault: Headers
) -> None:
    before = locked(recipe)
    upstream.fail("/v2/*/manifests/*", fault, times=None)

    assert lock(recipe, "--update") == 0

    assert locked(recipe) == before
    assert len(gets(upstream)) >= 9


def test_a_registry_that_names_another_digest_than_it_sends_is_refused_by_name(
    recipe: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    before = locked(recipe)
    stated = "sha256:" + "0" * 64
    upstream.fail("/v2/example/hello/manifests/1.0", Headers({"Docker-Content-Digest": stated}), None)

    assert lock(recipe, "--update") == 4

    sent = upstream.content.image(HELLO).top.digest
    said = f"{upstream.host} sent {sent} for the tag 1.0 and says itself that it is {stated}"
    assert f"error[digest-mismatch]: {HELLO}: {said}" in capsys.readouterr().err
    assert locked(recipe) == before


def test_an_architecture_that_is_new_costs_its_own_manifests_and_no_other(recipe: Path, upstream: Upstream) -> None:
    recipe.write_text(recipe.read_text().replace("amd64, arm64", "amd64, arm64, arm"))

    assert lock(recipe) == 0

    images = parse_lock(locked(recipe), "the lock").architectures[2].images
    asked = [path.rpartition("/")[2] for path in gets(upstream) if "/manifests/" in path]
    assert sorted(asked) == sorted({image.manifest for image in images})


def test_what_was_locked_once_is_known_by_digest_to_every_recipe(recipe: Path, upstream: Upstream) -> None:
    """Without a lock each tag costs one GET; what lies below it is there still."""
    before = locked(recipe)
    recipe.with_name("edge.lock.json").unlink()

    assert lock(recipe) == 0

    assert locked(recipe) == before
    assert len(gets(upstream)) == len(parse_lock(before, "the lock").architectures[0].images)


def test_the_registry_form_asks_for_each_manifest_once(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "edge.yaml"
    text = RECIPE.format(extra=HELLO, releases=upstream.releases_url, url=upstream.url)
    path.write_text(text.replace("images:\n", "images:\n  layers: registry\n"))
    places = ["--cache-dir", str(tmp_path / "cache"), "--output", str(tmp_path / "dist")]

    assert main(["build", str(path), *places, "--engine", "registry", "--quiet"]) == 0

    asked = [path for path in gets(upstream) if "/manifests/" in path]
    assert len(asked) == len(set(asked)) == 3 * len(upstream.requests_to("/v2/*/manifests/[!s]*", "GET"))


def test_an_architecture_that_is_new_is_looked_up(recipe: Path, upstream: Upstream) -> None:
    recipe.write_text(recipe.read_text().replace("amd64, arm64", "amd64, arm64, arm"))

    assert lock(recipe) == 0

    assert [each["arch"] for each in json.loads(locked(recipe))["architectures"]] == ["amd64", "arm64", "arm"]


def test_a_digest_in_the_recipe_that_is_locked_already_is_asked_of_nobody(recipe: Path, upstream: Upstream) -> None:
    index = upstream.content.image(HELLO).top.digest
    recipe.write_text(recipe.read_text().replace(HELLO, f"{HELLO}@{index}"))

    assert lock(recipe) == 0

    assert not upstream.requests_to("/v2/example/hello/*")


def test_a_used_up_limit_says_when_it_is_renewed_and_how_to_have_a_higher_one(
    recipe: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
    limited = Status(429, {"Retry-After": "7260", "Content-Type": "application/json"}, body)
    upstream.fail("/v2/example/hello/*", limited, times=None)
    recipe.with_name("edge.lock.json").unlink()

    assert lock(recipe) == 3

    told = capsys.readouterr().err
    assert f"error[rate-limited]: {HELLO}: " in told
    assert "it says to wait 7260 s (2 h 1 min)" in told
    assert "TOOMANYREQUESTS You have reached your pull rate limit." in told
    assert "docker login" in told
