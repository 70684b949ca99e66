"""A recipe that takes an image from an archive: built, locked and refused from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundler.cli.main import main
from tests.recorded_daemon import RECORDED
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARCHIVE = "docker20-overlay2.names-arm64.tar"
COREDNS = "127.0.0.1:5099/demo/coredns:1.12.3"
RECIPE = """\
version: 1
name: edge
release: v1.34.1+k3s1
arch: [arm64]
images:
  extra: [{{archive: ./app.tar, ref: "{ref}"}}, docker.io/example/hello:1.0]
sources:
  releases: {releases}
  tag_style: plain
  registries:
    docker.io: ["{url}"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "recipes" / "edge.yaml"
    path.parent.mkdir()
    path.with_name("app.tar").write_bytes((RECORDED / ARCHIVE).read_bytes())
    with Upstream() as upstream:
        path.write_text(RECIPE.format(ref=COREDNS, releases=upstream.releases_url, url=upstream.url))
        yield path


def run(verb: str, recipe: Path, *more: str, cache: str = "cache", quiet: bool = True) -> int:
    folder = recipe.parents[1]
    places = ["--cache-dir", str(folder / cache)] + (["--output", str(folder / "dist")] if verb == "build" else [])
    engine = ["--engine", "registry"] if verb == "build" else []
    return main([verb, str(recipe), *places, *engine, *more, *(["--quiet"] if quiet else [])])


def test_the_bundle_has_the_archives_image_and_comes_from_the_lock_again_with_an_empty_cache(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", recipe, "--json") == 0
    first = json.loads(capsys.readouterr().out)["bundle"]
    own = next(archive for archive in first["archives"] if "edge" in archive["path"])
    assert [image["name"] for image in own["images"]] == [COREDNS, "docker.io/example/hello:1.0"]
    sums = (recipe.parents[1] / "dist" / "edge-v1.34.1-k3s1-arm64" / "SHA256SUMS").read_bytes()

    assert run("build", recipe, "--locked", "--replace", cache="other") == 0
    assert (recipe.parents[1] / "dist" / "edge-v1.34.1-k3s1-arm64" / "SHA256SUMS").read_bytes() == sums
    lock = json.loads(recipe.with_name("edge.lock.json").read_bytes())
    (image,) = (each for each in lock["architectures"][0]["recipeImages"] if "archive" in each)
    assert image["archive"]["path"] == "./app.tar"


def test_a_changed_archive_is_locked_anew_aloud_and_refused_where_locks_are_kept(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lock", recipe) == 0
    assert run("lock", recipe, "--check") == 0
    recipe.with_name("app.tar").write_bytes((RECORDED / "docker28-containerd.platform-arm64.tar").read_bytes())
    capsys.readouterr()

    for verb, option in (("build", "--locked"), ("plan", "--locked"), ("lock", "--check")):
        assert run(verb, recipe, option) == 6
        said = capsys.readouterr().err
        assert "error[lock-outdated]: " in said
        assert "./app.tar changed since it was locked" in said

    assert run("build", recipe, quiet=False) == 0
    said = capsys.readouterr().err
    assert "edge.lock.json: ./app.tar changed since it was locked" in said
    assert f"~ {COREDNS} (arm64): " in said
    assert run("build", recipe, "--locked", "--replace") == 0


def test_reading_an_archive_is_told_by_stage_and_within_its_total(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stage in ("lock", "read"):  # without a lock, and with one
        assert run("lock", recipe, "--progress", "json", quiet=False) == 0
        events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        (began,) = (each for each in events if each["event"] == "start" and each["what"] == "./app.tar")
        assert (began["stage"], began["size"]) == (stage, recipe.with_name("app.tar").stat().st_size)
        moved = [each for each in events if each["event"] == "progress"]
        assert moved
        assert all(each["done"] <= each["total"] for each in moved)


def test_a_plan_does_not_say_that_an_archive_is_fetched(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", recipe) == 0
    rows = {line.split()[0]: line.split()[-1] for line in capsys.readouterr().out.splitlines() if line}
    assert (rows[COREDNS], rows["docker.io/example/hello:1.0"]) == ("read", "fetch")


@pytest.mark.parametrize("verb", ["build", "lock", "plan"])
def test_an_archive_that_is_gone_is_an_error_with_or_without_a_lock(
    verb: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lock", recipe) == 0
    before = recipe.with_name("edge.lock.json").read_bytes()
    recipe.with_name("app.tar").unlink()
    assert run(verb, recipe) == 2
    assert "error[recipe-not-found]: images.extra: there is no archive" in capsys.readouterr().err
    assert recipe.with_name("edge.lock.json").read_bytes() == before


def test_a_plan_counts_nothing_to_fetch_for_an_archive(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", recipe, "--json") == 0
    planned = json.loads(capsys.readouterr().out)

    archived = sum(image["size"] for image in planned["images"] if image["reference"] == COREDNS)
    assert archived == 20480, "two plain layers of docker save"
    assert planned["fetch"] + archived == planned["cacheRoom"]
