"""The images that are packed: real Go programs on a shared base, in a real registry whose folder is kept.

`python -m tests.bench.corpus FOLDER [--quick]` makes it; later runs find it there. A process of its own, because the
peak memory of a child that is measured begins at that of the process it was forked from.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.debian import DownloadError, download, layer_of
from tests.real.images import amd64_image
from tests.real.publish import publish
from tests.real.registry import Registry

if TYPE_CHECKING:
    from tests.real.layers import Layer

BASE = ("busybox-static", "libc6", "tzdata", "ca-certificates")

REBUILT = "containerd=1.6.20~ds1-1+deb12u2"
"""A security rebuild of the same; archives of distributions drop old versions some day."""

IMAGES: dict[str, tuple[str, ...]] = {
    "docker.io/bench/containerd:2": ("runc", "containerd"),
    "docker.io/bench/containerd:1": ("runc", REBUILT),
    "docker.io/bench/docker:1": ("runc", "docker.io", "golang-docker-credential-helpers"),
    "docker.io/bench/prometheus:1": ("prometheus",),
    "docker.io/bench/alertmanager:1": ("prometheus-alertmanager",),
    "docker.io/bench/rclone:1": ("rclone",),
    "docker.io/bench/podman:1": ("podman", "skopeo", "golang-docker-credential-helpers"),
    "docker.io/bench/etcd:1": ("etcd-server",),
    "docker.io/bench/registry:1": ("docker-registry",),
    "docker.io/bench/caddy:1": ("caddy",),
}
"""Image -> the packages it has above the base, a layer each."""

BEFORE, AFTER = "docker.io/bench/caddy:1", "docker.io/bench/caddy:2"
"""The image that changes when one of ten changes; afterwards it is a rebuild with another version string."""

QUICK = ("docker.io/bench/etcd:1", "docker.io/bench/registry:1", BEFORE)


@dataclass(frozen=True)
class CorpusLayer:
    """A layer as the registry has it. Sizes are bytes."""

    digest: str
    size: int
    unpacked: int


@dataclass(frozen=True)
class CorpusImage:
    """An image, with the digest of its manifest."""

    reference: str
    manifest: str
    layers: tuple[CorpusLayer, ...]

    @property
    def path(self) -> str:
        """Repository and tag, as they follow the host."""
        return self.reference.partition("/")[2]


@dataclass(frozen=True)
class Corpus:
    """Images, and the one image that takes the place of the last of them when something has changed."""

    folder: Path
    images: tuple[CorpusImage, ...]
    changed: CorpusImage

    @property
    def layers(self) -> tuple[CorpusLayer, ...]:
        """Every layer once."""
        return tuple({layer.digest: layer for image in self.images for layer in image.layers}.values())

    @property
    def blobs(self) -> tuple[tuple[str, str], ...]:
        """Repository and digest of every layer, each once."""
        found = {layer.digest: image.path.partition(":")[0] for image in self.images for layer in image.layers}
        return tuple((repository, digest) for digest, repository in found.items())

    @property
    def registry(self) -> Path:
        """The folder of the registry that holds it."""
        return self.folder / "registry"


def load(folder: Path) -> Corpus | None:
    """Read what was made before."""
    try:
        known = json.loads((folder / "corpus.json").read_text())
    except FileNotFoundError:
        return None
    images = [
        CorpusImage(each["reference"], each["manifest"], tuple(CorpusLayer(**layer) for layer in each["layers"]))
        for each in known
    ]
    return Corpus(folder, tuple(images[:-1]), images[-1])


def make(folder: Path, wanted: tuple[str, ...]) -> None:
    """Download, pack and publish; raises DownloadError and ComponentError."""
    debs = folder.parent / "debian"
    registry = folder / "registry"
    registry.mkdir(parents=True, exist_ok=True)
    sources = {reference: [(package,) for package in IMAGES[reference]] for reference in wanted}
    layers = {
        packages: _layer(packages, debs) for packages in {BASE, *(each for own in sources.values() for each in own)}
    }
    rebuilt = layer_of([download("caddy", debs)], (b"2.6.2", b"2.6.3"))
    with Registry(registry) as server:
        described = [
            _publish(server, reference, [layers[BASE], *(layers[packages] for packages in own)])
            for reference, own in sources.items()
        ]
        described.append(_publish(server, AFTER, [layers[BASE], rebuilt]))
    (folder / "corpus.json").write_text(json.dumps([asdict(each) for each in described], indent=1))


def _layer(packages: tuple[str, ...], debs: Path) -> tuple[Layer, int]:
    try:
        return layer_of([download(package, debs) for package in packages])
    except DownloadError as error:
        if packages != (REBUILT,):
            raise
        print(f"{error}\nIn its place: today's build with another version string", file=sys.stderr)
        return layer_of([download("containerd", debs)], (b"1.6.20", b"1.6.19"))


def _publish(server: Registry, reference: str, layers: list[tuple[Layer, int]]) -> CorpusImage:
    image = amd64_image(reference, tuple(layer for layer, _ in layers))
    publish(server, [image])
    return CorpusImage(
        reference,
        image.on("amd64").manifest.digest,
        tuple(CorpusLayer(layer.digest, len(layer.blob), unpacked) for layer, unpacked in layers),
    )


if __name__ == "__main__":
    make(Path(sys.argv[1]), QUICK if "--quick" in sys.argv else tuple(IMAGES))
