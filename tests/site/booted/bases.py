"""Root file systems the hosts boot from: made once with mmdebstrap, kept unpacked in the cache, never written to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

Init = Literal["systemd", "openrc"]

STANDIN_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "zstd")
"""What the stand-in starts. It lies off PATH: a host that has a containerd of its own is another case."""

_VERSION = "3"  # raise it when anything below changes
_PACKAGES: dict[Init, tuple[str, ...]] = {
    "systemd": ("systemd", "systemd-sysv", "dbus", "rpm", "sudo"),
    "openrc": ("openrc", "sysvinit-core"),
}
_EVERYWHERE = ("procps", "iproute2", "iptables", "kmod", "containerd", "runc", "zstd", "busybox-static")
_MACHINE_SOURCES = Path("/etc/apt/sources.list.d/debian.sources")


class BaseUnavailableError(Exception):
    """The root file system cannot be made here; the message says why."""


def base(init: Init) -> Path:
    """Return a Debian root file system with `init` in it; raises BaseUnavailableError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3s-bundler-tests" / "hosts"
    ready = cache / f"{init}-{_VERSION}"
    if not ready.is_dir():
        made = cache / f"{init}-{_VERSION}.{os.getpid()}"
        cache.mkdir(parents=True, exist_ok=True)
        try:
            _debootstrap(init, made)
            _prepare(init, made)
            made.rename(ready)
        except OSError:
            if not ready.is_dir():  # another run was faster
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return ready


def _debootstrap(init: Init, directory: Path) -> None:
    sources = [str(_MACHINE_SOURCES)] if _MACHINE_SOURCES.is_file() else []
    include = ",".join((*_PACKAGES[init], *_EVERYWHERE))
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={include}", "bookworm", str(directory), *sources],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise BaseUnavailableError(f"mmdebstrap ended with {done.returncode}: {done.stderr[-500:]}")


def _prepare(init: Init, root: Path) -> None:
    kept = root / "opt/standin/bin"
    kept.mkdir(parents=True)
    for name in STANDIN_PROGRAMS:
        places = [root / place / name for place in ("usr/sbin", "usr/bin")]
        next(place for place in places if place.is_file() and not place.is_symlink()).rename(kept / name)
        for link in places:
            link.unlink(missing_ok=True)
    for left in ("containerd-shim", "containerd-shim-runc-v1"):
        (root / "usr/bin" / left).unlink(missing_ok=True)
    for unit in root.glob("lib/systemd/system/containerd.service"):
        unit.unlink()
    shutil.rmtree(root / "etc/containerd", ignore_errors=True)
    for link in root.glob("etc/systemd/system/*/containerd.service"):
        link.unlink()
    for script in root.glob("etc/init.d/containerd"):
        script.unlink()
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    if init == "openrc":
        with (root / "etc/rc.conf").open("a") as conf:
            conf.write('\nrc_sys="lxc"\n')
