"""Locks the images that a recipe takes from archives on disk."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING

from bundler.engines.archive_content import ArchiveContent, NamedImage, read_archive
from bundler.errors import MissingPlatformError, RecipeNotFoundError, UsageError, host_error
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bundler.model.digest import Digest
    from bundler.model.lock import LayerForm, Lock, LockedArchive, LockedImage
    from bundler.model.platform import Architecture
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_images import ArchiveSource
    from bundler.progress import Progress
    from bundler.store.store import Store

_CHUNK = 1 << 20

Archived = dict[str, dict["Architecture", "LockedImage"]]
"""Images from archives by their names, for each architecture of the recipe."""


def lock_archives(recipe: Recipe, folder: Path, store: Store, progress: Progress) -> Archived:
    """Read every archive of the recipe, whose folder is `folder`; configs are kept in `store`.

    Raises UsageError when it is not clear which image is meant, MissingPlatformError by name, and integrity errors.
    """
    contents = {
        path: _content(path, folder, progress) for path in sorted({each.archive for each in recipe.images.archives})
    }
    found: dict[str, list[tuple[ArchiveContent, NamedImage]]] = {}
    for source in recipe.images.archives:
        content = contents[source.archive]
        name, images = _meant(source, content)
        found.setdefault(name, []).extend((content, image) for image in images)
    for name in found.keys() & {reference.name for reference in recipe.images.named}:
        raise UsageError(
            f"images.extra names {name} and takes an image of that name from an archive", hint="remove one of the two"
        )
    return {
        name: {arch: _only(name, arch, candidates, recipe.images.layers, store) for arch in recipe.arch}
        for name, candidates in found.items()
    }


def changed_archive(lock: Lock, folder: Path, progress: Progress) -> str | None:
    """Say which archive below `folder`, the recipe's, is not the one that was locked; None when all are.

    Raises RecipeNotFoundError for one that is not there, and host errors.
    """
    for archive in lock.archives:
        path = _there(archive.path, folder)
        try:
            if path.stat().st_size != archive.size or _hash(path, archive, progress) != archive.digest:
                return f"{archive.path} changed since it was locked"
        except OSError as error:
            raise host_error(error, path) from error
    return None


def _hash(path: Path, archive: LockedArchive, progress: Progress) -> Digest:
    seen = hashlib.sha256()
    progress.expect(archive.size)
    with path.open("rb") as file, progress.task(archive.path, archive.size) as task:
        while chunk := file.read(_CHUNK):
            seen.update(chunk)
            task.advance(len(chunk))
    return digest_from_hex(seen.hexdigest())


def with_own_images(lock: Lock, own_images: Archived) -> Lock:
    """Give the lock with these images added to the recipe's own; raises UsageError when the release has one of them."""
    architectures = []
    for each in lock.architectures:
        taken = sorted({image.reference for image in each.images} & own_images.keys())
        if taken:
            raise UsageError(
                f"images.extra has a {taken[0]} of its own, but it is in the list of {lock.release}",
                hint="exclude it under images.exclude first, or remove your own",
            )
        own = (*each.recipe_images, *(images[each.arch] for images in own_images.values()))
        in_order = tuple(sorted(own, key=lambda image: image.reference))
        architectures.append(each.model_copy(update={"recipe_images": in_order}))
    return lock.model_copy(update={"architectures": tuple(architectures)})


def _there(path: str, folder: Path) -> Path:
    whole = folder / path
    # Not is_file(), which from Python 3.14 on takes what cannot be looked at for what is not there.
    try:
        if stat.S_ISREG(whole.stat().st_mode):
            return whole
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise host_error(error, whole) from error
    raise RecipeNotFoundError(
        f"images.extra: there is no archive {whole}", hint="paths of archives are relative to the recipe's folder"
    )


def _content(path: str, folder: Path, progress: Progress) -> ArchiveContent:
    whole = _there(path, folder)
    size = whole.stat().st_size
    progress.expect(size)
    with progress.task(path, size) as task:
        return read_archive(whole, path, task)


def _meant(source: ArchiveSource, content: ArchiveContent) -> tuple[str, tuple[NamedImage, ...]]:
    """Find which image of the archive the recipe means: by its name, or the only one."""
    names = content.names
    wanted = source.ref.name if source.ref else names[0] if len(names) == 1 else None
    if wanted is None:
        why = f"names several images: {', '.join(names)}" if names else "names no image"
        raise UsageError(
            f"images.extra: {source.archive} {why}",
            hint=f"say which: {{archive: {source.archive}, ref: {names[0] if names else 'registry.example/app:1.0'}}}",
        )
    if names and wanted not in names:
        raise UsageError(
            f"images.extra: {source.archive} has no {wanted}; it has {', '.join(names)}",
            hint="correct ref, or remove it",
        )
    return wanted, tuple(image for image in content.images if not names or wanted in image.names)


def _only(
    name: str,
    arch: Architecture,
    candidates: Iterable[tuple[ArchiveContent, NamedImage]],
    form: LayerForm,
    store: Store,
) -> LockedImage:
    """Take the one candidate that is there for `arch`."""
    found: dict[str, LockedImage] = {}
    missing = []
    for content, image in candidates:
        try:
            locked = content.lock(image, name, arch)
        except MissingPlatformError as error:
            missing.append(error)
            continue
        if form == "registry" and locked.manifest in content.written_here:
            raise UsageError(
                f"images.layers is registry, but {content.source} has lost the manifest of {name}",
                hint="save it with skopeo copy (oci-archive:), or from Docker with the containerd image store",
            )
        found.setdefault(locked.config, locked)
        store.put(content.config(locked))
    if len(found) > 1:
        where = ", ".join(f"{image.config[7:19]} in {image.archive.path}" for image in found.values() if image.archive)
        raise UsageError(
            f"images.extra: {name} is there for {arch} more than once: {where}", hint="give each image its own archive"
        )
    if not found:
        raise MissingPlatformError("; ".join(error.what for error in missing), hint=missing[0].hint)
    return next(iter(found.values()))
