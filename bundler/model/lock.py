"""The lock: everything a bundle is made of, by digest and size.

The same lock gives the same bundle, to the byte, on any machine and through either engine.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from bundler.errors import LockMalformedError
from bundler.model.carried import BundlePath, CarriedFile, manifest_path
from bundler.model.digest import DigestField, digest_of
from bundler.model.frozen import Frozen, Size
from bundler.model.names import ChartName, RecipeName
from bundler.model.platform import Architecture, parse_platform, rank
from bundler.model.reference import FullName, FullReference
from bundler.model.release import ReleaseTag

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

LOCK_VERSION = 1

SmallSize = Annotated[int, Field(ge=0, le=1 << 26)]
"""Bytes of a manifest or config."""

LayerForm = Literal["zstd", "plain", "registry"]
"""How layers lie in an image archive; see docs/decisions/0003-layer-forms.md."""


def _builders_path(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is not the path of a file")
    return text


def _platform(text: str) -> str:
    return str(parse_platform(text))


BuildersPath = Annotated[str, AfterValidator(_builders_path)]
"""A path on the builder's disk, from the folder of the recipe."""


class LockedFile(Frozen):
    """A file of the release."""

    name: str
    url: str
    size: Size
    digest: DigestField


class LockedLayer(Frozen):
    """A layer as the registry has it (`digest`, `size`) and what it unpacks to (`diff_id`)."""

    digest: DigestField
    size: Size
    media_type: str
    diff_id: DigestField


class LockedArchive(Frozen):
    """An archive of images on the builder's disk; `path` is as the recipe writes it, from the recipe's folder."""

    path: BuildersPath
    size: Size
    digest: DigestField


class LockedBase(Frozen):
    """An image that a Dockerfile names: `digest` is its manifest, or its id where only the engine has it.

    `platform` is what the Dockerfile says it must be for.
    """

    name: str
    platform: str | None = None
    digest: DigestField


class LockedBuild(Frozen):
    """What an image was built from.

    `context` is as the recipe writes it, `digest` covers all that goes in but the images in `bases`: files, Dockerfile,
    target and arguments.
    """

    context: str
    digest: DigestField
    bases: tuple[LockedBase, ...] = ()


class LockedImage(Frozen):
    """An image for one platform. `index` is what the tag pointed to; it is the manifest itself for a single image.

    `archive`, `build` and `engine_id` (its id in the builder's Docker engine) say where it comes from when no registry
    is asked; at most one of them is given.
    `wanted_by` says in words what needs the image.
    """

    reference: FullName
    index: DigestField
    manifest: DigestField
    manifest_size: SmallSize
    platform: Annotated[str, AfterValidator(_platform)]
    config: DigestField
    config_size: SmallSize
    layers: tuple[LockedLayer, ...]
    archive: LockedArchive | None = None
    build: LockedBuild | None = None
    engine_id: DigestField | None = None
    wanted_by: tuple[str, ...] = ()

    @property
    def of_registry(self) -> bool:
        """Say whether a registry has it."""
        return not (self.archive or self.build or self.engine_id)

    @property
    def of_engine(self) -> bool:
        """Say whether only the builder's Docker engine has it, or can build it."""
        return bool(self.build or self.engine_id)


class LeftOut(Frozen):
    """An image of the release's list that is not carried, and why."""

    reference: FullName
    why: str


class EngineInput(Frozen):
    """What decides an image that comes from the builder's Docker engine, as it is now.

    `digest` is that of a build's context, or the image's id. `source` names the context or image in messages.
    """

    reference: str
    source: str
    digest: DigestField


class LockedChart(Frozen):
    """A Helm chart, at `path` in the bundle, and the manifest that installs it.

    `found_by` says in words how it is known that it needs `images`.
    """

    name: ChartName
    chart: str
    version: str
    path: BundlePath
    digest: DigestField
    images: tuple[FullReference, ...]
    found_by: str
    manifest: str


class LockedArchitecture(Frozen):
    """What one CPU architecture gets: the binary, the images of k3s, and the recipe's own images."""

    arch: Architecture
    binary: LockedFile
    checksums: LockedFile
    image_list: LockedFile
    k3s_images: tuple[LockedImage, ...]
    recipe_images: tuple[LockedImage, ...]

    @model_validator(mode="after")
    def _images_run_here(self) -> LockedArchitecture:
        _require_distinct("image", (image.reference for image in self.images))
        for image in self.images:
            if rank(parse_platform(image.platform), self.arch) is None:
                raise ValueError(f"{image.reference} is for {image.platform}, which is not for {self.arch}")
        return self

    @property
    def images(self) -> tuple[LockedImage, ...]:
        """All images, those of k3s first."""
        return self.k3s_images + self.recipe_images


class Compressor(Frozen):
    """What makes the bytes of a packed layer: another library version or level gives other bytes."""

    library: str
    level: Annotated[int, Field(ge=1, le=19)]
    window_log: Annotated[int, Field(ge=10, le=25)]

    def __str__(self) -> str:
        return f"libzstd {self.library}, level {self.level}, window 2^{self.window_log}"


class Lock(Frozen):
    """A recipe with everything decided. `recipe` is the recipe's fingerprint: another one means another lock.

    `digest_names` says that something pins an image by digest, so that nodes have to know it by that name too.
    """

    lock_version: Literal[1] = 1
    name: RecipeName
    recipe: DigestField
    release: ReleaseTag
    layers: LayerForm
    compressor: Compressor
    architectures: Annotated[tuple[LockedArchitecture, ...], Field(min_length=1)]
    files: tuple[CarriedFile, ...] = ()
    charts: tuple[LockedChart, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    digest_names: bool = False

    @model_validator(mode="after")
    def _says_nothing_twice(self) -> Lock:
        _require_distinct("architecture", (each.arch for each in self.architectures))
        _require_distinct("chart", (chart.name for chart in self.charts))
        manifests = (manifest_path(f"{chart.name}.yaml") for chart in self.charts)
        _require_distinct("file", (*(file.path for file in self.files), *manifests))
        carried = {(file.path, file.digest) for file in self.files}
        for chart in self.charts:
            if (chart.path, chart.digest) not in carried:
                raise ValueError(f"the file of the chart {chart.name} is not among its files")
        return self

    def narrow(self, wanted: tuple[Architecture, ...]) -> Lock:
        """Keep only some architectures; the caller knows that the lock has them."""
        kept = tuple(each for each in self.architectures if each.arch in wanted)
        return self.model_copy(update={"architectures": kept})

    @property
    def images(self) -> tuple[LockedImage, ...]:
        """Every image of every architecture."""
        return tuple(image for each in self.architectures for image in each.images)

    @property
    def archives(self) -> tuple[LockedArchive, ...]:
        """The archives that images come from, sorted by path."""
        found = {image.archive.path: image.archive for image in self.images if image.archive}
        return tuple(found[path] for path in sorted(found))


def _require_distinct(what: str, names: Iterable[Hashable]) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"the {what} {name} is there twice")
        seen.add(name)


def parse_lock(data: bytes, source: str) -> Lock:
    """Read a lock; `source` names the file in errors. Raises LockMalformedError."""
    try:
        return Lock.model_validate_json(data, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LockMalformedError(
            f"{source} is not a lock of version {LOCK_VERSION}: {place}: {first['msg']}",
            hint="make it again with: k3s-bundler lock --update RECIPE",
        ) from None


class PackedLayer(Frozen):
    """A layer by its own digest, and what it unpacks to: one zstd frame, or the registry's blob in its form."""

    diff_id: DigestField
    digest: DigestField
    size: Size
    unpacked_size: Size


def packed_layer_key(diff_id: str, compressor: Compressor) -> str:
    """Name the result of packing `diff_id` with `compressor`: the digest of all inputs."""
    return digest_of(b"packed layer\n" + diff_id.encode() + b"\n" + _named(compressor))


@cache
def _named(compressor: Compressor) -> bytes:
    """Write a compressor; every layer of every image asks for the same one."""
    return compressor.to_json()


def registry_layer_key(layer: LockedLayer) -> str:
    """Name the proof that the registry's own bytes of a layer unpack to its diff_id."""
    return digest_of(b"registry layer\n" + layer.digest.encode() + b"\n" + layer.diff_id.encode())


def stored_layer_key(layer: LockedLayer, lock: Lock) -> str:
    """Name what a layer of `lock` is in the store, in the form its archives want."""
    return registry_layer_key(layer) if lock.layers == "registry" else packed_layer_key(layer.diff_id, lock.compressor)
