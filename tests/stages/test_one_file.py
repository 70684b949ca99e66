"""A bundle as one file: the same bytes wherever it is made, with secrets for one user alone."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

import pytest

from bundler.errors import OutputExistsError
from bundler.progress import Silent
from bundler.stages.archive import require_free_archive, write_archive

if TYPE_CHECKING:
    from collections.abc import Callable
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
    bundles = [bundle_in(tmp_path / f"{mode:o}", mode) for mode in (0o644, 0o755, 0o600)]
    made = [write_archive(bundle, PRIVATE, Silent(), replace=False) for bundle in bundles]
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
        archive = write_archive(bundle, private, Silent(), replace=False)
        assert reading.read() == b"half"
    assert archive.stat().st_mode & 0o777 == mode
    assert not left.exists()


def test_only_the_archive_of_this_bundle_is_replaced_and_only_when_asked(tmp_path: Path) -> None:
    bundle = bundle_in(tmp_path)
    archive = write_archive(bundle, PRIVATE, Silent(), replace=False)
    checksum = archive.with_name(f"{archive.name}.sha256")
    before = archive.read_bytes(), checksum.read_bytes()
    (bundle / "install.sh").write_bytes(b"another\n")
    for there, away in ((archive, checksum), (checksum, archive)):
        kept = away.rename(tmp_path / "away")
        with pytest.raises(OutputExistsError) as raised:
            require_free_archive(bundle, replace=False)
        assert raised.value.what == f"{there} exists already"
        assert "--replace" in raised.value.hint
        with pytest.raises(OutputExistsError):
            write_archive(bundle, PRIVATE, Silent(), replace=False)
        kept.rename(away)
    assert (archive.read_bytes(), checksum.read_bytes()) == before
    write_archive(bundle, PRIVATE, Silent(), replace=True)
    assert archive.read_bytes() != before[0]
    assert checksum.read_bytes() != before[1]


def folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").touch()


def text(path: Path) -> None:
    path.write_text("mine\n")


def empty(path: Path) -> None:
    path.touch()


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def of_another_bundle(path: Path) -> None:
    other = path.parent / "other" / "edge-v1.35.0-k3s1-arm64"
    other.mkdir(parents=True)
    (other / "SHA256SUMS").touch()
    archive = write_archive(other, frozenset(), Silent(), replace=False)
    archive.with_name(archive.name + path.name.removeprefix(f"{NAME}.tar")).rename(path)


@pytest.mark.parametrize("suffix", [".tar", ".tar.sha256"])
@pytest.mark.parametrize("foreign", [folder, text, empty, dangling, of_another_bundle])
def test_what_is_no_archive_of_the_bundle_is_never_replaced(
    foreign: Callable[[Path], None], suffix: str, tmp_path: Path
) -> None:
    bundle = bundle_in(tmp_path)
    there = tmp_path / f"{NAME}{suffix}"
    foreign(there)
    before = sorted((path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in tmp_path.rglob("*"))
    with pytest.raises(OutputExistsError) as raised:
        write_archive(bundle, PRIVATE, Silent(), replace=True)
    assert raised.value.what == f"{there} is there and was not made of {NAME}"
    assert raised.value.hint == "move it away, or give another --output"
    assert sorted((path, path.lstat().st_mtime_ns, path.lstat().st_ino) for path in tmp_path.rglob("*")) == before
