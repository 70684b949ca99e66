"""Many images: whether time, memory and requests grow with their number and no faster.

The images are made up, so that any number of them can be had: a shared base and one layer of their own each, which
compresses about as well as programs do.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.arena import NOW, Arena
from tests.bench.contest import hashed_bytes
from tests.bench.corpus import Corpus, CorpusImage, CorpusLayer, load
from tests.real.images import amd64_image
from tests.real.layers import Layer, digest_of
from tests.real.publish import publish
from tests.real.registry import Registry

if TYPE_CHECKING:
    from tests.bench.measure import Measured

_WORD, _POOL = 24, 4096
_PAGE = 4096


@dataclass(frozen=True)
class Scaled:
    """Cold and warm builds of `images` images with `unpacked` bytes of layers, and the requests the registry got.

    `verify` is of the bundle they give; its size is what was hashed.
    """

    images: int
    unpacked: int
    cold: Measured
    cold_requests: int
    warm: Measured
    warm_requests: int
    verify: Measured


def scaled(folder: Path, corpus: Corpus, count: int) -> Scaled:
    """Build the first `count` images cold, then again."""
    part = Corpus(corpus.folder, corpus.images[:count], corpus.images[0])
    with Arena(folder, part) as arena:
        before = _requests(arena)
        cold = arena.build(NOW, "scale", "--engine", "registry")
        between = _requests(arena)
        warm = arena.build(NOW, "scale", "--engine", "registry")
        after = _requests(arena)
        bundle = arena.bundle("scale")
        verify = replace(arena.own("verify", "-q", bundle), size=hashed_bytes(bundle))
    unpacked = sum(layer.unpacked for layer in part.layers)
    return Scaled(count, unpacked, cold, between - before, warm, after - between, verify)


def make(folder: Path, count: int, size: int) -> None:
    """Publish `count` images whose own layer has about `size` bytes."""
    registry = folder / "registry"
    registry.mkdir(parents=True, exist_ok=True)
    described = []
    with Registry(registry) as server:
        base = _layer("base", size)
        for number in range(count):
            reference = f"docker.io/scale/image{number:03}:1"
            own = _layer(reference, size)
            image = amd64_image(reference, (base[0], own[0]))
            publish(server, [image])
            layers = tuple(CorpusLayer(layer.digest, len(layer.blob), plain) for layer, plain in (base, own))
            described.append(CorpusImage(reference, image.on("amd64").manifest.digest, layers))
    # The last one stands for the image that changes, which nobody asks for here.
    (folder / "corpus.json").write_text(json.dumps([asdict(each) for each in (*described, described[0])]))


def synthetic(folder: Path) -> Corpus:
    """Read what `make` made; raises FileNotFoundError."""
    corpus = load(folder)
    if corpus is None:
        raise FileNotFoundError(folder)
    return corpus


def _layer(seed: str, size: int) -> tuple[Layer, int]:
    dice = random.Random(seed)
    words = [dice.randbytes(_WORD) for _ in range(_POOL)]
    # No page comes twice: zstd's long distances would make a layer of a few megabytes of any size.
    pages = (b"".join(dice.choices(words, k=_PAGE // _WORD)) + dice.randbytes(_PAGE // 4) for _ in range(size // _PAGE))
    content = b"".join(pages)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tree:
        member = tarfile.TarInfo("srv/content")
        member.size = len(content)
        tree.addfile(member, io.BytesIO(content))
    tar = plain.getvalue()
    return Layer(digest_of(tar), "gzip", gzip.compress(tar, 1, mtime=0)), len(tar)


def _requests(arena: Arena) -> int:
    """Requests that the registry has logged."""
    log = arena.registry.log.read_text(errors="replace")
    return log.count('"GET /v2/') + log.count('"HEAD /v2/')


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) << 20)
