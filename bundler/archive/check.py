"""Reads an image archive with nothing but itself and says what is in it, or what is wrong with it.

It trusts no name: every blob is hashed, every reference is followed, and nothing may be there that no reference leads
to. What carries no digest (tar headers, the two indexes) must be, to the byte, what the writer writes. The archive is
read once, in the order in which it was written. No layer is unpacked: `unpack` does that, and
docs/decisions/0009-verify.md says why it is apart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal, NamedTuple

from bundler.archive import tar, zstd
from bundler.archive.hashed import CHUNK
from bundler.archive.layout import (
    LAYER_TYPES,
    MANIFEST_TYPES,
    NAME_ANNOTATION,
    OCI_LAYOUT,
    PLAIN_LAYER_TYPE,
    DockerEntry,
    IndexEntry,
    blob_name,
    docker_json,
    index_json,
)
from bundler.errors import ArchiveError
from bundler.model.digest import Digest, digest_from_hex, parse_digest
from bundler.model.platform import Platform

JSON_LIMIT = 20 << 20
"""The most containerd reads of a JSON member (core/images/archive/importer.go), in bytes."""


@dataclass(frozen=True)
class ArchivedImage:
    """An image as an archive has it. `size` is bytes as its blobs lie in the archive, shared ones included.

    `diff_ids` are what its config says that its layers unpack to; `layer_types` are the media types of its layers, each
    once.
    """

    name: str
    platform: Platform
    manifest: Digest
    config: Digest
    layers: tuple[Digest, ...]
    diff_ids: tuple[Digest, ...]
    size: int
    layer_types: frozenset[str]


def check_archive(file: BinaryIO, name: str) -> tuple[ArchivedImage, ...]:
    """Read a `.tar` or `.tar.zst`, told by its `name`, to its end and give its images in the order of its index.

    Raises ArchiveError for the first fault.
    """
    checker = _Checker(name)
    try:
        for member in tar.own_members(zstd.unzstd(file) if name.endswith(".zst") else file, name):
            checker.take(member)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise checker.fault(f"not as the OCI image layout demands: {error}") from None
    return checker.images()


@dataclass(frozen=True)
class _Manifest:
    name: str
    platform: Platform
    digest: Digest
    size: int
    media_type: str


class _Blob(NamedTuple):
    """What a blob is to be; `size` in bytes."""

    kind: Literal["manifest", "config", "layer"]
    digest: Digest
    size: int


@dataclass
class _Checker:
    source: str
    index: list[_Manifest] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    awaited: dict[str, _Blob] = field(default_factory=dict)
    stated: dict[Digest, _Blob] = field(default_factory=dict)
    manifests: dict[Digest, dict[str, Any]] = field(default_factory=dict)
    configs: dict[Digest, dict[str, Any]] = field(default_factory=dict)
    diff_ids: dict[Digest, Digest] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(CHUNK)))

    def fault(self, what: str) -> ArchiveError:
        return ArchiveError(f"{self.source}: {what}", hint="it was damaged or made by something else; build it again")

    def take(self, member: tar.Member) -> None:
        """Read one member whole and note what it says must follow."""
        if member.name in self.seen:
            raise self.fault(f"{member.name} is there twice")
        self.seen[member.name] = None
        match member.name:
            case "oci-layout" | "index.json" | "manifest.json":
                self.raw[member.name] = self._read(member)
                if member.name == "index.json":
                    self._take_index(json.loads(self.raw[member.name]))
            case name if name in self.awaited:
                self._take_blob(member, self.awaited.pop(name))
            case name:
                raise self.fault(f"nothing before {name} asks for it")

    def _take_index(self, index: dict[str, Any]) -> None:
        for descriptor in index["manifests"]:
            digest = parse_digest(descriptor["digest"])
            platform = Platform(**descriptor["platform"])
            name = descriptor["annotations"][NAME_ANNOTATION]
            self.index.append(_Manifest(name, platform, digest, descriptor["size"], descriptor["mediaType"]))
            if descriptor["mediaType"] not in MANIFEST_TYPES:
                raise self.fault(f"{digest} is of the kind {descriptor['mediaType']}")
            self._await("manifest", descriptor)

    def _await(self, kind: Literal["manifest", "config", "layer"], descriptor: dict[str, Any]) -> None:
        blob = _Blob(kind, parse_digest(descriptor["digest"]), descriptor["size"])
        if self.stated.setdefault(blob.digest, blob) != blob:
            raise self.fault(f"{blob.digest} is said to be of two kinds or sizes")
        name = blob_name(blob.digest)
        if name not in self.seen:
            self.awaited[name] = blob

    def _take_blob(self, member: tar.Member, blob: _Blob) -> None:
        if member.size != blob.size:
            raise self.fault(f"{blob.digest} has {member.size} bytes instead of {blob.size}")
        match blob.kind:
            case "manifest":
                self._take_manifest(member, blob.digest)
            case "config":
                self.configs[blob.digest] = self._json(member, blob.digest)
            case "layer":
                self._take_layer(member, blob.digest)

    def _take_manifest(self, member: tar.Member, digest: Digest) -> None:
        manifest = self.manifests[digest] = self._json(member, digest)
        self._await("config", manifest["config"])
        for layer in manifest["layers"]:
            if layer["mediaType"] not in LAYER_TYPES:
                raise self.fault(f"layer {layer['digest']} is of the kind {layer['mediaType']}")
            self._await("layer", layer)

    def _take_layer(self, member: tar.Member, digest: Digest) -> None:
        assert member.content is not None  # noqa: S101  a member of our own tar is a file
        seen = hashlib.sha256()
        while count := member.content.readinto(self.buffer):  # type: ignore[attr-defined]  # as files do
            seen.update(self.buffer[:count])
        self._compare(digest, seen.hexdigest())

    def _read(self, member: tar.Member) -> bytes:
        if member.size > JSON_LIMIT:
            raise self.fault(f"{member.name} has more than {JSON_LIMIT} bytes of JSON")
        assert member.content is not None  # noqa: S101  a member of our own tar is a file
        return member.content.read()

    def _json(self, member: tar.Member, digest: Digest) -> Any:
        data = self._read(member)
        self._compare(digest, hashlib.sha256(data).hexdigest())
        return json.loads(data)

    def _compare(self, digest: Digest, found: str) -> None:
        if digest_from_hex(found) != digest:
            raise self.fault(f"the bytes of {digest} have another hash")

    def images(self) -> tuple[ArchivedImage, ...]:
        """Put together what was read; every image must be whole, and every byte as the writer would write it."""
        if self.awaited:
            raise self.fault(f"{', '.join(sorted(self.awaited))} is missing")
        if len(self.raw) != 3:
            raise self.fault("oci-layout, index.json or manifest.json is missing")
        try:
            images = tuple(self._image(entry) for entry in self.index)
            index = index_json(
                IndexEntry(each.name, str(each.platform), each.digest, each.size, each.media_type)
                for each in self.index
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.fault(f"not as the OCI image layout demands: {error}") from None
        docker = docker_json(DockerEntry(each.name, each.config, each.layers) for each in images)
        if self.raw["manifest.json"] != docker:
            raise self.fault("manifest.json and index.json name different images")
        if self.raw["index.json"] != index or self.raw["oci-layout"] != OCI_LAYOUT:
            raise self.fault("index.json or oci-layout is not as it was written")
        names = [each.name for each in images]
        if names != sorted(set(names)) or list(self.seen) != _order(images):
            raise self.fault("its images or members are in another order than they were written in")
        return images

    def _image(self, entry: _Manifest) -> ArchivedImage:
        manifest = self.manifests[entry.digest]
        config_digest = parse_digest(manifest["config"]["digest"])
        config = self.configs[config_digest]
        if manifest.get("mediaType", entry.media_type) != entry.media_type:
            raise self.fault(f"{entry.digest} is of another kind than its index says")
        layers = tuple(parse_digest(layer["digest"]) for layer in manifest["layers"])
        diff_ids = tuple(parse_digest(diff_id) for diff_id in config["rootfs"]["diff_ids"])
        plain = [layer["mediaType"] == PLAIN_LAYER_TYPE for layer in manifest["layers"]]
        if len(layers) != len(diff_ids) or not all(map(self._unpacks_to, layers, diff_ids, plain)):
            raise self.fault(f"the layers of {entry.name} are not those that its config lists")
        stated = Platform(config["os"], config["architecture"], config.get("variant", ""))
        if stated != entry.platform:
            raise self.fault(f"{entry.name} is of {stated}, but its index says {entry.platform}")
        size = entry.size + manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"])
        types = frozenset(layer["mediaType"] for layer in manifest["layers"])
        return ArchivedImage(entry.name, stated, entry.digest, config_digest, layers, diff_ids, size, types)

    def _unpacks_to(self, layer: Digest, diff_id: Digest, plain: bool) -> bool:  # noqa: FBT001  an argument of map
        """Say whether a layer can be what a config says: as it lies there, or as it was for the image before."""
        return (layer == diff_id or not plain) and self.diff_ids.setdefault(layer, diff_id) == diff_id


def _order(images: tuple[ArchivedImage, ...]) -> list[str]:
    blobs = [blob_name(blob) for each in images for blob in (each.manifest, each.config, *each.layers)]
    return ["oci-layout", "index.json", "manifest.json", *dict.fromkeys(blobs)]
