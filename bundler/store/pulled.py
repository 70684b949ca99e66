"""Which images a build pulled or built in an engine, so that a killed build is tidied up by the next one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import host_error
from bundler.model.digest import digest_of, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.store.store import Store


@dataclass(frozen=True)
class PulledName:
    """An image name that a build brought into an engine; it is forgotten when the name is gone from there again."""

    mark: Path
    name: str

    def forget(self) -> None:
        """Take the note away."""
        self.mark.unlink(missing_ok=True)


def note_pulled(store: Store, engine: str, name: str) -> PulledName:
    """Note that this process is about to bring `name` into the engine at the address `engine`; raises host errors."""
    mark = store.root / "pulled" / hex_of(digest_of(f"{engine}\n{name}".encode()))
    try:
        mark.write_text(f"{os.getpid()}\n{engine}\n{name}\n")
    except OSError as error:
        raise host_error(error, mark) from error
    return PulledName(mark, name)


def left_by_dead_builds(store: Store, engine: str) -> Iterator[PulledName]:
    """List what processes that are no more left in the engine, the newest first: an image goes before its parent."""
    for mark in sorted((store.root / "pulled").iterdir(), key=_age):
        process, _, rest = mark.read_text().partition("\n")
        owner, _, name = rest.strip().partition("\n")
        if owner == engine and not Path("/proc", process).exists():
            yield PulledName(mark, name)


def _age(mark: Path) -> int:
    return -mark.stat().st_mtime_ns
