"""What a build asks for, and what ends up in the bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundler.model.lock import parse_lock
from tests.command import command_for

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import CommandLine
    from tests.upstream import Upstream


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> CommandLine:
    return command_for(tmp_path / "builder", upstream)


def test_a_second_build_fetches_nothing(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe()
    command.build(recipe)
    upstream.forget_requests()
    command.build(recipe, "--replace")
    assert upstream.requests == ()


def test_a_layer_that_many_images_share_is_fetched_once(command: CommandLine, upstream: Upstream) -> None:
    command.build(command.recipe(arch="arm64"))
    digests = [request.path.rpartition("/")[2] for request in upstream.requests_to("/v2/*/blobs/*", "GET")]
    assert len(digests) == len(set(digests))


def test_a_first_build_asks_a_registry_for_nothing_but_what_it_needs_and_for_nothing_twice(
    command: CommandLine, upstream: Upstream
) -> None:
    """For an image: what its tag points to, the manifest of its platform, its config, and layers nobody else has."""
    bundle = command.build(command.recipe(arch="arm64"))
    wanted = set()
    for image in parse_lock((bundle / "lock.json").read_bytes(), "lock.json").images:
        repository, _, tag = image.reference.removeprefix("docker.io/").partition(":")
        wanted |= {f"manifests {repository} {tag}", f"blobs {image.config}"}
        wanted |= {f"manifests {repository} {image.manifest}"} if image.manifest != image.index else set()
        wanted |= {f"blobs {layer.digest}" for layer in image.layers}
    asked = [
        f"manifests {request.path[4:].replace('/manifests/', ' ')}"
        if "/manifests/" in request.path
        else f"blobs {request.path.rpartition('/')[2]}"
        for request in upstream.requests_to("/v2/*")
    ]
    assert {request.method for request in upstream.requests_to("/v2/*")} == {"GET"}
    assert sorted(asked) == sorted(wanted)


def test_what_plan_says_is_what_is_fetched(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    planned = json.loads(command.run("plan", recipe, "--json").stdout)
    upstream.forget_requests()
    command.build(recipe)
    assert upstream.bytes_sent() == planned["fetch"]
    after = json.loads(command.run("plan", recipe, "--json").stdout)
    assert after["fetch"] == 0
    assert all(image["cached"] == image["size"] for image in after["images"])


def test_a_plan_writes_neither_lock_nor_bundle(command: CommandLine) -> None:
    done = command.run("plan", command.recipe(arch="arm64"))
    assert done.returncode == 0, done.stderr
    assert not (command.folder / "edge.lock.json").exists()
    assert command.built() == []


def test_disabled_components_leave_their_images_out_and_are_told_to_the_site(
    command: CommandLine,
) -> None:
    recipe = command.recipe(arch="arm64")
    recipe.write_text(recipe.read_text() + "components:\n  disable: [traefik, local-storage]\n")
    bundle = command.build(recipe)
    names = [image["name"] for image in json.loads((bundle / "bundle.json").read_text())["archives"][0]["images"]]
    kept = {name.rpartition("/")[2].partition(":")[0] for name in names}
    assert kept == {"klipper-lb", "mirrored-coredns-coredns", "mirrored-metrics-server", "mirrored-pause"}
    config = (bundle / "etc/config-server.yaml").read_text()
    assert "traefik" in config
    assert "local-storage" in config


def test_old_k3s_gets_plain_layers_in_a_plain_tar_and_zstd_layers_are_refused(command: CommandLine) -> None:
    old = "v1.20.8+k3s1"
    refused = command.try_build(command.recipe(arch="arm64", release=old))
    assert refused.returncode == 2
    assert "images.layers" in refused.stderr

    bundle = command.build(command.recipe(arch="arm64", release=old, layers="plain"))
    assert [path.name for path in (bundle / "images").iterdir()] == ["k3s-airgap-images-arm64.tar"]


def test_mirrors_in_the_dashed_layout_give_the_same_files(tmp_path: Path, upstream: Upstream) -> None:
    command = replace(command_for(tmp_path / "cn", upstream), releases=upstream.dashed_releases_url)
    recipe = command.recipe(arch="arm64")
    recipe.write_text(recipe.read_text().replace("tag_style: plain", "tag_style: dash"))
    assert command.build(recipe).name == "edge-v1.34.1-k3s1-arm64"
