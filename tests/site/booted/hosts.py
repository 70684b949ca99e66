"""Booted hosts without a network: systemd under systemd-nspawn, OpenRC under unshare. Both need root.

A host is an overlay over a base, on a tmpfs of its own, so nothing has to be undone. /var/lib/rancher is a directory of
that tmpfs (containerd cannot mount an overlay upon an overlay) and, like everything else, it outlives a reboot.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.site.booted.bases import Init

STICK = "/media/stick"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OPENRC_BOOT = Path(__file__).with_name("openrc-boot.sh")
_OWN_CGROUP = Path(__file__).with_name("own-cgroup.sh")
_BOOT_SECONDS = 180
_NETWORK = (  # k3s needs a default route; this one leads nowhere
    "ip link add site0 type veth peer name site1; ip link set site0 up; ip link set site1 up;"
    "ip address add 203.0.113.10/24 dev site0; ip route add default via 203.0.113.1"
)


_OWN_AFFAIRS = (
    "/dev", "/media", "/opt/standin/faults", "/proc", "/run", "/sys", "/tmp", "/lib/rc", "/usr/lib/rc", "/root/.",
    "/etc/.updated", "/etc/hostname", "/etc/localtime", "/etc/machine-id", "/etc/mtab", "/etc/resolv.conf",
    "/var/.updated", "/var/lib/dbus", "/var/lib/systemd", "/var/log/btmp", "/var/log/dmesg", "/var/log/journal",
    "/var/log/k3s-bundler.log", "/var/log/k3s.log", "/var/log/lastlog", "/var/log/wtmp", "/var/tmp",
)  # fmt: skip


class BootError(Exception):
    """A host did not come up; the message holds the end of its console."""


@dataclass(frozen=True)
class Outcome:
    """How a command in a host ended."""

    status: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"status {self.status}\n{self.out}\n{self.err}"


@dataclass
class Host:
    """One host; make it with `boot`."""

    init: Init
    name: str
    directory: Path
    arguments: tuple[str, ...]
    stick: Path
    base: Path
    pids: list[int] = field(default_factory=list)
    """The process that holds the host, then the host's PID 1."""

    @property
    def root(self) -> Path:
        """The host's root file system, without what is mounted in it."""
        return self.directory / "root"

    def run(self, *words: str, environment: dict[str, str] | None = None, seconds: float = 300) -> Outcome:
        """Run a command in the host, as root with a clean environment."""
        given = {"PATH": PATH, "HOME": "/root", "TERM": "dumb", **(environment or {})}
        done = subprocess.run(
            self.enter(*(f"{name}={value}" for name, value in given.items()), *words),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def enter(self, *words: str) -> list[str]:
        """Return the command line that runs `words`, variables first, inside the host."""
        namespaces = ["-m", "-p", "-n", "-i", "-u", "-C", "-r", "-w"]
        return ["nsenter", "-t", str(self.pids[1]), *namespaces, "env", "-i", *words]

    def shell(self, text: str) -> str:
        """Run shell text that must succeed and return what it says."""
        done = self.run("sh", "-euc", text)
        assert done.status == 0, f"{text}: {done}"
        return done.out.strip()

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Write a file into the host, through its own mounts."""
        parent = path.rpartition("/")[0]
        subprocess.run(
            self.enter(f"PATH={PATH}", "sh", "-euc", f"mkdir -p '{parent}'; cat >'{path}'; chmod {mode:o} '{path}'"),
            input=content.encode(),
            check=True,
        )

    def faults(self, *lines: str) -> None:
        """Tell the stand-in what to do wrong; see standin.c."""
        self.write("/opt/standin/faults", "".join(f"{line}\n" for line in lines))

    def install(self, bundle: str, *arguments: str, **environment: str) -> Outcome:
        """Run the installer of a bundle on the stick, waiting shorter than an operator would."""
        script = f"{STICK}/{bundle}/install.sh"
        return self.run("sh", script, "--timeout=60", "--settle=1", *arguments, environment=environment)

    def uninstall(self, *arguments: str) -> Outcome:
        """Run the uninstaller that lies beside k3s."""
        return self.run("/usr/local/bin/k3s-uninstall.sh", *arguments)

    def is_active(self, service: str = "k3s") -> bool:
        """Ask the init system."""
        if self.init == "systemd":
            return self.run("systemctl", "is-active", service).out.strip() == "active"
        return self.run("rc-service", service, "status").status == 0

    def images(self) -> list[str]:
        """Ask containerd for the names of its images."""
        names = self.shell("/usr/local/bin/k3s ctr -n k8s.io images ls -q").split()
        return sorted(name for name in names if not name.startswith("sha256:"))

    def processes(self, pattern: str) -> list[str]:
        """Return the command lines in the host that match."""
        return self.run("pgrep", "-af", pattern).out.splitlines()

    def files(self, *places: str) -> dict[str, str]:
        """Return every file and link below `places`: path to mode and content, to compare two states."""
        where = " ".join(places)
        modes = self.shell(f"find {where} -xdev \\( -type f -o -type l \\) -printf '%p\\t%m %l\\n'")
        sums = self.shell(f"find {where} -xdev -type f -exec sha256sum {{}} +")
        found = dict(line.split("\t") for line in modes.splitlines())
        for line in sums.splitlines():
            digest, _, path = line.partition("  ")
            found[path] += digest
        return found

    def changes(self) -> dict[str, str]:
        """Return what differs from the base on the whole disk: path to kind, mode and content.

        An empty directory counts; the directory of a file does not, nor the log and what the host writes when it boots.
        """
        upper, found = self.directory / "rw/upper", {}
        for folder, folders, names in os.walk(upper):
            for name in [*names, *folders]:
                path = Path(folder, name)
                place = "/" + path.relative_to(upper).as_posix()
                if not place.startswith(_OWN_AFFAIRS) and (name in names or not any(path.iterdir())):
                    found[place] = _describe(path)
        return {place: what for place, what in found.items() if what != _describe(self.base / place[1:])}

    def cycle(self, *, crash: bool = False) -> None:
        """Halt and boot again from the same disk; `crash` kills every process instead of halting."""
        self._stop(crash=crash or self.init == "openrc")
        self._start()

    def down(self) -> None:
        """Stop the host and remove all of it."""
        self._stop(crash=True)
        for mount in (self.root, self.directory / "rw"):
            subprocess.run(["umount", "-l", str(mount)], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        _remove_cgroups(self.name)

    def _start(self) -> None:
        rancher = self.directory / "rw/rancher"
        rancher.mkdir(exist_ok=True)
        if self.init == "systemd":
            command = [
                "systemd-nspawn", "-D", str(self.root), "-M", self.name, "--private-network", "--register=no",
                "--keep-unit", "--console=read-only", "--boot", f"--bind-ro={self.stick}:{STICK}",
                f"--bind={rancher}:/var/lib/rancher", "--system-call-filter=@keyring", *self.arguments,
            ]  # fmt: skip
        else:
            command = [
                "sh", str(_OPENRC_BOOT), str(self.root), self.name, f"ro:{self.stick}", STICK,
                str(rancher), "/var/lib/rancher", *self.arguments,
            ]  # fmt: skip
        with (self.directory / "console").open("ab") as console:
            holder = subprocess.Popen(
                ["sh", str(_OWN_CGROUP), self.name, *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._holder = holder
        self.pids = [holder.pid]
        self._await(self._has_booted)
        self.shell(_NETWORK)

    def _has_booted(self) -> bool:
        if len(self.pids) == 1:
            found = subprocess.run(["pgrep", "-P", str(self.pids[0])], capture_output=True, text=True, check=False)
            first = found.stdout.split()[:1]
            wanted = "systemd" if self.init == "systemd" else "openrc-init"
            if not first or _name_of(first[0]) != wanted:
                return False
            self.pids.append(int(first[0]))
        if self.init == "systemd":
            return self.run("systemctl", "is-system-running").out.strip() in {"running", "degraded"}
        return self.run("rc-status", "-r").out.strip() == "default"

    def _await(self, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + _BOOT_SECONDS
        while not condition():
            if time.monotonic() > deadline or self._holder.poll() is not None:
                console = (self.directory / "console").read_text(errors="replace")
                raise BootError(f"{self.name} did not boot: {console[-2000:]}")
            time.sleep(0.1)

    def _stop(self, *, crash: bool) -> None:
        if crash:
            for pid in reversed(self.pids):
                _kill(pid, signal.SIGKILL)
        else:
            _kill(self.pids[0], signal.SIGTERM)  # nspawn halts the host
        try:
            self._holder.wait(20)
        except subprocess.TimeoutExpired:
            for pid in reversed(self.pids):
                _kill(pid, signal.SIGKILL)
            self._holder.wait(60)


def boot(init: Init, base: Path, directory: Path, stick: Path, *arguments: str) -> Host:
    """Boot a host from `base` with `stick` read-only at /media/stick; raises BootError.

    `arguments` go to systemd-nspawn, or are `SOURCE TARGET` pairs to bind for an OpenRC host.
    """
    name = "site-" + hashlib.sha256(str(directory).encode()).hexdigest()[:8]
    (directory / "rw").mkdir(parents=True)
    (directory / "root").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g,mode=755", "site", str(directory / "rw")], check=True)
    for part in ("upper/etc", "work"):
        (directory / "rw" / part).mkdir(parents=True)
    (directory / "rw/upper").chmod(0o755)
    (directory / "rw/upper/etc/hostname").write_text(f"{name}\n")
    layers = f"lowerdir={base},upperdir={directory}/rw/upper,workdir={directory}/rw/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(directory / "root")], check=True)
    host = Host(init, name, directory, arguments, stick, base)
    try:
        host._start()
    except BaseException:
        host.down()
        raise
    return host


def _describe(path: Path) -> str:
    """Say what lies at a path of an overlay's layer; a device there marks a removed file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return "absent"
    kind = f"{status.st_mode:o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{kind} {path.readlink()}"
    return f"{kind} {hashlib.sha256(path.read_bytes()).hexdigest()}" if stat.S_ISREG(status.st_mode) else kind


def _name_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _remove_cgroups(name: str) -> None:
    """Remove the empty cgroups a host or its containers left in the machine's trees."""
    for tree in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        for left in (tree / name, tree / "k8s.io"):
            for folder, _, _ in os.walk(left, topdown=False):
                for _ in range(20):
                    try:
                        Path(folder).rmdir()
                        break
                    except OSError:
                        time.sleep(0.05)
