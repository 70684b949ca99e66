"""Lock to store: the files of the release, and those that the recipe takes from servers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bundler.model.recipe_charts import OCI
from bundler.model.release import parse_release
from bundler.net.download import Download, download

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from requests import Session

    from bundler.engines.releases import Releases
    from bundler.model.digest import Digest
    from bundler.model.lock import Lock
    from bundler.progress import Progress, Task
    from bundler.store.store import Store


@dataclass(frozen=True)
class _Wanted:
    """A file to bring; `bring` puts it into the part it is given."""

    name: str
    size: int
    digest: Digest
    bring: Callable[[Path, Task], None]


def fetch(lock: Lock, releases: Releases, session: Session, store: Store, progress: Progress) -> None:
    """Bring every file of the lock that has a URL of HTTP into the store, verified.

    Raises network, integrity and host errors.
    """
    release = parse_release(lock.release)
    of_release = [each.binary for each in lock.architectures] + [each.image_list for each in lock.architectures[:1]]
    files = [_Wanted(file.name, file.size, file.digest, partial(releases.bring, file, release)) for file in of_release]
    files += [
        _Wanted(
            file.source,
            file.size,
            file.digest,
            partial(_download, session, Download((file.url,), file.digest, file.size)),
        )
        for file in lock.files
        if file.url and not file.url.startswith(OCI)
    ]
    missing = [file for file in files if not store.verified(file.digest)]
    progress.expect(sum(file.size for file in missing))
    for file in missing:
        _fetch(file, store, progress)


def _download(session: Session, wanted: Download, part: Path, task: Task) -> None:
    download(session, wanted, part, task=task)


def _fetch(file: _Wanted, store: Store, progress: Progress) -> None:
    with store.partial(file.digest) as part, progress.task(file.name, file.size) as task:
        if store.has(file.digest):  # another process may have brought it while this one waited
            return
        file.bring(part, task)
        store.adopt(part, file.digest)
