"""The installer on a machine of another architecture, and binaries of the wrong one, with binfmt_misc on and off."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.real.busybox import busybox_programs
from tests.real.packages import PackagesUnavailableError, program
from tests.site.bundles import BundleSpec, build_bundle, elf_stub, make_root
from tests.site.conftest import require, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.site

BINFMT = Path("/proc/sys/fs/binfmt_misc")


@contextlib.contextmanager
def binfmt(*, on: bool) -> Iterator[None]:
    """Have arm64 programs run by qemu, or by nothing; puts back what was there."""
    mounted = (BINFMT / "register").exists()
    if not mounted:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    entry = BINFMT / "qemu-aarch64"
    had = entry.exists()
    try:
        if on and not had:
            (BINFMT / "register").write_bytes(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes())
        if not on and had:
            entry.write_text("-1")
        yield
    finally:
        if on and not had:
            entry.write_text("-1")
        if not on and had:
            (BINFMT / "register").write_bytes(Path("/usr/lib/binfmt.d/qemu-aarch64.conf").read_bytes())
        if not mounted:
            subprocess.run(["umount", BINFMT], check=True)


@pytest.fixture
def arm_root(tmp_path: Path) -> Path:
    """Make a root with nothing but Debian's arm64 busybox."""
    require("qemu-user-static", root=True)
    try:
        busybox = busybox_programs()["arm64"]
    except PackagesUnavailableError as error:
        unavailable(str(error))
    root = make_root(tmp_path / "arm")
    (root / "bin").mkdir()
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    return root


def in_chroot(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("chroot"), root, *command],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/bin"},
        timeout=120,
    )


def test_an_arm64_host_installs_the_arm64_files_and_refuses_an_amd64_bundle(arm_root: Path) -> None:
    build_bundle(arm_root / "both", BundleSpec(archs=("amd64", "arm64")))
    build_bundle(arm_root / "amd64", BundleSpec(archs=("amd64",)))
    with binfmt(on=True):
        in_chroot(arm_root, "/bin/busybox", "--install", "-s", "/bin")
        assert in_chroot(arm_root, "/bin/uname", "-m").stdout.strip() == "aarch64"
        refused = in_chroot(arm_root, "/bin/sh", "/amd64/install.sh", "--root", "/", "server")
        assert (refused.returncode, "error[arch-absent]" in refused.stderr) == (5, True), refused
        done = in_chroot(arm_root, "/bin/sh", "/both/install.sh", "--root", "/", "server")
        assert done.returncode == 0, done
    assert (arm_root / "usr/local/bin/k3s").read_bytes() == (arm_root / "both/bin/k3s-arm64").read_bytes()
    images = arm_root / "var/lib/rancher/k3s/agent/images"
    assert [path.name for path in images.iterdir()] == ["k3s-airgap-images-arm64.tar"]


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("real", [True, False])
def test_a_binary_of_another_architecture_is_refused_whether_or_not_it_would_run(
    arm_root: Path, tmp_path: Path, *, on: bool, real: bool
) -> None:
    arm_program = (arm_root / "bin/busybox").read_bytes() if real else elf_stub("arm64")
    bundle = build_bundle(tmp_path / "bundle", BundleSpec(binaries={"amd64": arm_program}))
    root = make_root(tmp_path / "root")
    with binfmt(on=on):
        runs = subprocess.run(["sh", "-c", f"{arm_root}/bin/busybox true"], check=False, capture_output=True)
        assert (runs.returncode == 0) == on
        for shell in (["dash"], ["busybox", "sh"]):
            done = subprocess.run(
                [*shell, bundle / "install.sh", "--root", root], capture_output=True, text=True, check=False
            )
            assert (done.returncode, "error[binary-architecture]" in done.stderr) == (5, True), done
    assert not (root / "usr/local").exists()
