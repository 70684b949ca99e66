"""Looking after the cache: how big it is, whether it is whole, and what has not been used for long."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from stat import S_ISREG
from typing import TYPE_CHECKING

from bundler.errors import host_error
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.progress import Progress
    from bundler.store.store import Store

_MEANINGS = {
    "blobs": "release files, manifests, configs and packed layers",
    "layers": "which blob a layer was packed into",
    "partial": "transfers that go on next time",
    "locks": "locks of recipes with overrides",
}


@dataclass(frozen=True)
class Kind:
    """One kind of cached things; `size` is bytes."""

    name: str
    meaning: str
    files: int
    size: int


@dataclass(frozen=True)
class Freed:
    """What was removed; `size` is bytes."""

    files: int
    size: int


def usage(store: Store) -> tuple[Kind, ...]:
    """Measure the cache by kind."""
    kinds = []
    for name, meaning in _MEANINGS.items():
        sizes = [size for _, size, _ in _files(store.root / name)]
        kinds.append(Kind(name, meaning, len(sizes), sum(sizes)))
    return tuple(kinds)


def verify_all(store: Store, progress: Progress) -> tuple[str, ...]:
    """Read every blob; give the digests of those that were damaged, which are thrown away. Raises host errors."""
    blobs = sorted((path.name, size) for path, size, _ in _files(store.root / "blobs"))
    progress.expect(sum(size for _, size in blobs))
    damaged = []
    for name, size in blobs:
        with progress.task(name[:12], size) as task:
            try:
                digest = digest_from_hex(name)
            except ValueError:
                continue  # no blob of ours: left alone, and never used
            if not store.verified(digest):
                damaged.append(digest)
            task.advance(size)
    return tuple(damaged)


def prune(store: Store, before: float, *, remove: bool) -> Freed:
    """Remove what was last used before `before` (seconds since 1970), or only count it; raises host errors.

    Locks stay: they are small, and the only thing here that cannot be made again as it was.
    """
    old = [
        (path, size)
        for kind in ("blobs", "layers", "partial")
        for path, size, used in _files(store.root / kind)
        if used < before
    ]
    for path, _ in old if remove else ():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise host_error(error, path) from error
    return Freed(len(old), sum(size for _, size in old))


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    """List files with their size in bytes and when they were last used, in seconds since 1970."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a build that runs at the same time may take it away
            found = path.lstat()
            if S_ISREG(found.st_mode):
                yield path, found.st_size, found.st_mtime
