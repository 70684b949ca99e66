"""`images.layers: registry` from the command line: every kind of image, and what is said about old releases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bundler.cli.main import main
from tests.recorded_daemon import RECORDED
from tests.upstream import Upstream
from tests.upstream.odd_images import NESTED, SINGLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.upstream.content import Content

RECIPE = """\
version: 1
name: edge
release: {release}
arch: [amd64]
images:
  extra: [{extra}]
  layers: registry
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


def recipe(folder: Path, upstream: Upstream, extra: str = "", release: str = "v1.34.1+k3s1") -> Path:
    path = folder / "edge.yaml"
    path.write_text(RECIPE.format(extra=extra, release=release, releases=upstream.releases_url, url=upstream.url))
    return path


def run(verb: str, path: Path, *more: str) -> int:
    places = ["--cache-dir", str(path.parent / "cache")]
    places += ["--output", str(path.parent / "dist"), "--engine", "registry"] if verb == "build" else []
    return main([verb, str(path), *places, *more])


def manifests(content: Content) -> dict[str, str]:
    return {image.reference: image.on("amd64").manifest.digest for image in content.images}


def test_images_of_every_kind_keep_their_manifests_and_the_bundle_verifies(
    tmp_path: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, upstream, f"{SINGLE}, {NESTED}, docker.io/example/hello:1.0")
    assert run("build", path, "--json") == 0
    printed = capsys.readouterr()
    bundle = json.loads(printed.out)

    found = {image["name"]: image["manifest"] for each in bundle["bundle"]["archives"] for image in each["images"]}
    known = manifests(upstream.content)
    assert {SINGLE, NESTED} < found.keys()
    assert found == {name: known[name] for name in found}
    assert "v1.34.1+k3s1 does not name imported images by digest" in printed.err
    assert main(["verify", bundle["path"]]) == 0


def test_zstd_layers_of_a_registry_are_refused_for_a_node_that_cannot_unpack_them(
    tmp_path: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    old = upstream.content.release("v1.34.1+k3s1")
    for name, data in old.assets.items():
        upstream.put(f"/releases/v1.21.14+k3s1/{name}", data)

    assert run("lock", recipe(tmp_path, upstream, release="v1.21.14+k3s1")) == 2

    error = capsys.readouterr().err
    assert "has zstd layers, which v1.21.14+k3s1 does not unpack" in error
    assert "images.layers: plain" in error


def test_an_archive_that_lost_the_manifest_is_refused_and_one_that_has_it_is_carried_as_it_is(
    tmp_path: Path, upstream: Upstream, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "127.0.0.1:5099/demo/coredns:1.12.3"
    for stream, code in (("docker20-overlay2.names-arm64", 2), ("docker28-containerd.platform-arm64", 0)):
        (tmp_path / "app.tar").write_bytes((RECORDED / f"{stream}.tar").read_bytes())
        path = recipe(tmp_path, upstream, f'{{archive: app.tar, ref: "{name}"}}')
        path.write_text(path.read_text().replace("amd64", "arm64"))
        assert run("build", path, "--json") == code
    printed = capsys.readouterr()

    assert f"app.tar has lost the manifest of {name}" in printed.err
    own = next(each for each in json.loads(printed.out)["bundle"]["archives"] if "edge" in each["path"])
    registry = json.loads((RECORDED / "registry.json").read_bytes())["demo/coredns:1.12.3"]["arm64"]
    assert [image["manifest"] for image in own["images"]] == [registry["manifest"]]
