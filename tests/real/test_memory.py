"""Memory stays bounded, however big a layer is."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.command import CommandLine
from tests.real.images import amd64_image
from tests.real.layers import Layer
from tests.real.publish import publish

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.images import Image
    from tests.real.registry import Registry
    from tests.real.release_server import ReleaseServer

GIB = 1 << 30
LIMIT = 256 << 20

# A process of its own between pytest and the build: the peak of a child begins at that of the process that forked it.
PEAK_OF = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def huge_layer(size: int) -> Layer:
    """A layer of `size` bytes, a multiple of 8 MiB: a gzip member over and over, so that it is made in a moment."""
    dice = random.Random("huge")
    page = [dice.randbytes(256) for _ in range(8)]
    block = b"".join(dice.choice(page) for _ in range(32 << 10))
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    member = deflater.compress(block) + deflater.flush()
    plain = hashlib.sha256()
    for _ in range(size // len(block)):
        plain.update(block)
    return Layer(f"sha256:{plain.hexdigest()}", "gzip", member * (size // len(block)))


def peak_of_build(command: CommandLine, image: Image) -> int:
    """Bytes that the biggest process of a cold build took."""
    argv = command.command("build", command.recipe(arch="amd64", extra=image.reference), "--engine", "registry", "-q")
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF, *argv],
        check=True,
        capture_output=True,
        text=True,
        cwd=command.folder,
        env=command.variables(),
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0, done.stderr
    print(f"peak {peak >> 20} MiB")
    return peak


@pytest.mark.parametrize("gib", [0.25, 4])
def test_a_build_takes_less_than_256_mib_however_big_a_layer_is(
    tmp_path: Path, release_server: ReleaseServer, registry: Registry, gib: float
) -> None:
    image = amd64_image(f"docker.io/tests/huge:{gib}", (huge_layer(int(gib * GIB)),))
    publish(registry, [image])
    channels = f"{release_server.url}/v1-release/channels"
    command = CommandLine(tmp_path, release_server.url, channels, registry.url)

    assert peak_of_build(command, image) < LIMIT
