"""Releases of k3s with real names, real image lists and stand-in binaries.

Asset names: k3s scripts/validate-artifacts. Checksum files: plain `sha256sum` text; until mid-2025 (Drone) over all of
an architecture's artifacts in glob order, with `k3s-images.txt` in amd64's; since then (GitHub Actions) the archives
and then the binary, and `k3s-images.txt` in none. Image lists: scripts/airgap/image-list.txt at each tag.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.upstream.elf import program

if TYPE_CHECKING:
    from collections.abc import Mapping

Era = Literal["drone", "github-actions"]

BINARIES = {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}

IMAGE_LISTS: Mapping[str, tuple[str, ...]] = {
    "v1.34.1+k3s1": (
        "docker.io/rancher/klipper-helm:v0.9.8-build20250709",
        "docker.io/rancher/klipper-lb:v0.4.13",
        "docker.io/rancher/local-path-provisioner:v0.0.32",
        "docker.io/rancher/mirrored-coredns-coredns:1.12.3",
        "docker.io/rancher/mirrored-library-busybox:1.36.1",
        "docker.io/rancher/mirrored-library-traefik:3.3.6",
        "docker.io/rancher/mirrored-metrics-server:v0.8.0",
        "docker.io/rancher/mirrored-pause:3.6",
    ),
    "v1.30.0+k3s1": (
        "docker.io/rancher/klipper-helm:v0.8.3-build20240228",
        "docker.io/rancher/klipper-lb:v0.4.7",
        "docker.io/rancher/local-path-provisioner:v0.0.26",
        "docker.io/rancher/mirrored-coredns-coredns:1.10.1",
        "docker.io/rancher/mirrored-library-busybox:1.36.1",
        "docker.io/rancher/mirrored-library-traefik:2.10.7",
        "docker.io/rancher/mirrored-metrics-server:v0.7.0",
        "docker.io/rancher/mirrored-pause:3.6",
    ),
    "v1.20.8+k3s1": (
        "docker.io/rancher/coredns-coredns:1.8.0",
        "docker.io/rancher/klipper-helm:v0.4.3",
        "docker.io/rancher/klipper-lb:v0.1.2",
        "docker.io/rancher/library-busybox:1.32.1",
        "docker.io/rancher/library-traefik:1.7.19",
        "docker.io/rancher/local-path-provisioner:v0.0.19",
        "docker.io/rancher/metrics-server:v0.3.6",
        "docker.io/rancher/pause:3.1",
    ),
}

CHANNELS: Mapping[str, str | None] = {
    "stable": "v1.34.1+k3s1",
    "latest": "v1.34.1+k3s1",
    "testing": None,  # its pattern matches no release at the moment: `latest` is absent
    "v1.34": "v1.34.1+k3s1",
    "v1.30": "v1.30.0+k3s1",
    "v1.20": "v1.20.8+k3s1",
}


@dataclass(frozen=True)
class PublishedRelease:
    """A release as its download page holds it: assets by name. The image archives are named but not served."""

    tag: str
    assets: Mapping[str, bytes]

    @property
    def images(self) -> tuple[str, ...]:
        """The references of k3s-images.txt."""
        return tuple(self.assets["k3s-images.txt"].decode().split())


def published_release(
    tag: str, era: Era, archive_forms: tuple[str, ...] = ("tar", "tar.gz", "tar.zst")
) -> PublishedRelease:
    """Make the assets of a release whose image list is in IMAGE_LISTS."""
    image_list = "".join(f"{reference}\n" for reference in IMAGE_LISTS[tag]).encode()
    assets = {"k3s-images.txt": image_list}
    for architecture, binary in BINARIES.items():
        line = f"This is a stand-in for k3s {tag} ({architecture}), for demonstrations and tests: it is not k3s."
        assets[binary] = program(architecture, line)
        archives = [f"k3s-airgap-images-{architecture}.{form}" for form in archive_forms]
        hashes = {name: _sha256(f"{tag} {name} is not served".encode()) for name in archives}
        hashes[binary] = _sha256(assets[binary])
        if era == "drone":
            listed = {"k3s-images.txt": _sha256(image_list)} if architecture == "amd64" else {}
            hashes = dict(sorted((hashes | listed).items()))
        checksums = "".join(f"{digits}  {name}\n" for name, digits in hashes.items())
        assets[f"sha256sum-{architecture}.txt"] = checksums.encode()
    return PublishedRelease(tag, assets)


def standard_releases() -> tuple[PublishedRelease, ...]:
    """Make one release of each era, and one from before compressed archives (they came with v1.21.0+k3s1)."""
    return (
        published_release("v1.34.1+k3s1", "github-actions"),
        published_release("v1.30.0+k3s1", "drone"),
        published_release("v1.20.8+k3s1", "drone", ("tar",)),
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
