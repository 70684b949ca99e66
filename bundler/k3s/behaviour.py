"""What a k3s release can do, by version. Every row gives the first release and where that is known from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.model.release import Release

_ZSTD_LAYERS = (1, 22, 0)  # containerd 1.5, the first with zstd layers
_ZSTD_ARCHIVES = (1, 21, 0)  # k3s-io/k3s#3169: .tar.zst in agent/images


def takes_zstd_layers(release: Release) -> bool:
    """Say whether the node's containerd unpacks layers that are compressed with zstd."""
    return release.version >= _ZSTD_LAYERS


def takes_zstd_archives(release: Release) -> bool:
    """Say whether k3s imports `.tar.zst`; older ones take every `.tar`."""
    return release.version >= _ZSTD_ARCHIVES
