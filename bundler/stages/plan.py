"""What a build would do: bytes to fetch, bytes that are here already, room that is needed. Asks nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from bundler.model.bundle import bundle_name
from bundler.model.frozen import Frozen, Size
from bundler.model.lock import LeftOut, Lock, stored_layer_key
from bundler.model.platform import Architecture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.digest import Digest
    from bundler.model.lock import EngineInput, LockedImage
    from bundler.store.store import Store
    from bundler.workloads.uses import Findings


Sum = Annotated[int, Field(ge=0)]
"""Bytes of several things."""


class PlannedFile(Frozen):
    """A file of the release, or one that the recipe adds for every architecture."""

    name: str
    arch: Architecture | None
    size: Size
    cached: bool


class PlannedImage(Frozen):
    """An image; `size` is bytes of its layers in the registry, `cached` how many of them need not be fetched."""

    reference: str
    arch: Architecture
    layers: int
    size: Sum
    cached: Sum
    source: Literal["registry", "archive", "build", "engine"]
    wanted_by: tuple[str, ...] = ()


class PlannedMaybe(Frozen):
    """Text in a manifest that may be an image; it is not carried."""

    text: str
    where: str


class UnbuiltImage(Frozen):
    """An image that the Docker engine has or builds, of a size that nobody knows before that."""

    reference: str
    arch: Architecture
    source: str


class Plan(Frozen):
    """Sizes are bytes. `fetch` counts shared layers once; `cache` and `bundle` are the room a build will need.

    Neither knows of `unbuilt`. `notes` say what of the manifests goes wrong without a network.
    """

    schema_version: Literal[1] = 1
    bundle: str
    release: str
    files: tuple[PlannedFile, ...]
    images: tuple[PlannedImage, ...]
    unbuilt: tuple[UnbuiltImage, ...] = ()
    fetch: Sum
    cache_room: Sum
    bundle_room: Sum
    left_out: tuple[LeftOut, ...] = ()
    maybes: tuple[PlannedMaybe, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def makes_images(self) -> bool:
        """Say whether the Docker engine has to give something."""
        lacking = (image for image in self.images if image.source in {"build", "engine"})
        return bool(self.unbuilt) or any(image.cached < image.size for image in lacking)


def plan(lock: Lock, found: Findings, store: Store, unbuilt: Sequence[EngineInput] = ()) -> Plan:
    """Work out what a build of `lock`, with what was found in its manifests, has to do with what `store` holds.

    `unbuilt` are images that the lock does not know yet.

    Packed layers are taken to be as big as the registry's where they do not exist yet; they come out smaller.
    """
    files = tuple(
        PlannedFile(name=each.binary.name, arch=each.arch, size=each.binary.size, cached=store.has(each.binary.digest))
        for each in lock.architectures
    ) + tuple(
        PlannedFile(name=file.path, arch=None, size=file.size, cached=store.has(file.digest)) for file in lock.files
    )
    packed = {
        layer.diff_id: store.packed_layer(stored_layer_key(layer, lock))
        for image in lock.images
        for layer in image.layers
    }
    here = {diff_id for diff_id, layer in packed.items() if layer}
    images = tuple(_planned(image, each.arch, here) for each in lock.architectures for image in each.images)
    distinct = {layer.diff_id: layer.size for image in lock.images for layer in image.layers}
    missing = sum(size for diff_id, size in distinct.items() if diff_id not in here)
    missing += sum(file.size for file in files if not file.cached)
    on_disk = {
        layer.diff_id: layer.size
        for image in lock.images
        for layer in image.layers
        if not image.of_registry and layer.diff_id not in here
    }
    return Plan(
        bundle=bundle_name(lock),
        release=lock.release,
        files=files,
        images=images,
        unbuilt=tuple(
            UnbuiltImage(reference=each.reference, arch=architecture.arch, source=each.source)
            for architecture in lock.architectures
            for each in unbuilt
        ),
        fetch=missing - sum(on_disk.values()),
        cache_room=missing,
        bundle_room=_bundle_room(lock, {diff_id: layer.size for diff_id, layer in packed.items() if layer}),
        left_out=lock.left_out,
        maybes=tuple(PlannedMaybe(text=maybe.text, where=maybe.where) for maybe in found.maybes),
        notes=found.notes,
    )


def _planned(image: LockedImage, arch: Architecture, here: set[Digest]) -> PlannedImage:
    distinct = {layer.diff_id: layer.size for layer in image.layers}
    return PlannedImage(
        reference=image.reference,
        arch=arch,
        layers=len(image.layers),
        size=sum(distinct.values()),
        cached=sum(size for diff_id, size in distinct.items() if diff_id in here),
        wanted_by=image.wanted_by,
        source="archive" if image.archive else "build" if image.build else "engine" if image.engine_id else "registry",
    )


def _bundle_room(lock: Lock, packed: dict[Digest, int]) -> int:
    total = sum(each.binary.size for each in lock.architectures) + sum(file.size for file in lock.files)
    for each in lock.architectures:
        for images in (each.k3s_images, each.recipe_images):
            layers = {layer.diff_id: layer.size for image in images for layer in image.layers}
            total += sum(packed.get(diff_id, size) for diff_id, size in layers.items())
    return total
