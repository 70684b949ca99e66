"""Lock to store: the files of the release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.model.release import parse_release

if TYPE_CHECKING:
    from bundler.engines.releases import Releases
    from bundler.model.lock import Lock
    from bundler.progress import Progress
    from bundler.store.store import Store


def fetch(lock: Lock, releases: Releases, store: Store, progress: Progress) -> None:
    """Bring the files of the release that a bundle of `lock` has into the store, verified.

    Raises network, integrity and host errors.
    """
    release = parse_release(lock.release)
    files = [each.binary for each in lock.architectures] + [each.image_list for each in lock.architectures[:1]]
    missing = [file for file in files if not store.verified(file.digest)]
    progress.expect(sum(file.size for file in missing))
    for file in missing:
        with store.partial(file.digest) as part, progress.task(file.name, file.size) as task:
            if not store.has(file.digest):  # another process may have brought it while this one waited
                releases.bring(file, release, part, task)
                store.adopt(part, file.digest)
