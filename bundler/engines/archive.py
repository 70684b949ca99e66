"""Images from archives on the builder's disk, beside those that another engine brings."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from bundler.archive import zstd
from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.errors import host_error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bundler.engines.engine import Engine
    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedArchive, LockedImage
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

    def close(self) -> None:
        """Let go of the connections of the engine behind."""
        self._engine.close()

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
