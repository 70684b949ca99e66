"""One server process: its log, its readiness, its end by process id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.real.packages import SEARCH_PATH, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

Started = TypeVar("Started")

_READY_SECONDS = 30.0
_STOP_SECONDS = 15.0
_PORT_ATTEMPTS = 5
_LOG_LINES = 25


class ComponentError(Exception):
    """A component did not start, answer or stop; the message ends with the last lines of its log."""


class Process:
    """A running server. It gets SIGTERM by itself when the thread that started it ends, so a killed run leaves none."""

    def __init__(self, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start `argv` with its output appended to `log`; `environment` is added to the inherited one."""
        self.name = argv[0]
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [program("setpriv"), "--pdeathsig", "TERM", "--", program(argv[0]), *argv[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": SEARCH_PATH, **(environment or {})},
                start_new_session=True,  # Ctrl-C reaches pytest, which then stops its components in order
            )

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self._popen.pid

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._popen.poll() is None

    def wait_ready(self, ready: Callable[[], bool], seconds: float = _READY_SECONDS) -> None:
        """Wait until `ready()`; raises ComponentError when the process ends or the time is over."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.alive():
                raise ComponentError(f"{self.name} ended with status {self._popen.returncode}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ComponentError(f"{self.name} was not ready after {seconds:.0f} s\n{self.log_tail()}")
            time.sleep(0.03)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()

    def log_tail(self) -> str:
        """Last lines of the log, for errors."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  {self.log.name}: {line}" for line in lines[-_LOG_LINES:])


def start_on_free_port(start: Callable[[int], Started]) -> Started:
    """Call `start(port)` with a free port of 127.0.0.1, again with another when somebody took it in between."""
    for _ in range(_PORT_ATTEMPTS - 1):
        try:
            return start(_free_port())
        except ComponentError as error:
            if "address already in use" not in str(error).lower():
                raise
    return start(_free_port())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def socket_directory() -> Iterator[Path]:
    """A short temporary folder: the path of a Unix socket has at most 107 bytes, pytest's folders are long."""
    directory = Path(tempfile.mkdtemp(prefix="kb-", dir="/tmp"))
    try:
        yield directory
    finally:
        unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


def mounts_below(directory: Path) -> tuple[Path, ...]:
    """Mount points at or below `directory`, deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(directory):
            found.append(point)
    return tuple(sorted(found, key=lambda point: len(point.parts), reverse=True))


def unmount_below(directory: Path) -> None:
    """Take away what a killed engine left mounted."""
    for point in mounts_below(directory):
        subprocess.run([program("umount"), "--lazy", str(point)], check=True, capture_output=True)


def end_naming(argument: str) -> None:
    """End what outlives its server, as shims do, told by an argument that is ours alone; with what it runs."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # processes end while one looks
            if argument.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                children = (process / "task" / process.name / "children").read_text().split()
                for pid in (process.name, *children):
                    os.kill(int(pid), signal.SIGKILL)


def loopback_opener(ca: Path | None = None) -> urllib.request.OpenerDirector:
    """What asks our own servers: never through a proxy of the machine."""
    context = ssl.create_default_context(cafile=str(ca)) if ca else None
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
