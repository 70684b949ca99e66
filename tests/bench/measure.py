"""Wall time, CPU time and peak memory of a command, and of the daemons that worked for it."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TICK = os.sysconf("SC_CLK_TCK")


class CommandFailedError(Exception):
    """A command that is measured failed; the message ends with what it said."""


@dataclass(frozen=True)
class Measured:
    """One run. `cpu` and `wall` are seconds, `cpu` with the daemons'; `peak` and `size` bytes, `size` of what came out.

    `peak` is that of the biggest process of the command; daemons are not in it.
    """

    wall: float
    cpu: float
    peak: int
    size: int

    @property
    def rate(self) -> float:
        """Bytes of `size` for a second of CPU."""
        return self.size / self.cpu


def measure(
    argv: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str],
    output: Path | None = None,
    daemons: Sequence[int] = (),
) -> Measured:
    """Run to the end; raises CommandFailedError. `output` is the file or folder that the command makes."""
    before = sum(map(_cpu_of, daemons))
    began = time.monotonic()
    with log.open("wb") as said:
        child = subprocess.Popen(
            [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment
        )
        _, status, usage = os.wait4(child.pid, 0)  # with all descendants that were waited for
    wall = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        told = log.read_text(errors="replace")[-2000:]
        raise CommandFailedError(f"{' '.join(map(str, argv))[:500]}: exit code {child.returncode}\n{told}")
    cpu = usage.ru_utime + usage.ru_stime + sum(map(_cpu_of, daemons)) - before
    return Measured(wall, cpu, usage.ru_maxrss * 1024, size_of(output) if output else 0)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def _cpu_of(process: int) -> float:
    """Seconds of a process that still runs and of its children that have ended (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICK
