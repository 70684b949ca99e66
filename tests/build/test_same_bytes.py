"""The same lock gives the same bytes, and a lock stays what it is."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.build.conftest import command_for
from tests.command import sums

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import CommandLine
    from tests.upstream import Upstream

EXTRAS = ["docker.io/example/hello:1.0", "docker.io/rancher/mirrored-pause:3.6"]


@pytest.mark.parametrize("layers", ["zstd", "plain"])
def test_two_builds_anywhere_at_any_time_by_anybody_give_the_same_bundle(
    tmp_path: Path, upstream: Upstream, layers: str
) -> None:
    one = command_for(tmp_path / "one", upstream)
    first = sums(one.build(one.recipe(layers=layers, extra=EXTRAS[0]), "--jobs", "1"))

    two = command_for(tmp_path / "another folder", upstream).with_environment(
        HOME=str(tmp_path), TZ="Asia/Kathmandu", LC_ALL="C", LANG="tr_TR.UTF-8", PYTHONHASHSEED="42"
    )
    recipe = two.recipe(layers=layers, extra=EXTRAS[0])
    (two.folder / "edge.lock.json").write_bytes((one.folder / "edge.lock.json").read_bytes())
    before = os.umask(0o077)
    try:
        cold = sums(two.build(recipe, "--jobs", "8", "--locked"))
    finally:
        os.umask(before)
    warm = sums(two.build(recipe, "--jobs", "3", "--locked", "--replace"))

    assert cold == first
    assert warm == first
    bundle = two.folder / "dist/edge-v1.34.1-k3s1-multi"
    assert {path.stat().st_mode & 0o777 for path in bundle.rglob("*") if path.is_file()} == {0o644}


def test_the_order_in_which_images_are_named_does_not_matter(tmp_path: Path, upstream: Upstream) -> None:
    bundles = []
    for name, extra in (("a", EXTRAS), ("b", EXTRAS[::-1])):
        command = command_for(tmp_path / name, upstream)
        bundles.append(sums(command.build(command.recipe(arch="arm64", extra=", ".join(extra)))))
    assert bundles[0] == bundles[1]


def test_one_architecture_of_a_lock_is_the_same_bundle_whenever_it_is_built(command: CommandLine) -> None:
    recipe = command.recipe()
    alone = command.build(recipe, "--arch", "arm64")
    together = command.build(recipe)
    first = sums(alone)

    assert sums(command.build(recipe, "--arch", "arm64", "--replace", "--locked")) == first
    archive = "images/k3s-airgap-images-arm64.tar"
    assert sums(together)[archive] == first[archive]


def test_a_channel_and_a_tag_stay_where_they_were_locked_until_update(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe(arch="arm64")
    first = sums(command.build(recipe))
    collection = json.loads(upstream.document("/v1-release/channels").body)
    for channel in collection["data"]:
        if channel["name"] == "stable":
            channel["latest"] = "v1.30.0+k3s1"
    upstream.put("/v1-release/channels", json.dumps(collection).encode(), "application/json")

    assert sums(command.build(recipe, "--replace")) == first

    done = command.run("lock", recipe, "--update")
    assert done.returncode == 0, done.stderr
    assert "release v1.34.1+k3s1 -> v1.30.0+k3s1" in done.stderr
    assert command.build(recipe).name == "edge-v1.30.0-k3s1-arm64"


def test_a_changed_recipe_is_locked_again_aloud_and_an_edited_comment_is_not(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    command.build(recipe)
    lock = command.folder / "edge.lock.json"
    before = lock.read_bytes()
    recipe.write_text(
        "# a comment\n" + recipe.read_text().replace("layers: zstd", "layers:    zstd") + "engine: auto\n"
    )
    command.build(recipe, "--locked", "--replace")
    assert lock.read_bytes() == before

    changed = command.recipe(arch="arm64", extra=EXTRAS[0])
    done = command.try_build(changed, "--replace")

    assert done.returncode == 0, done.stderr
    assert "the recipe changed" in done.stderr
    assert f"+ {EXTRAS[0]} (arm64)" in done.stderr
    assert lock.read_bytes() != before


def test_overrides_lock_apart_and_leave_the_recipes_lock_alone(command: CommandLine) -> None:
    recipe = command.recipe(arch="arm64")
    command.build(recipe)
    lock = command.folder / "edge.lock.json"
    before = lock.read_bytes()

    other = command.build(recipe, "--release", "v1.30", "--level", "3", "--arch", "amd64")

    assert other.name == "edge-v1.30.0-k3s1-amd64"
    assert lock.read_bytes() == before
    assert len(list((command.folder / ".cache/k3s-bundler/locks").glob("edge-*.lock.json"))) == 1


def test_lock_check_asks_nobody_and_says_by_exit_code(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe, "--check").returncode == 6
    assert command.run("lock", recipe).returncode == 0
    upstream.forget_requests()
    assert command.run("lock", recipe, "--check").returncode == 0
    assert command.run("build", recipe, "--engine", "registry", "--dry-run", "--locked").returncode == 0
    assert upstream.requests == ()


def test_a_damaged_cache_is_healed(command: CommandLine, upstream: Upstream) -> None:
    recipe = command.recipe(arch="arm64")
    first = sums(command.build(recipe))
    blobs = sorted((command.folder / ".cache/k3s-bundler/blobs/sha256").iterdir())
    for number, blob in enumerate(blobs):
        content = bytearray(blob.read_bytes())
        if number % 3 == 0:
            content[len(content) // 2] ^= 1
        elif number % 3 == 1:
            del content[-1:]
        blob.write_bytes(content)

    assert sums(command.build(recipe, "--replace")) == first


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
    config = (bundle / "etc/config.yaml").read_text()
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
