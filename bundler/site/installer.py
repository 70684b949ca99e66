"""The offline installer: its parts, joined."""

from __future__ import annotations

from importlib import resources


def install_script() -> bytes:
    """Return `install.sh`: the parts of `bundler/site/sh` in the order of their names, nothing added or filled in."""
    parts = sorted(
        (part for part in resources.files("bundler.site").joinpath("sh").iterdir() if part.name.endswith(".sh")),
        key=lambda part: part.name,
    )
    return b"\n".join(part.read_bytes() for part in parts)
