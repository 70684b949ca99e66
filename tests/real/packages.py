"""Debian packages behind the real components: what is missing, and how it is installed without side effects.

`python -m tests.real.packages` installs everything the tests can use and says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAMS: dict[str, tuple[str, ...]] = {
    "docker.io": ("dockerd",),
    "containerd": ("containerd", "ctr"),
    "runc": ("runc",),
    "docker-registry": ("docker-registry",),
    "apache2-utils": ("htpasswd",),
    "nginx": ("nginx",),
    "podman": ("podman",),
    "rpm": ("rpmbuild",),
    "skopeo": ("skopeo",),
    "zstd": ("zstd",),
    "curl": ("curl",),
    "busybox-static": ("busybox",),
    "mksh": ("mksh",),
    "yash": ("yash",),
    "strace": ("strace",),
    "cpio": ("cpio",),
    "e2fsprogs": ("mkfs.ext4",),
    "etcd-client": ("etcdctl",),
    "etcd-server": ("etcd",),
    "gcc": ("gcc",),
    "gcc-aarch64-linux-gnu": ("aarch64-linux-gnu-gcc",),
    "kmod": ("modprobe",),
    "libc6-dev": ("/usr/include/stdlib.h",),
    "libc6-dev-arm64-cross": ("/usr/aarch64-linux-gnu/include/stdlib.h",),
    "mmdebstrap": ("mmdebstrap",),
    "systemd-container": ("systemd-nspawn",),
    "qemu-user-static": ("qemu-aarch64-static",),
    "qemu-system-x86": ("qemu-system-x86_64",),
}
"""Package -> the programs the tests run from it, or files they read. What is there, from wherever, needs no package."""

ROOT_ONLY = frozenset({"docker.io", "containerd", "podman", "systemd-container"})
"""Packages whose programs do for the tests what only root may: they mount, and own files as anybody."""

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
"""Servers live in sbin, which is not on the path of an ordinary user."""

_ATTEMPTS = 3
_LOCK = Path("/run/lock/k3s-bundler-tests.lock")
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_ASIDE = Path("/usr/sbin/policy-rc.d.k3s-bundler-tests")
_NO_SERVICES = (
    "#!/bin/sh\n# Written by the tests of k3s-bundler while packages are installed: start no service.\nexit 101\n"
)


class PackagesUnavailableError(Exception):
    """Programs are missing and cannot be installed here; the message says which and why."""


def program(name: str) -> str:
    """Full path of an installed program; raises PackagesUnavailableError."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise PackagesUnavailableError(f"{name} is not installed")
    return path


def missing(packages: Sequence[str]) -> tuple[str, ...]:
    """Packages of which a program is absent, in the order asked."""
    return tuple(package for package in packages if not all(_is_there(name) for name in PROGRAMS[package]))


def _is_there(name: str) -> bool:
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=SEARCH_PATH) is not None


def install(packages: Sequence[str], say: Callable[[str], None]) -> None:
    """Install what is missing of `packages`; raises PackagesUnavailableError, also when they need root to run.

    Only as root with apt-get. No service is started and no package is removed to make room.
    """
    if os.geteuid() != 0 and not ROOT_ONLY.isdisjoint(packages):
        raise PackagesUnavailableError(f"{' '.join(sorted(ROOT_ONLY.intersection(packages)))} only run as root here")
    if not missing(packages):
        return
    names = " ".join(missing(packages))
    if os.geteuid() != 0:
        raise PackagesUnavailableError(f"{names} not installed, and installing needs root")
    if shutil.which("apt-get") is None:
        raise PackagesUnavailableError(f"{names} not installed, and this is no Debian or Ubuntu (no apt-get)")
    with _one_at_a_time(), _no_services():
        absent = missing(packages)  # another run may have installed them while this one waited
        if absent:
            say(f"installing Debian packages for the tests: {' '.join(absent)}")
            _apt_install(absent)
    if missing(packages):
        raise PackagesUnavailableError(f"{' '.join(missing(packages))} installed, but a program of it is still absent")


def _apt_install(packages: Sequence[str]) -> None:
    answer = ""
    for attempt in range(_ATTEMPTS):
        if attempt:  # lists are absent on a fresh machine, outdated on an old one, and mirrors have bad moments
            time.sleep(2 * attempt)
            _apt("update")
        done = _apt("install", "-y", "--no-install-recommends", "--no-remove", *packages)
        if done.returncode == 0:
            return
        answer = done.stderr or done.stdout
    last = " | ".join(answer.strip().splitlines()[-3:])
    raise PackagesUnavailableError(f"apt-get install {' '.join(packages)} failed {_ATTEMPTS} times: {last}")


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "PATH": SEARCH_PATH},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
        check=False,
    )


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Forbid services to start (invoke-rc.d's policy-rc.d), and put the machine's own policy back afterwards."""
    if _POLICY_ASIDE.exists():  # a run was killed in the middle
        _POLICY_ASIDE.replace(_POLICY)
    elif _POLICY.exists() and _POLICY.read_bytes() == _NO_SERVICES.encode():
        _POLICY.unlink()
    had_one = _POLICY.exists()
    if had_one:
        _POLICY.rename(_POLICY_ASIDE)
    _POLICY.write_text(_NO_SERVICES)
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if had_one:
            _POLICY_ASIDE.replace(_POLICY)
        else:
            _POLICY.unlink(missing_ok=True)


if __name__ == "__main__":
    try:
        install(tuple(PROGRAMS), lambda line: print(line, file=sys.stderr))
    except PackagesUnavailableError as error:
        print(f"tests that need more than Python will be skipped: {error}", file=sys.stderr)
