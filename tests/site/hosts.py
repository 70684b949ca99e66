"""Throw-away hosts with a real init system and no network: systemd under systemd-nspawn, OpenRC in plain namespaces.

Each lies on an overlay over a cached base image, so that a test starts clean and leaves nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.site.bundles import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "k3s-bundler-tests" / "site"
STANDIN = Path(__file__).parent / "standin"
PACKAGES = {
    "systemd": "systemd,systemd-sysv,dbus,iproute2,procps,kmod,iptables,containerd,runc",
    "openrc": "openrc,sysvinit-core,procps,iproute2,busybox-static,containerd,runc",
}
HOST_PACKAGES = ("mmdebstrap", "systemd-container", "busybox-static", "gcc", "libc6-dev")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OPENRC_BOOT = """
R=$1
mount -t proc proc "$R/proc"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for d in null zero full random urandom tty; do touch "$R/dev/$d"; mount --bind "/dev/$d" "$R/dev/$d"; done
ln -s /proc/self/fd "$R/dev/fd"
touch "$R/dev/console"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
cd "$R" && mkdir -p .old && pivot_root . .old && umount -l /.old
hostname "$2" && ip link set lo up
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lxc RC_SYS=LXC /sbin/openrc-init
"""


def base_image(kind: str) -> Path:
    """Return the cached base image `kind`, made with mmdebstrap when it is not there yet (about a minute)."""
    base = CACHE / kind
    if not (base / "opt/standin/bin/ctr").exists():
        if not base.exists():
            making = base.with_suffix(".new")
            subprocess.run(["rm", "-rf", making], check=True)
            sources = [path for path in [Path("/etc/apt/sources.list.d/debian.sources")] if path.exists()]
            CACHE.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [
                    "mmdebstrap",
                    "--quiet",
                    "--variant=minbase",
                    f"--include={PACKAGES[kind]}",
                    "bookworm",
                    making,
                    *sources,
                ],
                check=True,
                timeout=550,
            )
            making.rename(base)
        # Off PATH, as k3s keeps its own: else every preflight would find another containerd.
        (base / "opt/standin/bin").mkdir(parents=True, exist_ok=True)
        for name in ("containerd", "containerd-shim-runc-v2", "runc", "ctr"):
            places = (base / "usr/bin" / name, base / "usr/sbin" / name)
            found = next(path for path in places if path.is_file() and not path.is_symlink())
            found.rename(base / "opt/standin/bin" / name)
        (base / "etc/hostname").unlink(missing_ok=True)
        if kind == "openrc":
            with (base / "etc/rc.conf").open("a") as conf:
                conf.write('\nrc_sys="lxc"\n')
        for wants in (base / "etc/systemd/system").rglob("containerd.service"):
            wants.unlink()
    return base


class Host:
    """A running host; `run` runs a command in it."""

    kind = ""

    def __init__(self, directory: Path, *, route: bool = True, options: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.name = f"kb{os.getpid()}{directory.name}"[:40]
        self.root = directory / "root"
        self.route = route
        self.options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.init = 0

    def __enter__(self) -> Self:
        for name in ("rw", "root"):
            (self.directory / name).mkdir(parents=True)
        writable = self.directory / "rw"
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=755", "tmpfs", writable], check=True)
        (writable / "up").mkdir()
        (writable / "work").mkdir()
        layers = f"lowerdir={base_image(self.kind)},upperdir={writable}/up,workdir={writable}/work"
        try:
            subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, self.root], check=True)
            (self.root / "opt/standin").mkdir(parents=True, exist_ok=True)
            shutil.copy(STANDIN / "start.sh", self.root / "opt/standin/start.sh")
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.halt()
        for name in ("root", "rw"):
            subprocess.run(["umount", "-l", self.directory / name], check=False)

    def boot(self) -> None:
        """Boot on the disk as it is now; returns when the init system has come up."""
        with (self.directory / "console").open("ab") as console:
            self._process = subprocess.Popen(
                self.boot_command(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        # The first child may be gone again before the init system is there.
        self.wait(lambda: self._find_init() and self.is_up(), 60)
        if self.route:
            # Not every kernel has dummy interfaces; the default route is all that k3s and its preflight ask for.
            self.check("ip", "link", "set", "lo", "up")
            self.check("ip", "route", "add", "default", "dev", "lo")

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until `condition` holds; raises TimeoutError with the end of the console."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"{condition}: {(self.directory / 'console').read_text()[-2000:]}")
            time.sleep(0.1)

    def _find_init(self) -> bool:
        assert self._process
        listing = subprocess.run(["pgrep", "-P", str(self._process.pid)], capture_output=True, text=True, check=False)
        self.init = int((listing.stdout.split() or ["0"])[0])
        return self.init != 0

    def halt(self, *, crash: bool = False) -> None:
        """End the host: cleanly, or by killing every process in it at once."""
        if self._process is None:
            return
        if crash or not self.halt_cleanly():
            with contextlib.suppress(ProcessLookupError):
                if self.init:
                    os.kill(self.init, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(3)
            self._process.kill()
        self._process.wait()
        self._process = None

    def run(self, *command: str, environment: dict[str, str] | None = None, timeout: float = 120) -> Outcome:
        """Run `command` in the host with a clean environment."""
        given = {"PATH": PATH, "HOME": "/root", "TERM": "dumb", **(environment or {})}
        done = subprocess.run(
            [*self.enter_command(), "env", "-i", *(f"{key}={value}" for key, value in given.items()), *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def check(self, *command: str) -> str:
        """Run `command`, which must succeed; returns what it printed."""
        done = self.run(*command)
        assert done.status == 0, (command, done)
        return done.out.strip()

    def put(self, bundle: Path, name: str = "stick") -> str:
        """Copy a bundle into the host; returns the path of its installer."""
        shutil.copytree(bundle, self.root / name)
        return f"/{name}/install.sh"

    def boot_command(self) -> list[str]:
        raise NotImplementedError

    def enter_command(self) -> list[str]:
        raise NotImplementedError

    def is_up(self) -> bool:
        raise NotImplementedError

    def halt_cleanly(self) -> bool:
        """Ask for a clean halt; returns whether it came."""
        return False


class SystemdHost(Host):
    """A host whose PID 1 is systemd."""

    kind = "systemd"

    def boot_command(self) -> list[str]:
        return [
            "systemd-nspawn", "-q", "-D", str(self.root), "-M", self.name, "--private-network", "--register=no",
            "--keep-unit", "--console=read-only", *self.options, "--boot",
        ]  # fmt: skip

    def enter_command(self) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w"]

    def is_up(self) -> bool:
        done = self.run("systemctl", "is-system-running")
        return done.out.strip() in {"running", "degraded"}

    def halt_cleanly(self) -> bool:
        assert self._process
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            return False
        return True


class OpenRCHost(Host):
    """A host whose PID 1 is openrc-init."""

    kind = "openrc"

    def boot_command(self) -> list[str]:
        return [
            "unshare", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "--cgroup", "--propagation", "private",
            "sh", "-c", OPENRC_BOOT, "sh", str(self.root), self.name,
        ]  # fmt: skip

    def enter_command(self) -> list[str]:
        return ["nsenter", "-t", str(self.init), "-a"]

    def is_up(self) -> bool:
        return self.run("rc-status", "-r").out.strip() == "default"


def cgroup_directories() -> set[str]:
    """Return the cgroups of the machine, to see what a host left."""
    return {folder for folder, _, _ in os.walk("/sys/fs/cgroup")}


@contextlib.contextmanager
def cgroups_as_before() -> Iterator[None]:
    """Remove the empty cgroups that hosts made in the machine's own tree."""
    before = cgroup_directories()
    try:
        yield
    finally:
        for folder in sorted(cgroup_directories() - before, key=len, reverse=True):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
