"""CPU architectures, as k3s, OCI images, ELF headers and `uname` call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Architecture = Literal["amd64", "arm64", "arm"]
"""The architectures k3s is released for today (k3s scripts/validate-artifacts)."""

ARCHITECTURES: tuple[Architecture, ...] = ("amd64", "arm64", "arm")

ELF_MACHINE: dict[Architecture, int] = {"amd64": 0x3E, "arm64": 0xB7, "arm": 0x28}
"""e_machine at offset 18 of an ELF header (System V ABI supplements)."""

RPM_MACHINE: dict[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64", "arm": "armv7hl"}
"""What RPM packages call them."""

_VARIANTS: dict[Architecture, tuple[str, ...]] = {"amd64": ("", "v1"), "arm64": ("", "v8"), "arm": ("v7", "v6", "")}
# Best first. arm: every image of k3s is v7 but traefik, which publishes only v6 (k3s-io/k3s#13330). An arm config
# without a variant is taken last: it does not say what it needs. amd64 v2 and up are left out, they need newer CPUs.


@dataclass(frozen=True, order=True)
class Platform:
    """What an image says it runs on (OCI image-spec, image-index.md, `platform`)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def parse_platform(text: str) -> Platform:
    """Read `os/architecture[/variant]`; raises ValueError."""
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"{text!r} is not a platform such as linux/arm64")
    return Platform(*parts)


def rank(platform: Platform, wanted: Architecture) -> int | None:
    """Say how well `platform` runs on `wanted`: 0 is best, None is not at all."""
    variants = _VARIANTS[wanted]
    if platform.os != "linux" or platform.architecture != wanted or platform.variant not in variants:
        return None
    return variants.index(platform.variant)
