"""Damaged bundles: refused, by name, before the first change; and the same verdict as `k3s-bundler verify`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from tests.site.bundles import Site, build_bundle, write_sums

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def files_of(bundle: Path) -> list[str]:
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def refused(site: Site, bundle: Path) -> str:
    done = site.run(bundle, "server")
    assert done.status == 4, done
    assert site.files().keys() == {"usr/lib/systemd/systemd"}
    assert not (site.root / "var").exists()
    assert site.run(bundle, "--verify").status == 4
    return done.err


@pytest.mark.parametrize("place", [0, 0.5, -1])
def test_a_flipped_bit_anywhere_in_any_file_is_refused(site: Site, tmp_path: Path, place: float) -> None:
    pristine = build_bundle(tmp_path / "pristine")
    for number, name in enumerate(files_of(pristine)):
        if name == "SHA256SUMS":
            continue
        bundle = build_bundle(tmp_path / f"flipped{number}")
        size = (bundle / name).stat().st_size
        if name == "install.sh" and place == 0:
            continue  # the shell reads it before it can check itself: `#` became `"`
        flip(bundle / name, -1 if place == -1 else int(size * place))
        if name == "install.sh":
            (bundle / name).write_bytes((pristine / name).read_bytes() + b"#")
        error = refused(site, bundle)
        assert name in error


@pytest.mark.parametrize("place", [0, 40, 64, 66, -1])
def test_a_flipped_bit_in_the_sums_is_refused(site: Site, bundle: Path, place: int) -> None:
    flip(bundle / "SHA256SUMS", place)
    refused(site, bundle)


@pytest.mark.parametrize("size", [0, 1, 7000, -1])
def test_a_truncated_archive_is_refused(site: Site, bundle: Path, size: int) -> None:
    archive = bundle / "images/k3s-airgap-images-amd64.tar"
    archive.write_bytes(archive.read_bytes()[:size])
    assert "images/k3s-airgap-images-amd64.tar" in refused(site, bundle)


def swapped(bundle: Path) -> None:
    first, second = bundle / "etc/config.yaml", bundle / "etc/registries.yaml"
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def edited(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        sums = bundle / "SHA256SUMS"
        sums.write_text("".join(line + "\n" for line in change(sums.read_text().splitlines())))

    return damage


def line_for(path: str, content: bytes = b"") -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {path}"


def linked(bundle: Path) -> None:
    (bundle / "README.txt").rename(bundle.parent / "README.txt")
    (bundle / "README.txt").symlink_to("../README.txt")


def other_format(bundle: Path) -> None:
    (bundle / "bundle.facts").write_text("format=2\n")
    write_sums(bundle)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "swapped files": swapped,
    "extra file": lambda bundle: (bundle / "images/extra.tar").write_text("x"),
    "extra hidden file": lambda bundle: (bundle / ".hidden").write_text("x"),
    "extra link": lambda bundle: (bundle / "link").symlink_to("README.txt"),
    "file as link": linked,
    "missing file": lambda bundle: (bundle / "lock.json").unlink(),
    "missing sums": lambda bundle: (bundle / "SHA256SUMS").unlink(),
    "empty sums": lambda bundle: (bundle / "SHA256SUMS").write_text(""),
    "missing facts": lambda bundle: (bundle / "bundle.facts").unlink(),
    "CRLF": lambda bundle: (bundle / "SHA256SUMS").write_bytes(
        (bundle / "SHA256SUMS").read_bytes().replace(b"\n", b"\r\n")
    ),
    "one blank": edited(lambda lines: [line.replace("  ", " ") for line in lines]),
    "binary mark": edited(lambda lines: [line.replace("  ", " *") for line in lines]),
    "upper case": edited(lambda lines: [line[:64].upper() + line[64:] for line in lines]),
    "missing entry": edited(lambda lines: lines[1:]),
    "missing installer entry": edited(lambda lines: [line for line in lines if "install.sh" not in line]),
    "extra entry": edited(lambda lines: [*lines, line_for("zzz")]),
    "twice": edited(lambda lines: [*lines, lines[-1]]),
    "unsorted": edited(lambda lines: lines[::-1]),
    "absolute path": edited(lambda lines: [line_for("/etc/hostname"), *lines]),
    "path upwards": edited(lambda lines: [line_for("../x"), *lines]),
    "path with dot": edited(lambda lines: [line_for("./x"), *lines]),
    "empty line": edited(lambda lines: [*lines[:2], "", *lines[2:]]),
    "comment": edited(lambda lines: ["# sums", *lines]),
    "sums of itself": edited(lambda lines: sorted([*lines, line_for("SHA256SUMS")], key=lambda line: line[66:])),
    "other format": other_format,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_bundle_is_refused_before_the_first_change(site: Site, bundle: Path, name: str) -> None:
    DAMAGES[name](bundle)
    refused(site, bundle)


def test_a_file_swapped_after_the_check_is_noticed_in_the_copy(site: Site, bundle: Path) -> None:
    real = (site.path / "cp").readlink()
    (site.path / "cp").unlink()
    (site.path / "cp").write_text(f'#!/bin/sh\necho tampered >"{bundle}/bin/k3s-amd64"\nexec {real} "$@"\n')
    (site.path / "cp").chmod(0o755)
    done = site.run(bundle, "server")
    assert (done.status, "error[copy-differs]" in done.err) == (4, True), done
    assert not (site.root / "usr/local").exists()
