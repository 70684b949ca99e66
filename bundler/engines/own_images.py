"""Takes images into the store that only a Docker daemon has: what is saved there is proven as archives are."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

from bundler.engines.archive_content import read_save_stream
from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.errors import BundlerError, EngineUnfitError, MissingPlatformError

if TYPE_CHECKING:
    from bundler.engines.daemon import Daemon
    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage
    from bundler.model.platform import Architecture
    from bundler.progress import Progress


def take_saved(
    daemon: Daemon, image: str, reference: str, arch: Architecture, intake: Intake, progress: Progress
) -> LockedImage:
    """Save `image`, a name or id, twice: to find what it is, and to pack its layers; it is called `reference`.

    Raises MissingPlatformError, EngineUnfitError where its manifest is wanted and lost, integrity errors and those of
    the daemon.
    """
    source = f"the Docker engine at {daemon.address}"
    title = f"{reference} ({arch})"
    with progress.task(f"{title} save", None) as task, closing(_saved(daemon, image, arch, title)) as stream:
        content = read_save_stream(stream, source, task)
    found: dict[str, LockedImage] = {}
    missing: list[MissingPlatformError] = []
    for each in content.images:
        try:
            locked = content.lock(each, reference, arch)
            found[locked.config] = locked
        except MissingPlatformError as error:
            missing.append(error)
    if len(found) != 1:
        told = "; ".join(error.what for error in missing) or f"{reference} in {source} is no image, or several"
        raise MissingPlatformError(
            told,
            hint=f"an overlay2 image store has one architecture under a name: take {arch} out of the recipe's arch, "
            "build the image with {build: ...}, or save each architecture and write {archive: ./app.tar}",
        )
    locked = next(iter(found.values()))
    if intake.lacks_manifest(locked) and locked.manifest in content.written_here:
        raise EngineUnfitError(
            f"images.layers is registry, but the image store of {source} has no manifest of {reference}",
            hint="switch the daemon to the containerd image store, or set images.layers: zstd",
        )
    intake.store.put(content.config(locked))
    with progress.task(f"{title} pack", None) as task, closing(_saved(daemon, image, arch, title)) as stream:
        take_save_stream(stream, [locked], intake, source, MemberNames(), task)
    return locked


def _saved(daemon: Daemon, image: str, arch: Architecture, title: str) -> BinaryIO:
    """Begin to save; errors name the image as people know it."""
    try:
        return daemon.save([image], arch)
    except BundlerError as error:
        raise type(error)(f"{title}: {error.what}", hint=error.hint) from None
