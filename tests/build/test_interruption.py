"""A build that is interrupted goes on where it stopped."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.command import command_for, sums
from tests.upstream import Drip, Filler, Upstream, standard_content

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import CommandLine

BIG = 12  # MiB of the one big layer


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(standard_content(Filler(BIG, compressible=False))) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> CommandLine:
    return command_for(tmp_path / "builder", upstream)


def big_layer(upstream: Upstream) -> tuple[str, int]:
    """The path pattern and size of the one big layer, for arm64."""
    image = next(image for image in upstream.content.release("v1.34.1+k3s1").images if "klipper-helm" in str(image))
    layer = max(upstream.content.image(str(image)).on("arm64").layers, key=lambda layer: len(layer.data))
    return f"*/blobs/{layer.digest}", len(layer.data)


def wait_for_bytes(upstream: Upstream, pattern: str, command: CommandLine, count: int) -> None:
    """Wait until the part of the transfer has `count` bytes."""
    digest = pattern.rpartition(":")[2]
    part = command.folder / ".cache/k3s-bundler/partial" / digest
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if part.exists() and part.stat().st_size >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{part} never had {count} bytes")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_build_soon_leaves_no_bundle_and_the_next_run_goes_on(
    command: CommandLine, upstream: Upstream, number: signal.Signals, code: int
) -> None:
    recipe = command.recipe(arch="arm64")
    pattern, size = big_layer(upstream)
    upstream.fail(pattern, Drip(bytes_per_second=2 << 20))
    building = command.start("build", recipe, "--engine", "registry", "--output", command.folder / "dist")
    wait_for_bytes(upstream, pattern, command, 1 << 20)
    building.send_signal(number)
    began = time.monotonic()
    _, said = building.communicate(timeout=20)

    assert building.returncode == code, said
    assert time.monotonic() - began < 5
    assert "Traceback" not in said
    assert command.built() == []
    upstream.heal()
    command.build(recipe)
    assert upstream.bytes_sent(pattern) <= size * 1.05 + (1 << 20), "bytes in flight when the signal came are allowed"


def test_killed_at_random_points_nothing_much_is_fetched_twice(tmp_path: Path, upstream: Upstream) -> None:
    command = command_for(tmp_path / "killed", upstream)
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    pattern, size = big_layer(upstream)
    chance = random.Random(20261123)
    upstream.fail(pattern, Drip(bytes_per_second=8 << 20), times=None)
    for point in sorted(chance.sample(range(1 << 20, size), 3)):
        building = command.start("build", recipe, "--engine", "registry", "--output", command.folder / "dist")
        wait_for_bytes(upstream, pattern, command, point)
        building.kill()
        building.communicate()
    upstream.heal()

    bundle = sums(command.build(recipe))

    in_flight = 3 * (256 << 10)  # what a socket holds when its reader dies
    assert upstream.bytes_sent(pattern) <= size * 1.05 + in_flight
    other = command_for(tmp_path / "undisturbed", upstream)
    other_recipe = other.recipe(arch="arm64")
    (other.folder / "edge.lock.json").write_bytes((command.folder / "edge.lock.json").read_bytes())
    assert sums(other.build(other_recipe, "--locked")) == bundle
