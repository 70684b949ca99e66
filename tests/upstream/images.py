"""Images for several platforms, as registries really hold them: Docker manifest lists and OCI indexes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tests.upstream.elf import program
from tests.upstream.layers import Compression, Entry, Filler, Layer, filler_layer, layer, sha256

PLATFORMS = ("linux/amd64", "linux/arm64/v8", "linux/arm/v7")


@dataclass(frozen=True)
class Shape:
    """How an image is written down: media types, and what the tool that built it adds."""

    index: str
    manifest: str
    config: str
    gzip: str
    zstd: str = ""
    states_media_type: bool = True
    attestations: bool = False


DOCKER = Shape(
    index="application/vnd.docker.distribution.manifest.list.v2+json",
    manifest="application/vnd.docker.distribution.manifest.v2+json",
    config="application/vnd.docker.container.image.v1+json",
    gzip="application/vnd.docker.image.rootfs.diff.tar.gzip",
)
"""Image Manifest Version 2, Schema 2, as `docker manifest` and older builders push it."""

OCI = Shape(
    index="application/vnd.oci.image.index.v1+json",
    manifest="application/vnd.oci.image.manifest.v1+json",
    config="application/vnd.oci.image.config.v1+json",
    gzip="application/vnd.oci.image.layer.v1.tar+gzip",
    zstd="application/vnd.oci.image.layer.v1.tar+zstd",
    states_media_type=False,
)
"""Plain OCI: `mediaType` is optional in the body (image-spec, manifest.md), so it is left out here."""

BUILDKIT = replace(OCI, states_media_type=True, attestations=True)
"""What `docker buildx build --push` writes: a provenance manifest for `unknown/unknown` beside each platform."""


@dataclass(frozen=True)
class Blob:
    """Bytes with their media type and digest."""

    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """The digest of the bytes."""
        return sha256(self.data)


@dataclass(frozen=True)
class PlatformImage:
    """An image for one platform (`linux/arm64/v8`): manifest, config, and layers in order (one may be listed twice)."""

    platform: str
    manifest: Blob
    config: Blob
    layers: tuple[Layer, ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the uncompressed layers, in order."""
        return tuple(layer.diff_id for layer in self.layers)


@dataclass(frozen=True)
class Image:
    """An image by its reference. `top` is what the tag names: an index, or the manifest of a single-platform image."""

    reference: str
    top: Blob
    platforms: tuple[PlatformImage, ...]
    inner_indexes: tuple[Blob, ...] = ()
    attestations: tuple[PlatformImage, ...] = ()

    @property
    def repository(self) -> str:
        """The path within the registry: `rancher/mirrored-pause`."""
        return self.reference.partition("/")[2].rpartition(":")[0]

    @property
    def tag(self) -> str:
        """The tag: `3.6`."""
        return self.reference.rpartition(":")[2]

    def on(self, architecture: str) -> PlatformImage:
        """Give the image for `amd64`, `arm64` or `arm`; raises LookupError when there is none."""
        for image in self.platforms:
            if image.platform.split("/")[1] == architecture:
                return image
        raise LookupError(f"{self.reference} has no {architecture}: {[image.platform for image in self.platforms]}")


def base_layer(platform: str) -> Layer:
    """Make the layer that all images of a platform start with: it holds the one program they run."""
    architecture = platform.split("/")[1]
    hello = program(architecture, f"Hello from a stand-in image for {platform}.")
    users = b"root:x:0:0:root:/:/bin/hello\n"
    return layer(Entry("bin/hello", hello, mode=0o755), Entry("etc/passwd", users))


def platform_image(shape: Shape, platform: str, layers: tuple[Layer, ...], claims: str = "") -> PlatformImage:
    """Write config and manifest over `layers`; the config says it is for `claims` when that is given: a lie."""
    os, architecture, *variant = (claims or platform).split("/")
    config = {
        "architecture": architecture,
        "os": os,
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/bin/hello"], "Env": ["PATH=/bin"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))],
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    config_blob = Blob(shape.config, _json(config | ({"variant": variant[0]} if variant else {})))
    types = {"gzip": shape.gzip, "zstd": shape.zstd}
    manifest = {
        "schemaVersion": 2,
        "config": _descriptor(config_blob),
        "layers": [_descriptor(Blob(types[layer.compression], layer.data)) for layer in layers],
    }
    return PlatformImage(platform, _document(shape, shape.manifest, manifest), config_blob, layers)


def multi_platform(reference: str, shape: Shape, platforms: tuple[PlatformImage, ...]) -> Image:
    """Tie images of several platforms together under one reference."""
    attestations = tuple(_attestation(image) for image in platforms) if shape.attestations else ()
    entries = [platform_entry(image) for image in platforms]
    entries += [_attestation_entry(note, image) for note, image in zip(attestations, platforms, strict=False)]
    index = _document(shape, shape.index, {"schemaVersion": 2, "manifests": entries})
    return Image(reference, index, platforms, attestations=attestations)


def index_of(shape: Shape, entries: list[dict[str, Any]]) -> Blob:
    """Write an index over descriptors."""
    return _document(shape, shape.index, {"schemaVersion": 2, "manifests": entries})


def platform_entry(image: PlatformImage) -> dict[str, Any]:
    """Describe an image as an index does."""
    os, architecture, *variant = image.platform.split("/")
    platform = {"architecture": architecture, "os": os} | ({"variant": variant[0]} if variant else {})
    return _descriptor(image.manifest) | {"platform": platform}


def standard_image(
    reference: str, shape: Shape = DOCKER, platforms: tuple[str, ...] = PLATFORMS, filler: Filler | None = None
) -> Image:
    """Build an image of three layers: the platform's base, notes for all platforms, and the platform's own file.

    With `filler` comes a fourth layer of that bulk, shared by the platforms. Plain OCI images have a zstd layer.
    """
    name = reference.rpartition("/")[2].partition(":")[0]
    notes = layer(Entry(f"usr/share/{name}/about", f"{reference}, a stand-in\n".encode()))
    bulk = (filler_layer(filler),) if filler else ()
    compression: Compression = "zstd" if shape is OCI else "gzip"
    images = []
    for platform in platforms:
        own = layer(
            Entry(f"bin/{name}", link="hello"),
            Entry(f"etc/{name}/platform", f"{platform}\n".encode() * 20),
            compression=compression,
        )
        images.append(platform_image(shape, platform, (base_layer(platform), notes, own, *bulk)))
    return multi_platform(reference, shape, tuple(images))


def _attestation(image: PlatformImage) -> PlatformImage:
    """Write the provenance manifest that BuildKit pushes beside an image (BuildKit, attestation-storage)."""
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "subject": [{"name": image.manifest.digest}]}
    note = Blob("application/vnd.in-toto+json", _json(statement))
    rootfs = {"type": "layers", "diff_ids": [note.digest]}
    config = Blob(OCI.config, _json({"architecture": "unknown", "os": "unknown", "config": {}, "rootfs": rootfs}))
    manifest = {"schemaVersion": 2, "config": _descriptor(config), "layers": [_descriptor(note)]}
    document = _document(BUILDKIT, BUILDKIT.manifest, manifest)
    return PlatformImage("unknown/unknown", document, config, (Layer("gzip", note.data, note.digest),))


def _attestation_entry(note: PlatformImage, image: PlatformImage) -> dict[str, Any]:
    annotations = {
        "vnd.docker.reference.digest": image.manifest.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return platform_entry(note) | {"annotations": annotations}


def _descriptor(blob: Blob) -> dict[str, Any]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": len(blob.data)}


def _document(shape: Shape, media_type: str, content: dict[str, Any]) -> Blob:
    return Blob(media_type, _json(({"mediaType": media_type} if shape.states_media_type else {}) | content))


def _json(content: dict[str, Any]) -> bytes:
    # Indented with a space: bytes no client gets by writing the same content anew, so that a digest over anything but
    # the raw bytes shows.
    return json.dumps(content, indent=1).encode()
