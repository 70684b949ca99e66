"""Lock to store: the images, through an engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from bundler.engines.intake import intake_for

if TYPE_CHECKING:
    from bundler.engines.engine import Engine
    from bundler.model.lock import Lock
    from bundler.progress import Progress
    from bundler.store.store import Store


def pull(lock: Lock, engine: Engine, store: Store, jobs: int, progress: Progress) -> None:
    """Bring every config and packed layer of the lock into the store.

    What is there already is read once and thrown away when it is damaged, so that the engine brings it again. Raises
    network, integrity and host errors.
    """
    intake = intake_for(store, lock.compressor, lock.layers)
    kept = {image.config for image in lock.images}
    kept |= {stored.digest for image in lock.images for layer in image.layers if (stored := intake.stored(layer))}
    kept |= {digest for image in lock.images for digest in (image.index, image.manifest)}
    with ThreadPoolExecutor(jobs, thread_name_prefix="check") as pool:
        list(pool.map(store.verified, sorted(kept)))
    # Asked even when nothing is missing: an engine also tidies up what a killed build left in it.
    engine.pull([image for image in lock.images if intake.lacks(image)], intake, jobs, progress)
