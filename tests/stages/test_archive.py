"""A bundle as one file: the same bytes wherever it is made, with secrets for one user alone."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from bundler.progress import Silent
from bundler.stages.archive import write_archive

if TYPE_CHECKING:
    from pathlib import Path

NAME = "edge-v1.34.1-k3s1-arm64"
FILES = {"SHA256SUMS": b"sums\n", "etc/registries.yaml": b"password\n", "install.sh": b"#!/bin/sh\n"}
PRIVATE = frozenset({"etc/registries.yaml"})


def bundle_in(folder: Path, mode: int = 0o644) -> Path:
    """Write a folder like a bundle's, all files of which have `mode`, as on a file system that keeps none."""
    bundle = folder / NAME
    for path, data in FILES.items():
        file = bundle / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
    return bundle


def test_modes_of_the_disk_do_not_count(tmp_path: Path) -> None:
    made = [write_archive(bundle_in(tmp_path / f"{mode:o}", mode), PRIVATE, Silent()) for mode in (0o644, 0o755, 0o600)]
    assert len({archive.read_bytes() for archive in made}) == 1
    with tarfile.open(made[0]) as opened:
        modes = {member.name.removeprefix(f"{NAME}/"): member.mode for member in opened}
    assert modes == {"SHA256SUMS": 0o644, "etc/registries.yaml": 0o600, "install.sh": 0o644}


@pytest.mark.parametrize(("private", "mode"), [(frozenset[str](), 0o644), (PRIVATE, 0o600)])
def test_what_a_killed_build_left_open_to_all_opens_nothing(tmp_path: Path, private: frozenset[str], mode: int) -> None:
    bundle = bundle_in(tmp_path)
    left = tmp_path / f".{NAME}.tar.partial"
    left.write_bytes(b"half")
    left.chmod(0o666)
    with left.open("rb") as reading:
        archive = write_archive(bundle, private, Silent())
        assert reading.read() == b"half"
    assert archive.stat().st_mode & 0o777 == mode
    assert not left.exists()
