"""Lock to store: the files of the release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.net.download import Download, download

if TYPE_CHECKING:
    from requests import Session

    from bundler.model.lock import Lock, LockedFile
    from bundler.progress import Progress
    from bundler.store.store import Store


def fetch(lock: Lock, session: Session, store: Store, progress: Progress) -> None:
    """Bring every binary of the lock into the store, verified; raises network, integrity and host errors."""
    missing = [each.binary for each in lock.architectures if not store.verified(each.binary.digest)]
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
