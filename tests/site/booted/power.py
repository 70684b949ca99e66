"""A machine whose power can be cut: qemu without KVM, a kernel, an initramfs with busybox, and one ext4 disk.

The guest runs a script from the disk and is killed when it prints a marker. What it had not brought to the disk by then
is gone, as after a power cut: the host's page cache holds only what the guest's kernel wrote to its drive.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-bundler-tests" / "kernel"
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /disk /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
while [ ! -b /dev/vda ]; do sleep 0.1; done
mount -t ext4 /dev/vda /disk
PATH=/bin sh /disk/run
echo "the script ended with $?"
sync
poweroff -f
"""


class NoKernelError(Exception):
    """A kernel for the guest cannot be had here."""


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Mount a disk image on this machine, replaying its journal as the next boot would."""
    point = disk.with_suffix(".mount")
    point.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", str(disk), str(point)], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)
        _await_release(disk)


def _await_release(disk: Path) -> None:
    """Wait until no mount namespace made meanwhile holds the disk: only then everything is in the image."""
    deadline = time.monotonic() + 60
    while subprocess.run(["losetup", "-j", str(disk)], capture_output=True, check=True).stdout:
        assert time.monotonic() < deadline, f"{disk} is still mounted somewhere"
        time.sleep(0.1)


def make_disk(path: Path, megabytes: int) -> None:
    """Make an empty ext4 disk image."""
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)


def run_until(disk: Path, work: Path, marker: str, delay: float = 0, seconds: float = 120) -> str:
    """Boot, run `/run` of the disk, cut the power `delay` seconds after it printed `marker`; return what it said.

    A guest that ends without the marker, or never prints it, is an AssertionError.
    """
    kernel, modules = _kernel()
    initramfs = work / "initramfs"
    if not initramfs.exists():
        _write_initramfs(initramfs, modules, work / "initramfs.d")
    with subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", "512", "-nographic", "-no-reboot", "-net", "none",
         "-drive", f"file={disk},format=raw,if=virtio", "-kernel", str(kernel), "-initrd", str(initramfs),
         "-append", "console=ttyS0 quiet mitigations=off panic=-1"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as machine:  # fmt: skip
        try:
            said = _read_until(machine, marker, time.monotonic() + seconds)
            time.sleep(delay)
        finally:
            machine.kill()
    return said


def _read_until(machine: subprocess.Popen[bytes], marker: str, deadline: float) -> str:
    assert machine.stdout
    said = ""
    while marker not in said:
        ready, _, _ = select.select([machine.stdout], [], [], max(0, deadline - time.monotonic()))
        part = os.read(machine.stdout.fileno(), 65536) if ready else b""
        assert part, f"the guest never printed {marker!r}: {said[-2000:]}"
        said += part.decode(errors="replace")
    return said


def _kernel() -> tuple[Path, Path]:
    """Return a kernel image and its modules: Debian's for cloud machines, unpacked into the cache, not installed."""
    for boot in (Path("/boot"), _CACHE / "boot"):
        for kernel in sorted(boot.glob("vmlinuz-*-cloud-amd64")):
            release = kernel.name.removeprefix("vmlinuz-")
            for root in (Path("/"), _CACHE):
                if (root / "lib/modules" / release).is_dir():
                    return kernel, root / "lib/modules" / release
    _fetch_kernel()
    kernel = next((_CACHE / "boot").glob("vmlinuz-*"))
    return kernel, _CACHE / "lib/modules" / kernel.name.removeprefix("vmlinuz-")


def _fetch_kernel() -> None:
    _CACHE.mkdir(parents=True, exist_ok=True)
    asked = subprocess.run(
        ["apt-cache", "depends", "linux-image-cloud-amd64"], capture_output=True, text=True, check=False
    )
    found = re.search(r"Depends: (linux-image-\S+)", asked.stdout)
    if not found:
        raise NoKernelError(f"apt knows no linux-image-cloud-amd64: {asked.stderr}")
    done = subprocess.run(["apt-get", "download", found[1]], cwd=_CACHE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoKernelError(f"apt-get download {found[1]} failed: {done.stderr[-500:]}")
    package = next(_CACHE.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(package), str(_CACHE)], check=True)
    subprocess.run(["depmod", "-b", str(_CACHE), next((_CACHE / "lib/modules").iterdir()).name], check=True)
    package.unlink()


def _write_initramfs(target: Path, modules: Path, tree: Path) -> None:
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    shutil.copy(shutil.which("busybox") or "/bin/busybox", tree / "bin/busybox")
    order: list[str] = []
    for name in _MODULES:
        asked = subprocess.run(
            ["modprobe", "-d", str(modules.parents[2]), "-S", modules.name, "--show-depends", name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        for line in asked.stdout.splitlines():
            file = Path(line.split()[1]) if line.startswith("insmod") else None
            if file and file.name not in order:
                order.append(file.name)
                shutil.copy(file, tree / "modules")
    (tree / "modules/order").write_text("\n".join(order))
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with target.open("wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names.encode(), stdout=out, check=True)
