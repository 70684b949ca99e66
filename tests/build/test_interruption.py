"""Whatever ends a build in the middle: no half bundle, and what arrived is not fetched again."""

from __future__ import annotations

import hashlib
import json
import random
import resource
import signal
import subprocess
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.build.workshop import LIMIT, Workshop, sizes_below
from tests.upstream import Abreast, Content, Drip, Filler, Stall, Upstream, standard_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TAG = "v1.34.1+k3s1"
MIB = 1 << 20
BINARY = f"/releases/{TAG}/k3s-arm64"


def bulky(mebibytes: int) -> Content:
    """The standard content with a layer and a binary of that size each."""
    content = standard_content(Filler(mebibytes))
    old = content.release(TAG)
    binary = old.assets["k3s-arm64"] + hashlib.shake_256(b"binary").digest(mebibytes * MIB)
    digest = hashlib.sha256(binary).hexdigest()
    sums = f"{digest}  k3s-arm64\n".encode()
    new = replace(old, assets={**old.assets, "k3s-arm64": binary, "sha256sum-arm64.txt": sums})
    return replace(content, releases=tuple(new if each is old else each for each in content.releases))


def blob_of(content: Content) -> str:
    image = next(each for each in content.images if "klipper-helm:v0.9.8" in each.reference)
    return f"/v2/*/blobs/{max(image.on('arm64').layers, key=lambda layer: len(layer.data)).digest}"


@pytest.fixture
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A build that takes 4 s for each of two transfers of 2 MiB."""
    content = bulky(2)
    with Upstream(content) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("slow"), upstream)
        workshop.write_recipe(extra=[])
        assert workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache).code == 0
        for pattern in (BINARY, blob_of(content)):
            upstream.fail(pattern, Drip(512 << 10), None)
        yield workshop


def partial_size(path: Path) -> Callable[[], int]:
    return lambda: path.stat().st_size if path.exists() else 0


def until(what: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    begun = time.monotonic()
    while not what():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() - begun < LIMIT
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_ends_at_once_and_goes_on_later(number: signal.Signals, code: int, slow: Workshop) -> None:
    upstream, content = slow.upstream, slow.upstream.content
    blob = blob_of(content)
    child = slow.start(*slow.arguments())
    until(lambda: min(upstream.bytes_sent(BINARY), upstream.bytes_sent(blob)) > MIB, child)
    begun = time.monotonic()
    child.send_signal(number)
    out, err = child.communicate(timeout=LIMIT)
    assert time.monotonic() - begun < 30
    assert child.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert "interrupted" in err
    assert slow.left_in_output() == []
    assert sizes_below(slow.cache / "partial") > 1.5 * MIB
    upstream.heal()
    assert slow.build().code == 0
    for pattern in (BINARY, blob):
        assert upstream.bytes_sent(pattern) <= 1.05 * 2 * MIB + (64 << 10)
    assert sizes_below(slow.cache / "partial") == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_waits_for_a_silent_server_ends_at_once(number: signal.Signals, code: int, slow: Workshop) -> None:
    slow.upstream.heal()
    for pattern in (BINARY, "/v2/*/blobs/*"):
        slow.upstream.fail(pattern, Stall(after=1000), None)
    child = slow.start(*slow.arguments())
    until(lambda: slow.upstream.bytes_sent(BINARY) > 0, child)
    time.sleep(0.3)
    begun = time.monotonic()
    child.send_signal(number)
    _, err = child.communicate(timeout=LIMIT)
    assert time.monotonic() - begun < 30
    assert child.returncode == code
    assert "Traceback" not in err
    assert slow.left_in_output() == []


def test_a_second_signal_needs_no_patience(slow: Workshop) -> None:
    child = slow.start(*slow.arguments())
    until(lambda: slow.upstream.bytes_sent(BINARY) > 0, child)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=LIMIT)
    assert child.returncode == 130
    assert slow.left_in_output() == []


def test_a_build_killed_at_any_moment_loses_next_to_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    content, chance = bulky(20), random.Random(11)
    blob = blob_of(content)
    with Upstream(content) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("killed"), upstream)
        workshop.write_recipe(extra=[])
        partial = workshop.cache / "partial"
        binary = hashlib.sha256(content.release(TAG).assets["k3s-arm64"]).hexdigest()
        for pattern, name in ((BINARY, binary), (blob, blob.rpartition(":")[2])):
            upstream.fail(pattern, Abreast(partial_size(partial / name), bytes_per_second=8 * MIB), None)
        for part in (0.2, 0.5, 0.8):
            goal = (part + chance.uniform(-0.1, 0.1)) * 40 * MIB
            child = workshop.start(*workshop.arguments())
            until(lambda goal=goal: upstream.bytes_sent(BINARY) + upstream.bytes_sent(blob) > goal, child)  # type: ignore[misc]
            child.kill()
            child.communicate()
            assert [name for name in workshop.left_in_output() if not name.startswith(".")] == []
        upstream.heal()
        result = workshop.build()
        assert result.code == 0, result.err
        assert upstream.bytes_sent(BINARY) + upstream.bytes_sent(blob) <= 1.05 * 40 * MIB
    assert workshop.left_in_output() == [result.path.name]
    assert sizes_below(workshop.cache / "partial") == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_layers_are_packed_while_another_is_on_its_way_and_stay_when_the_build_ends(
    tmp_path_factory: pytest.TempPathFactory, number: signal.Signals
) -> None:
    content = standard_content(Filler(1))
    blob = blob_of(content)
    with Upstream(content) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("cancelled"), upstream)
        assert workshop.run("lock", workshop.recipe, "--cache-dir", workshop.cache).code == 0
        (locked,) = json.loads(workshop.lock.read_text())["architectures"]
        images = locked["k3SImages"] + locked["recipeImages"]
        layers = {layer["diffId"] for image in images for layer in image["layers"]}
        upstream.fail(blob, Stall(after=1000), None)
        child = workshop.start(*workshop.arguments())
        until(lambda: len(list((workshop.cache / "layers").glob("[0-9a-f]*.json"))) == len(layers) - 1, child)
        until(lambda: bool(upstream.bytes_sent(blob)), child)
        child.send_signal(number)
        child.communicate(timeout=LIMIT)
        upstream.heal()
        upstream.forget_requests()
        assert workshop.build().code == 0
        assert upstream.requests_to("/v2/*") == upstream.requests_to(blob)


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MIB, 8 * MIB))


def test_no_unpacked_layer_is_written_to_disk(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No file may grow to the size of the layer, which is a hundredth of that packed."""
    with Upstream(standard_content(Filler(64, compressible=True))) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("unpacked"), upstream)
        for layers in ("zstd", "plain", "registry"):
            workshop.write_recipe(layers=layers, extra=[])
            result = workshop.build("--replace", before=small_files)
            assert result.code == 0, result.err


def test_a_build_killed_while_it_packs_leaves_nothing_that_hinders(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Upstream(standard_content(Filler(20))) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("killed"), upstream)
        whole = workshop.build()
        assert whole.code == 0
        for delay in (0.0, 0.02, 0.05):
            child = workshop.start(*workshop.arguments("--replace"))
            until(lambda: any(name.endswith(".partial") for name in workshop.left_in_output()), child)
            time.sleep(delay)
            child.kill()
            child.communicate()
            assert workshop.run("verify", whole.path).code == 0
        assert workshop.build("--replace").code == 0
        assert workshop.left_in_output() == [whole.path.name]
        assert not list((workshop.cache / "tmp").iterdir())


def test_the_memory_a_build_takes_does_not_grow_with_its_layers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A process of its own measures: the peak of a child forked from here would count this one's memory."""
    measure = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    from tests.build.workshop import COMMAND

    with Upstream(standard_content(Filler(300, compressible=True))) as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("memory"), upstream)
        for layers in ("zstd", "plain"):
            workshop.write_recipe(layers=layers)
            command = [COMMAND[0], "-c", measure, *COMMAND, *map(str, workshop.arguments("--replace", "--quiet"))]
            kibibytes = int(subprocess.check_output(command, env=workshop.variables(), cwd=workshop.folder))
            assert kibibytes < 256 << 10, layers
