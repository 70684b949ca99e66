"""What stands in an image archive, and in which order.

An OCI image layout (image-spec, image-layout.md) with a `manifest.json` beside it, the form of `docker save`: the one
combination that containerd, k3s, Docker, podman and skopeo all read (docs/decisions/0003-layer-forms.md).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bundler.model.digest import Digest, digest_of, hex_of
from bundler.model.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.model.lock import LayerForm, LockedImage, PackedLayer

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
PLAIN_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
ZSTD_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
MANIFEST_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
LAYER_TYPES = frozenset(
    {
        PLAIN_LAYER_TYPE,
        "application/vnd.oci.image.layer.v1.tar+gzip",
        ZSTD_LAYER_TYPE,
        "application/vnd.docker.image.rootfs.diff.tar",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
    }
)
"""What registries call layers; the last two words of Docker's are told from their bytes."""

NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class ImageContent:
    """An image with the layers it was packed into, one for each layer of the image, in its order.

    `manifest` is the registry's own, byte for byte; only the form `registry` has it.
    """

    image: LockedImage
    layers: tuple[PackedLayer, ...]
    manifest: bytes | None = None


@dataclass(frozen=True)
class Inline:
    """A member whose bytes are made here."""

    name: str
    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)


@dataclass(frozen=True)
class StoredBlob:
    """A member that lies in the store as it is."""

    name: str
    digest: Digest
    size: int


@dataclass(frozen=True)
class PlainLayer:
    """A member whose bytes are those that the stored zstd frame unpacks to."""

    name: str
    layer: PackedLayer

    @property
    def size(self) -> int:
        """Bytes, unpacked."""
        return self.layer.unpacked_size


ArchiveMember = Inline | StoredBlob | PlainLayer


def blob_name(digest: Digest) -> str:
    """Say where a blob lies in an image layout."""
    return f"blobs/sha256/{hex_of(digest)}"


class IndexEntry(NamedTuple):
    """An image in `index.json`: its full name, its platform as `os/architecture[/variant]`, and its manifest."""

    name: str
    platform: str
    manifest: Digest
    size: int
    media_type: str = MANIFEST_TYPE


class DockerEntry(NamedTuple):
    """An image in `manifest.json`, with the digests under which its config and layers lie in the archive."""

    name: str
    config: Digest
    layers: tuple[Digest, ...]


def arrange(contents: Iterable[ImageContent], form: LayerForm) -> tuple[ArchiveMember, ...]:
    """List the members of an archive: metadata first, then blobs in the order of first use by sorted reference."""
    ordered = sorted(contents, key=lambda each: each.image.reference)
    manifests = [_manifest(each, form) for each in ordered]
    blobs: dict[str, ArchiveMember] = {}
    for each, manifest in zip(ordered, manifests, strict=True):
        config = StoredBlob(blob_name(each.image.config), each.image.config, each.image.config_size)
        own = (
            Inline(blob_name(digest_of(manifest)), manifest),
            config,
            *(_member(layer, form) for layer in each.layers),
        )
        for blob in own:
            blobs.setdefault(blob.name, blob)
    index = [
        IndexEntry(_name(each), each.image.platform, digest_of(manifest), len(manifest), manifest_type(manifest))
        for each, manifest in zip(ordered, manifests, strict=True)
    ]
    docker = [
        DockerEntry(_name(each), each.image.config, tuple(_digest(layer, form) for layer in each.layers))
        for each in ordered
    ]
    return (
        Inline("oci-layout", OCI_LAYOUT),
        Inline("index.json", index_json(index)),
        Inline("manifest.json", docker_json(docker)),
        *blobs.values(),
    )


def index_json(entries: Iterable[IndexEntry]) -> bytes:
    """Write `index.json`."""
    descriptors = [
        {
            "mediaType": entry.media_type,
            "digest": entry.manifest,
            "size": entry.size,
            # containerd takes the first name as it is; skopeo and podman look for the bare tag in the second.
            "annotations": {NAME_ANNOTATION: entry.name, TAG_ANNOTATION: parse_reference(entry.name).tag},
            "platform": dict(zip(("os", "architecture", "variant"), entry.platform.split("/"), strict=False)),
        }
        for entry in entries
    ]
    return _compact({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": descriptors})


def docker_json(entries: Iterable[DockerEntry]) -> bytes:
    """Write `manifest.json`, the form of `docker save`."""
    return _compact(
        [
            {
                "Config": blob_name(entry.config),
                "RepoTags": [entry.name],
                "Layers": [blob_name(layer) for layer in entry.layers],
            }
            for entry in entries
        ]
    )


def _name(content: ImageContent) -> str:
    return parse_reference(content.image.reference).name


def _digest(layer: PackedLayer, form: LayerForm) -> Digest:
    return layer.diff_id if form == "plain" else layer.digest


def _member(layer: PackedLayer, form: LayerForm) -> ArchiveMember:
    if form == "plain":
        return PlainLayer(blob_name(layer.diff_id), layer)
    return StoredBlob(blob_name(layer.digest), layer.digest, layer.size)


def manifest_type(manifest: bytes) -> str:
    """Say what a manifest calls itself; OCI's need not say it (image-spec, manifest.md)."""
    return str(json.loads(manifest).get("mediaType") or MANIFEST_TYPE)


def _manifest(content: ImageContent, form: LayerForm) -> bytes:
    if content.manifest is not None:
        return content.manifest
    layers = [
        {
            "mediaType": ZSTD_LAYER_TYPE if form == "zstd" else PLAIN_LAYER_TYPE,
            "digest": _digest(layer, form),
            "size": layer.size if form == "zstd" else layer.unpacked_size,
        }
        for layer in content.layers
    ]
    return manifest_json(content.image.config, content.image.config_size, layers)


def plain_manifest(config: Digest, config_size: int, layers: Iterable[tuple[Digest, int]]) -> bytes:
    """Write the manifest over plain layers (diff_id and bytes), as Docker from 25 on does for an overlay2 store."""
    descriptors = [{"mediaType": PLAIN_LAYER_TYPE, "digest": digest, "size": size} for digest, size in layers]
    return manifest_json(config, config_size, descriptors)


def manifest_json(config: Digest, config_size: int, layers: list[dict[str, Any]]) -> bytes:
    """Write an OCI manifest over descriptors of layers."""
    descriptor = {"mediaType": CONFIG_TYPE, "digest": config, "size": config_size}
    return _compact({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": descriptor, "layers": layers})


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


OCI_LAYOUT = _compact({"imageLayoutVersion": "1.0.0"})
"""The content of `oci-layout`."""
