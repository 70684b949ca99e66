"""Looking after the cache: how big it is, whether it is whole, and what has not been used for long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import host_error
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.progress import Progress
    from bundler.store.store import Store

_MEANINGS = {
    "blobs": "release files, configs and packed layers",
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
        sizes = [path.stat().st_size for path in _files(store.root / name)]
        kinds.append(Kind(name, meaning, len(sizes), sum(sizes)))
    return tuple(kinds)


def verify_all(store: Store, progress: Progress) -> tuple[str, ...]:
    """Read every blob; give the digests of those that were damaged, which are thrown away."""
    paths = sorted(_files(store.root / "blobs"))
    progress.expect(sum(path.stat().st_size for path in paths))
    damaged = []
    for path in paths:
        digest, size = digest_from_hex(path.name), path.stat().st_size
        with progress.task(path.name[:12], size) as task:
            if not store.verified(digest):
                damaged.append(digest)
            task.advance(size)
    return tuple(damaged)


def prune(store: Store, before: float, *, remove: bool) -> Freed:
    """Remove what was last used before `before` (seconds since 1970), or only count it; raises host errors.

    Locks stay: they are small, and the only thing here that cannot be made again as it was.
    """
    old = [
        path
        for kind in ("blobs", "layers", "partial")
        for path in _files(store.root / kind)
        if path.stat().st_mtime < before
    ]
    size = sum(path.stat().st_size for path in old)
    for path in old if remove else ():
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise host_error(error, path) from error
    return Freed(len(old), size)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
