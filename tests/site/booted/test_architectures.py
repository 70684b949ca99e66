"""Another architecture: arm64 under qemu-user, and binaries of the wrong one with and without binfmt_misc."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.busybox import busybox_programs
from tests.real.packages import PackagesUnavailableError, install
from tests.site.booted.conftest import OLD, unavailable
from tests.site.booted.standin import standin
from tests.site.bundles import BundleSpec, build_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = (
    "busybox-static", "gcc", "libc6-dev", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static",
)  # fmt: skip
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = BINFMT / "qemu-aarch64"
LOCK = Path("/run/lock/k3s-bundler-binfmt.lock")
RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")


@pytest.fixture(scope="module")
def arm64_packages() -> None:
    if os.geteuid() != 0:
        unavailable("a chroot is entered by root only")
    try:
        install(PACKAGES, print)
    except PackagesUnavailableError as error:
        unavailable(str(error))


@contextmanager
def binfmt(*, on: bool) -> Iterator[None]:
    """Let this machine run arm64 programs or not, one test at a time, and put it back as it was."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield from _binfmt(on=on)


def _binfmt(*, on: bool) -> Iterator[None]:
    mounted = (BINFMT / "register").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=True)
    was_on = ENTRY.exists()
    try:
        set_binfmt(on=on)
        yield
    finally:
        set_binfmt(on=was_on)
        if not mounted:
            subprocess.run(["umount", str(BINFMT)], check=True)


def set_binfmt(*, on: bool) -> None:
    if on and not ENTRY.exists():
        (BINFMT / "register").write_bytes(RULE.read_bytes().strip())
    elif not on and ENTRY.exists():
        ENTRY.write_text("-1")


@pytest.fixture
def arm64_root(arm64_packages: None, tmp_path: Path) -> Path:
    """Hold nothing but an arm64 busybox, with two bundles on a stick."""
    root = tmp_path / "arm64"
    for folder in ("bin", "dev", "proc", "stick"):
        (root / folder).mkdir(parents=True)
    busybox = busybox_programs()["arm64"]
    shutil.copy(busybox, root / "bin/busybox")
    listed = subprocess.run(
        [shutil.which("busybox") or "busybox", "--list"], capture_output=True, text=True, check=True
    )
    for applet in listed.stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    binaries = {arch: standin(tmp_path, OLD, arch) for arch in ("amd64", "arm64")}
    build_bundle(root / "stick/both", BundleSpec(release=OLD, archs=("amd64", "arm64"), binaries=binaries))
    build_bundle(root / "stick/amd64", BundleSpec(release=OLD, binaries=binaries))
    return root


def in_chroot(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    with_mounts = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", with_mounts, str(root), *words],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_an_arm64_host_takes_the_arm64_part_of_the_bundle(arm64_root: Path) -> None:
    with binfmt(on=True):
        assert in_chroot(arm64_root, "/bin/uname", "-m").stdout.strip() == "aarch64"
        done = in_chroot(arm64_root, "/bin/sh", "/stick/both/install.sh", "--root", "/", "--init", "systemd")
        assert done.returncode == 0, done.stdout + done.stderr
        said = in_chroot(arm64_root, "/usr/local/bin/k3s", "--version").stdout
        assert said.startswith(f"k3s version {OLD} (STANDIN)")
        status = in_chroot(arm64_root, "/bin/sh", "/stick/both/install.sh", "--root", "/", "--status")
        assert (status.returncode, "arm64" in status.stdout) == (0, True), status.stdout + status.stderr
    images = arm64_root / "var/lib/rancher/k3s/agent/images"
    assert [path.name for path in images.iterdir()] == ["k3s-airgap-images-arm64.tar"]


def test_an_arm64_host_refuses_a_bundle_without_its_architecture(arm64_root: Path) -> None:
    with binfmt(on=True):
        done = in_chroot(arm64_root, "/bin/sh", "/stick/amd64/install.sh", "--root", "/", "--init", "systemd")
    assert (done.returncode, "error[arch-absent]" in done.stderr) == (5, True), done.stdout + done.stderr
    assert not (arm64_root / "usr").exists()


def test_a_chroot_without_an_init_system_is_told_what_to_do(arm64_root: Path) -> None:
    with binfmt(on=True):
        done = in_chroot(arm64_root, "/bin/sh", "/stick/both/install.sh")
    assert (done.returncode, "error[no-init-system]" in done.stderr) == (5, True), done.stdout + done.stderr
    assert "--root /" in done.stderr


@pytest.mark.parametrize("on", [False, True])
def test_a_binary_of_the_wrong_architecture_is_refused_though_it_might_run(
    arm64_packages: None, tmp_path: Path, *, on: bool
) -> None:
    foreign = standin(tmp_path, OLD, "arm64")
    bundle = build_bundle(tmp_path / "bundle", BundleSpec(release=OLD, binaries={"amd64": foreign}))
    (tmp_path / "root").mkdir()
    with binfmt(on=on):
        runs = subprocess.run(["sh", "-c", f"'{tmp_path}/k3s-{OLD}-arm64' --version"], check=False, capture_output=True)
        assert (runs.returncode == 0) is on
        done = subprocess.run(
            ["sh", str(bundle / "install.sh"), "--root", str(tmp_path / "root"), "--init", "systemd"],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "ARCH": "amd64"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "error[binary-architecture]" in done.stderr) == (5, True), done.stdout + done.stderr
    assert list((tmp_path / "root").iterdir()) == []
