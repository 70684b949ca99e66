"""`verify` finds whatever happened to a bundle on the way."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from bundler.errors import BundleDamagedError
from bundler.progress import Silent
from bundler.stages.verify import verify as verify_here
from tests.build.conftest import command_for
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.command import CommandLine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, Path]:
    """A whole bundle of two architectures; tests work on copies."""
    with Upstream() as upstream:
        command = command_for(tmp_path_factory.mktemp("made") / "builder", upstream)
        bundle = command.build(command.recipe(arch="amd64, arm64", extra="docker.io/example/hello:1.0"))
    return command, bundle


@pytest.fixture
def copy(made: tuple[CommandLine, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "stick")


def verify(made: tuple[CommandLine, Path], bundle: Path) -> subprocess.CompletedProcess[str]:
    return made[0].run("verify", bundle)


def damaged(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 4, done.stderr
    assert "error[bundle-damaged]" in done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def sum_again(bundle: Path) -> None:
    """Write SHA256SUMS as somebody would who covers up a damage."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(bundle).as_posix()}\n"
        for path in sorted(bundle.rglob("*"), key=lambda path: path.relative_to(bundle).as_posix())
        if path.is_file() and path.name != "SHA256SUMS"
    ]
    (bundle / "SHA256SUMS").write_text("".join(lines))


def test_a_whole_bundle_is_whole_also_for_sha256sum(made: tuple[CommandLine, Path], copy: Path) -> None:
    done = verify(made, copy)
    assert done.returncode == 0, done.stderr
    assert "whole" in done.stdout
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=copy, check=True, capture_output=True)


def test_any_flipped_byte_is_found_and_its_file_named(copy: Path) -> None:
    for path in sorted(copy.rglob("*")):
        if not path.is_file() or path.name in {"SHA256SUMS", "bundle.json", "lock.json"}:
            continue
        whole = path.read_bytes()
        if not whole:
            continue
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 1
        path.write_bytes(broken)
        with pytest.raises(BundleDamagedError, match=re.escape(path.relative_to(copy).as_posix())):
            verify_here(copy, 2, Silent())
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["bundle.json", "lock.json"])
def test_a_damaged_description_is_refused(made: tuple[CommandLine, Path], copy: Path, name: str) -> None:
    path = copy / name
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"v1.34.1", b"v1.34.2"))
    damaged(verify(made, copy), name)
    path.write_bytes(whole[:-20])
    done = verify(made, copy)
    assert done.returncode in {2, 6}, done.stderr
    assert name in done.stderr


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file is missing": (lambda bundle: (bundle / "etc/config.yaml").unlink(), "etc/config.yaml: missing"),
    "a file is too much": (lambda bundle: (bundle / "images/extra.tar").write_text("x"), "images/extra.tar"),
    "a file is cut short": (lambda bundle: (bundle / "install.sh").write_bytes(b"#!/bin/sh\n"), "install.sh"),
    "a link stands for a file": (
        lambda bundle: subprocess.run(["ln", "-sf", "/etc/hostname", str(bundle / "README.txt")], check=True),
        "README.txt: no regular file",
    ),
    "a link to a folder": (lambda bundle: (bundle / "more").symlink_to("/etc"), "more"),
    "two files are swapped": (
        lambda bundle: (
            (bundle / "bin/k3s-amd64").rename(bundle / "x"),
            (bundle / "bin/k3s-arm64").rename(bundle / "bin/k3s-amd64"),
            (bundle / "x").rename(bundle / "bin/k3s-arm64"),
        ),
        "bin/k3s-amd64",
    ),
    "the sums have DOS line ends": (
        lambda bundle: (bundle / "SHA256SUMS").write_bytes(
            (bundle / "SHA256SUMS").read_bytes().replace(b"\n", b"\r\n")
        ),
        "SHA256SUMS",
    ),
    "the sums lead out of the bundle": (
        lambda bundle: (bundle / "SHA256SUMS").write_text(
            (bundle / "SHA256SUMS").read_text() + f"{'0' * 64}  ../../etc/passwd\n"
        ),
        "SHA256SUMS",
    ),
    "the sums name a file twice": (
        lambda bundle: (bundle / "SHA256SUMS").write_text(
            (bundle / "SHA256SUMS").read_text() + (bundle / "SHA256SUMS").read_text().splitlines()[0] + "\n"
        ),
        "SHA256SUMS",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_happened_to_the_files_is_found(made: tuple[CommandLine, Path], copy: Path, change: str) -> None:
    happen, word = CHANGES[change]
    happen(copy)
    damaged(verify(made, copy), word)


def test_an_archive_of_the_other_architecture_is_refused_though_its_sum_is_right(
    made: tuple[CommandLine, Path], copy: Path
) -> None:
    amd64 = (copy / "images/k3s-airgap-images-amd64.tar").read_bytes()
    (copy / "images/k3s-airgap-images-arm64.tar").write_bytes(amd64)
    sum_again(copy)
    damaged(verify(made, copy), "linux/amd64, not for arm64")


def test_a_binary_of_the_other_architecture_is_refused_though_its_sum_is_right(
    made: tuple[CommandLine, Path], copy: Path
) -> None:
    shutil.copyfile(copy / "bin/k3s-amd64", copy / "bin/k3s-arm64")
    sum_again(copy)
    damaged(verify(made, copy), "bin/k3s-arm64 is no program for arm64")


def test_an_image_left_out_of_archive_and_description_is_missed(made: tuple[CommandLine, Path], copy: Path) -> None:
    described = json.loads((copy / "bundle.json").read_text())
    described["archives"] = [each for each in described["archives"] if "edge-images" not in each["path"]]
    (copy / "bundle.json").write_text(json.dumps(described))
    for archive in (copy / "images").glob("edge-images-*"):
        archive.unlink()
    facts = (copy / "bundle.facts").read_text().splitlines(keepends=True)
    (copy / "bundle.facts").write_text("".join(line for line in facts if "edge-images" not in line))
    sum_again(copy)
    damaged(verify(made, copy), "docker.io/example/hello:1.0 for arm64 is in no archive")


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_what_is_no_bundle_is_said_to_be_none(made: tuple[CommandLine, Path], tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    done = verify(made, tmp_path / place)
    assert done.returncode == 2
    assert "error[not-a-bundle]" in done.stderr
