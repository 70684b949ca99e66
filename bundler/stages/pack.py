"""Store to image archives. From here on nothing asks a network, a clock or the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.archive.layout import ImageContent, arrange
from bundler.archive.writer import write_tar, write_tar_zst
from bundler.errors import CacheDamagedError
from bundler.k3s.behaviour import takes_zstd_archives
from bundler.model.bundle import BundledArchive, BundledImage, archive_path
from bundler.model.digest import digest_of
from bundler.model.lock import PackedLayer, stored_layer_key
from bundler.model.release import parse_release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.lock import Lock, LockedArchitecture, LockedImage
    from bundler.progress import Progress
    from bundler.site.folder import BundleFolder
    from bundler.store.store import Store


def pack(lock: Lock, store: Store, folder: BundleFolder, progress: Progress) -> tuple[BundledArchive, ...]:
    """Write the image archives of every architecture; raises CacheDamagedError and host errors."""
    archives = []
    for each in lock.architectures:
        for stem, images in (("k3s-airgap", each.k3s_images), (lock.name, each.recipe_images)):
            if images:
                archives.append(_pack(lock, each, stem, images, store, folder, progress))
    return tuple(archives)


def _pack(
    lock: Lock,
    architecture: LockedArchitecture,
    stem: str,
    images: Sequence[LockedImage],
    store: Store,
    folder: BundleFolder,
    progress: Progress,
) -> BundledArchive:
    contents = [
        ImageContent(image, _packed_layers(image, lock, store), _manifest(image, lock, store)) for image in images
    ]
    zst = lock.layers == "plain" and takes_zstd_archives(parse_release(lock.release))
    path = archive_path(stem, architecture.arch, ".tar.zst" if zst else ".tar")
    members = arrange(contents, lock.layers)
    distinct = {layer.diff_id: layer for content in contents for layer in content.layers}
    size = sum(layer.size for layer in distinct.values())
    progress.expect(size)
    with folder.open(path) as out, progress.task(path, size) as task:
        if zst:
            write_tar_zst(members, store.open, lock.compressor, out, task)
        else:
            write_tar(members, store.open, out, task)
    return BundledArchive(
        path=path,
        arch=architecture.arch,
        unpacked=sum(layer.unpacked_size for layer in distinct.values()),
        images=tuple(_bundled(content) for content in sorted(contents, key=lambda each: each.image.reference)),
    )


def _packed_layers(image: LockedImage, lock: Lock, store: Store) -> tuple[PackedLayer, ...]:
    found = []
    for layer in image.layers:
        packed = store.packed_layer(stored_layer_key(layer, lock))
        if packed is None:
            raise CacheDamagedError(
                f"layer {layer.diff_id} of {image.reference} vanished from the cache during the build",
                hint="run the build again; do not prune a cache that is in use",
            )
        found.append(packed)
    return tuple(found)


def _manifest(image: LockedImage, lock: Lock, store: Store) -> bytes | None:
    """Give the registry's own manifest where the form keeps it."""
    if lock.layers != "registry":
        return None
    body = store.read(image.manifest)
    if digest_of(body) != image.manifest:
        raise CacheDamagedError(
            f"the manifest of {image.reference} changed in the cache", hint="run: k3s-bundler cache verify"
        )
    return body


def _bundled(content: ImageContent) -> BundledImage:
    return BundledImage(
        name=content.image.reference,
        platform=content.image.platform,
        index=content.image.index,
        manifest=content.image.manifest,
        config=content.image.config,
        layers=len(content.layers),
        size=content.image.config_size + sum(layer.size for layer in content.layers),
    )
