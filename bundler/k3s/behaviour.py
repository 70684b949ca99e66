"""What a k3s release can do, by version. Every row gives the first release and where that is known from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.model.release import Release

_ZSTD_LAYERS = (1, 22, 0)  # containerd 1.5, the first with zstd layers
_ZSTD_ARCHIVES = (1, 21, 0)  # k3s-io/k3s#3169: .tar.zst in agent/images

_DIGEST_NAMES = {(1, 32): 11, (1, 33): 7, (1, 34): 3, (1, 35): 0}  # k3s-io/k3s#13221, December 2025: first patch


def names_images_by_digest(release: Release) -> bool:
    """Say whether k3s adds `repository@digest` after an import, which pods that pin a digest need."""
    minor, patch = release.version[:2], release.version[2]
    return minor > max(_DIGEST_NAMES) or patch >= _DIGEST_NAMES.get(minor, 1 << 30)


def takes_zstd_layers(release: Release) -> bool:
    """Say whether the node's containerd unpacks layers that are compressed with zstd."""
    return release.version >= _ZSTD_LAYERS


def takes_zstd_archives(release: Release) -> bool:
    """Say whether k3s imports `.tar.zst`; older ones take every `.tar`."""
    return release.version >= _ZSTD_ARCHIVES
