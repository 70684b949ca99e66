"""Images from archives on the builder's disk, beside those that another engine brings."""

from __future__ import annotations

import hashlib
from contextlib import closing
from typing import TYPE_CHECKING

from bundler.archive import zstd
from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.errors import LockError, host_error
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bundler.engines.engine import Engine
    from bundler.engines.intake import Intake
    from bundler.model.lock import Lock, LockedArchive, LockedImage
    from bundler.progress import Progress


class WithArchives:
    """Takes what the lock found in archives from there, `folder` being the recipe's, and the rest from `engine`."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self.name = engine.name

    def pull(self, images: Sequence[LockedImage], intake: Intake, jobs: int, progress: Progress) -> None:
        """Read each archive once, however many images come from it; raises as engines do."""
        archives = {image.archive.path: image.archive for image in images if image.archive}
        for path, archive in sorted(archives.items()):
            wanted = [image for image in images if image.archive and image.archive.path == path]
            self._read(archive, wanted, intake, progress)
        self._engine.pull([image for image in images if image.archive is None], intake, jobs, progress)

    def _read(self, archive: LockedArchive, images: Sequence[LockedImage], intake: Intake, progress: Progress) -> None:
        path = self._folder / archive.path
        try:
            with (
                path.open("rb") as file,
                progress.task(archive.path, None) as task,
                closing(zstd.inflated(file)) as tar,
            ):
                take_save_stream(tar, images, intake, archive.path, MemberNames(), task)
        except OSError as error:
            raise host_error(error, path) from error


def require_unchanged(lock: Lock, folder: Path, progress: Progress) -> None:
    """Raise LockError when an archive below `folder` is not the one that was locked."""
    for archive in lock.archives:
        path = folder / archive.path
        try:
            changed = path.stat().st_size != archive.size or _hash(path, archive, progress) != archive.digest
        except FileNotFoundError:
            raise LockError(
                f"{archive.path} is not there, and the lock needs it", hint=f"put it back at {path}"
            ) from None
        except OSError as error:
            raise host_error(error, path) from error
        if changed:
            raise LockError(
                f"{archive.path} changed since it was locked as {archive.digest}",
                hint="run k3s-bundler lock --update RECIPE, look at what moved, and commit it",
            )


def _hash(path: Path, archive: LockedArchive, progress: Progress) -> str:
    seen = hashlib.sha256()
    with path.open("rb") as file, progress.task(archive.path, archive.size) as task:
        while chunk := file.read(1 << 20):
            seen.update(chunk)
            task.advance(len(chunk))
    return digest_from_hex(seen.hexdigest())
