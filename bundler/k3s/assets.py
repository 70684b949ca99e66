"""Names of release files and how their URLs are written (k3s scripts/validate-artifacts, .github/workflows)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from bundler.model.platform import Architecture
    from bundler.model.release import Release, TagStyle

IMAGE_LIST = "k3s-images.txt"


def binary_asset(arch: Architecture) -> str:
    """Name the binary: 32-bit ARM is `armhf` here and `arm` everywhere else."""
    return {"amd64": "k3s", "arm64": "k3s-arm64", "arm": "k3s-armhf"}[arch]


def checksum_asset(arch: Architecture) -> str:
    """Name the checksum file."""
    return f"sha256sum-{arch}.txt"


def asset_url(base: str, release: Release, style: TagStyle, asset: str) -> str:
    """Say where a release server keeps `asset`: `<base>/<tag>/<asset>`."""
    tag = {"percent": quote(release.tag, safe=""), "dash": release.path_name, "plain": release.tag}[style]
    return f"{base.rstrip('/')}/{tag}/{asset}"
