"""The path from a recipe to a bundle, on one page."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from bundler.errors import LockError
from bundler.site.folder import new_bundle
from bundler.stages.closure import require_closed
from bundler.stages.emit import emit
from bundler.stages.fetch import fetch
from bundler.stages.lockfile import read_lock, what_moved, write_lock
from bundler.stages.pack import pack
from bundler.stages.pull import pull
from bundler.stages.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.engines.engine import Engine
    from bundler.engines.releases import Releases
    from bundler.model.bundle import Bundle
    from bundler.model.lock import Lock
    from bundler.progress import Progress
    from bundler.site.told import Told
    from bundler.store.store import Store


def locked(path: Path, why_outdated: Callable[[Lock], str | None]) -> Lock:
    """Take the lock at `path` as it is; raises LockError when it is missing, or `why_outdated` says that it is."""
    known = read_lock(path)
    why = why_outdated(known) if known else "there is none"
    if known is None or why:
        raise LockError(
            f"{path}: {why}", hint="run k3s-bundler lock --update RECIPE, look at what moved, and commit it"
        )
    return known


def lock_kept(
    path: Path, why_outdated: Callable[[Lock], str | None], relock: Callable[[], Lock], hint: str, progress: Progress
) -> Lock:
    """Take the lock at `path` until `why_outdated` says why not; then make it anew, write it and say what moved.

    `hint` says what to do when it cannot be written.
    """
    known = read_lock(path)
    why = why_outdated(known) if known else None
    if known and not why:
        return known
    fresh = relock()
    write_lock(fresh, path, hint)
    progress.note(f"locked {fresh.release} in {path}" + (f": {why}" if why else ""))
    for line in what_moved(known, fresh) if known else ():
        progress.note(f"  {line}")
    return fresh


def bring(lock: Lock, engine: Engine, releases: Releases, store: Store, jobs: int, progress: Progress) -> None:
    """Have the lock's binaries and images in the store, brought at the same time."""
    progress.stage("fetch")
    with ThreadPoolExecutor(2, thread_name_prefix="bring") as pool:
        tasks = [
            pool.submit(fetch, lock, releases, store, progress),
            pool.submit(pull, lock, engine, store, jobs, progress),
        ]
        for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
            task.result()


def assemble(
    told: Told,
    lock: Lock,
    store: Store,
    target: Path,
    jobs: int,
    progress: Progress,
    *,
    replace: bool,
) -> Bundle:
    """Make the bundle at `target` from what is in the store; all of it, verified and complete, or nothing."""
    with new_bundle(target, replace=replace) as folder:
        progress.stage("pack")
        archives = pack(lock, store, folder, progress)
        emit(told, lock, archives, store, folder, progress)
        progress.stage("verify")
        bundle = verify(folder.root, jobs, progress)
        require_closed(folder.root)
        return bundle
