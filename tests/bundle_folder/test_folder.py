"""A bundle's folder is there whole or not at all, whatever happens to those who make it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import HostError, OutputExistsError
from bundler.site.folder import SUMS, BundleFolder, new_bundle, require_free
from tests.store.children import AS_NOBODY
from tests.upstream.conftest import absent

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {"install.sh": b"#!/bin/sh\n", "images/a.tar": bytes(5000), "etc/config.yaml": b"", "bin/k3s-arm64": b"\x7fELF"}

PREAMBLE = """
import os, resource, sys, time
from pathlib import Path
from bundler.errors import BundlerError, host_error
from bundler.site.folder import new_bundle
target = Path(sys.argv[1])
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREAMBLE + textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(child: subprocess.Popen[str]) -> str:
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 0, output
    return output.strip()


def fill(bundle: BundleFolder) -> None:
    for path, data in FILES.items():
        bundle.write(path, data)
    bundle.write_sums()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "dist" / "k3s-v1.34.1-k3s1-arm64"


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_every_file_is_there_with_its_sum(target: Path) -> None:
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
        assert not target.exists()
    found = content(target)
    sums = found.pop(SUMS).decode()
    assert found == FILES
    assert sums == "".join(f"{hashlib.sha256(FILES[path]).hexdigest()}  {path}\n" for path in sorted(FILES))
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("program", ["sha256sum", "busybox sha256sum"])
def test_the_sums_are_what_the_shell_checks(program: str, target: Path) -> None:
    if not shutil.which(program.split(maxsplit=1)[0]):
        absent(program, "that it checks a bundle")
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    check = [*program.split(), "-c", SUMS]
    subprocess.run(check, cwd=target, check=True, capture_output=True)
    (target / "images" / "a.tar").write_bytes(bytes(4999) + b"x")
    assert subprocess.run(check, cwd=target, check=False, capture_output=True).returncode == 1


def test_modes_are_the_same_under_every_umask(target: Path, umask: None) -> None:
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    for path in (target, *target.rglob("*")):
        assert path.stat().st_mode & 0o7777 == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_build_that_fails_leaves_nothing(failure: type[BaseException], target: Path) -> None:
    def fail() -> None:
        with new_bundle(target, replace=False) as bundle:
            fill(bundle)
            raise failure

    with pytest.raises(failure):
        fail()
    assert list(target.parent.iterdir()) == []


def test_what_is_there_is_not_touched_unless_it_may_be_replaced(target: Path) -> None:
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    before = content(target)
    with pytest.raises(OutputExistsError, match=str(target)), new_bundle(target, replace=False):
        pass
    with pytest.raises(OutputExistsError):
        require_free(target, replace=False)
    assert content(target) == before
    with new_bundle(target, replace=True) as bundle:
        bundle.write("README.txt", b"new")
        assert content(target) == before
    assert content(target) == {"README.txt": b"new"}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_is_no_bundle_is_never_replaced(target: Path, *, is_folder: bool) -> None:
    mine = target / "mine" if is_folder else target
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("precious")
    for replace in (False, True):
        with pytest.raises(OutputExistsError, match="is no bundle"), new_bundle(target, replace=replace):
            pass
    assert mine.read_text() == "precious"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_replacement_that_fails_leaves_the_old_bundle(target: Path) -> None:
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    before = content(target)

    def fail() -> None:
        with new_bundle(target, replace=True) as bundle:
            bundle.write("README.txt", b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert content(target) == before
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_no_file_is_written_twice(target: Path) -> None:
    with new_bundle(target, replace=False) as bundle:
        bundle.write("README.txt", b"one")
        with pytest.raises(HostError, match=r"README\.txt"):
            bundle.write("README.txt", b"two")


def test_a_killed_build_leaves_no_bundle_and_does_not_stand_in_the_way(target: Path) -> None:
    script = """
    with new_bundle(target, replace=False) as bundle:
        bundle.write("images/left.tar", bytes(100000))
        with bundle.open("images/half.tar") as file:
            file.write(bytes(100000))
            print("half", flush=True)
            sys.stdin.read()
    """
    with start(script, target) as child:
        assert child.stdout
        assert child.stdout.readline() == "half\n"
        with (
            pytest.raises(OutputExistsError, match="another build is making"),
            new_bundle(target, replace=True),
        ):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not target.exists()
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    assert content(target).keys() == {*FILES, SUMS}
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_a_build_killed_at_any_moment_leaves_a_whole_bundle_or_none(target: Path) -> None:
    script = """
    print("go", flush=True)
    for number in range(100000):
        with new_bundle(target, replace=True) as bundle:
            for name in "abcdef":
                bundle.write(f"images/{name}.tar", b"%d" % number)
            bundle.write_sums()
    """
    seen = 0
    for delay in (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09, 0.3):
        with start(script, target) as child:
            assert child.stdout
            child.stdout.readline()
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.wait()
        if target.exists():
            seen += 1
            found = content(target)
            assert len(found) == 7
            assert len({data for name, data in found.items() if name != SUMS}) == 1
    assert seen
    with new_bundle(target, replace=True) as bundle:
        fill(bundle)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("replace", [False, True])
def test_of_many_builds_at_once_each_is_whole_or_refused(target: Path, *, replace: bool) -> None:
    script = """
    replace, began = sys.argv[2] == "True", float(sys.argv[3])
    made = 0
    for number in range(150):
        while not replace and time.time() < began + number * 0.008:  # all of them at the same moment
            time.sleep(0.0002)
        try:
            with new_bundle(target.with_name(f"{target.name}-{0 if replace else number}"), replace=replace) as bundle:
                for name in "abc":
                    bundle.write(name, b"%d" % os.getpid())
                bundle.write_sums()
            made += 1
        except BundlerError as error:
            assert error.name == "output-exists", error
    print(made)
    """
    began = time.time() + 0.5
    made = [int(finish(child)) for child in [start(script, target, replace, began) for _ in range(3)]]
    folders = list(target.parent.iterdir())
    if replace:
        assert [folder.name for folder in folders] == [f"{target.name}-0"]
    else:
        assert sum(made) == len(folders) == 150
    for folder in folders:
        found = content(folder)
        assert found.keys() == {"a", "b", "c", SUMS}
        assert len({data for name, data in found.items() if name != SUMS}) == 1


def test_every_file_is_on_the_disk_before_the_bundle_has_its_name(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, early = os.fsync, set()

    def noting(descriptor: int) -> None:
        sync(descriptor)
        if not target.exists():
            early.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noting)
    with new_bundle(target, replace=False) as bundle:
        fill(bundle)
    made = {path.stat().st_ino for path in target.rglob("*")}
    assert len(made) > len(FILES)
    assert made <= early


def test_bytes_that_do_not_reach_the_disk_are_no_bundle(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def failing(descriptor: int) -> None:
        if os.fstat(descriptor).st_size == len(FILES["images/a.tar"]):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(HostError, match=r"images/a\.tar"), new_bundle(target, replace=False) as bundle:
        fill(bundle)
    assert list(target.parent.iterdir()) == []


def test_a_full_disk_is_an_error_that_says_so_and_leaves_nothing(target: Path) -> None:
    script = """
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        with new_bundle(target, replace=False) as bundle:
            bundle.write("small", b"small")
            with bundle.open("images/big.tar") as file:
                for _ in range(100):
                    file.write(bytes(10_000))
    except BundlerError as error:
        print(error.name, "images/big.tar" in error.what)
    """
    assert finish(start(script, target)) == "disk-full True"
    assert list(target.parent.iterdir()) == []


def test_a_folder_of_another_user_is_an_error_that_names_it() -> None:
    script = """
try:
    with new_bundle(target, replace=False) as bundle:
        bundle.write("small", b"small")
except BundlerError as error:
    print(error.name, str(target.parent) in error.what)
"""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        assert finish(start(AS_NOBODY + script, Path(name) / "k3s")) == "not-writable True"
        Path(name).chmod(0o755)
