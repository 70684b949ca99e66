"""Lock to store: the files of the release, and those that the recipe takes from servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.model.lock import LockedFile
from bundler.net.download import Download, download

if TYPE_CHECKING:
    from requests import Session

    from bundler.model.lock import Lock
    from bundler.progress import Progress
    from bundler.store.store import Store


def fetch(lock: Lock, session: Session, store: Store, progress: Progress) -> None:
    """Bring every file of the lock that has a URL into the store, verified.

    Raises network, integrity and host errors.
    """
    files = [each.binary for each in lock.architectures] + [each.image_list for each in lock.architectures[:1]]
    files += [
        LockedFile(name=file.source, url=file.url, size=file.size, digest=file.digest)
        for file in lock.files
        if file.url
    ]
    missing = [file for file in files if not store.verified(file.digest)]
    progress.expect(sum(file.size for file in missing))
    for file in missing:
        _fetch(file, session, store, progress)


def _fetch(file: LockedFile, session: Session, store: Store, progress: Progress) -> None:
    with store.partial(file.digest) as part, progress.task(file.name, file.size) as task:
        if store.has(file.digest):  # another process may have brought it while this one waited
            return
        wanted = Download(urls=(file.url,), digest=file.digest, size=file.size)
        download(session, wanted, part, task=task)
        store.adopt(part, file.digest)
