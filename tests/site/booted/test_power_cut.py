"""After a power cut the old install works or the new one is complete, and the next run finishes the job."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.real.packages import PackagesUnavailableError, install
from tests.site.booted.conftest import unavailable
from tests.site.booted.power import NoKernelError, make_disk, mounted, run_until
from tests.site.bundles import BundleSpec, build_bundle

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "v1.34.1+k3s1", "v1.35.0+k3s1"


@pytest.fixture(scope="session")
def power_packages() -> None:
    if os.geteuid() != 0:
        unavailable("disk images are mounted by root only")
    try:
        install(("busybox-static", "cpio", "e2fsprogs", "kmod", "qemu-system-x86"), print)
    except PackagesUnavailableError as error:
        unavailable(str(error))


@pytest.fixture
def disk(power_packages: None, tmp_path: Path) -> Path:
    """Hold two bundles, and a root into which the old one is installed."""
    image = tmp_path / "disk"
    make_disk(image, 64)
    with mounted(image) as point:
        for release in (OLD, NEW):
            archives = {"k3s-airgap-images": f"images of {release}\n".encode() * 100_000}
            build_bundle(point / release, BundleSpec(release=release, archives=archives))
        (point / "root").mkdir()
        finish(point, OLD)
    return image


def finish(point: Path, release: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = command(point, release, "--init", "systemd", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def command(point: Path, release: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = ["sh", str(point / release / "install.sh"), "--root", str(point / "root"), *arguments]
    return subprocess.run(words, env={**os.environ, "ARCH": "amd64"}, capture_output=True, text=True, check=False)


def cut(disk: Path, work: Path, script: str, marker: str, delay: float = 0) -> None:
    with mounted(disk) as point:
        (point / "run").write_text(script)
    try:
        run_until(disk, work, marker, delay)
    except NoKernelError as error:
        unavailable(str(error))


def upgrade_script() -> str:
    return f"ARCH=amd64 sh '/disk/{NEW}/install.sh' --root /disk/root --init systemd\n"


def content(point: Path) -> dict[str, bytes]:
    root = point / "root"
    places = ("usr", "etc", "var/lib/rancher")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for place in places
        for path in (root / place).rglob("*")
        if path.is_file()
    }


def whole(point: Path, release: str) -> bool:
    """Say whether everything is there as the receipt of `release` has it."""
    status = command(point, release, "--status")
    return status.returncode == 0 and release in status.stdout


def test_a_rename_without_sync_is_lost_here(disk: Path, tmp_path: Path) -> None:
    """Shows that the next tests can fail at all."""
    script = (
        "cp /disk/root/usr/local/bin/k3s-killall.sh /disk/new; mv /disk/new /disk/renamed; echo 'cut me'; sleep 60\n"
    )
    cut(disk, tmp_path, script, "cut me\r\n")
    with mounted(disk) as point:
        assert not (point / "renamed").exists() or (point / "renamed").stat().st_size == 0


def test_what_is_reported_as_installed_is_on_the_disk(disk: Path, tmp_path: Path) -> None:
    cut(disk, tmp_path, upgrade_script() + "sleep 60\n", f"{NEW} is installed")
    with mounted(disk) as point:
        assert whole(point, NEW)
        found = content(point)
        assert found["usr/local/bin/k3s"] == (point / NEW / "bin/k3s-amd64").read_bytes()


@pytest.mark.parametrize(
    ("marker", "delay"),
    [("Copying", 0), ("Copying", 0.3), ("Switching", 0), ("Switching", 0.2), ("Switching", 0.5), ("Switching", 1)],
)
def test_a_cut_in_the_middle_leaves_old_or_new_and_the_next_run_finishes(
    disk: Path, tmp_path: Path, marker: str, delay: float
) -> None:
    with mounted(disk) as point:
        old = content(point)
    cut(disk, tmp_path, upgrade_script() + "sleep 60\n", marker, delay)
    with mounted(disk) as point:
        found = content(point)
        targets = {path: data for path, data in found.items() if not path.endswith("-new")}
        assert [path for path, data in targets.items() if not data and old[path]] == []
        assert targets["usr/local/bin/k3s"] in {
            (point / release / "bin/k3s-amd64").read_bytes() for release in (OLD, NEW)
        }
        finish(point, NEW)
        assert whole(point, NEW)
        assert not [path for path in content(point) if path.endswith("-new")]
        finish(point, NEW, "--rollback")
        assert content(point) == old
