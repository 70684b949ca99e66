"""Reads an image archive with nothing but itself and says what is in it, or what is wrong with it.

It trusts no name: every blob is hashed, every layer is unpacked and hashed again, every reference is followed, and
nothing may be there that no reference leads to. What carries no digest (tar headers, the two indexes) must be, to the
byte, what the writer writes. The archive is read once, in the order in which it was written.
"""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from bundler.archive import tar, zstd
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

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

JSON_LIMIT = 20 << 20
"""The most containerd reads of a JSON member (core/images/archive/importer.go), in bytes."""


@dataclass(frozen=True)
class ArchivedImage:
    """An image as an archive has it. `size` is bytes as its blobs lie in the archive, shared ones included.

    `layer_types` are the media types of its layers, each once.
    """

    name: str
    platform: Platform
    manifest: Digest
    config: Digest
    layers: tuple[Digest, ...]
    size: int
    layer_types: frozenset[str]


def check_archive(path: Path) -> tuple[ArchivedImage, ...]:
    """Read a `.tar` or `.tar.zst` whole and give its images in the order of its index.

    Raises ArchiveError for the first fault.
    """
    checker = _Checker(path.name)
    with path.open("rb") as file:
        try:
            stream = zstd.unzstd(file) if path.name.endswith(".zst") else file
            for member in tar.own_members(stream, path.name):
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


@dataclass
class _Checker:
    source: str
    index: list[_Manifest] = field(default_factory=list)
    raw: dict[str, bytes] = field(default_factory=dict)
    awaited: dict[str, tuple[str, Any]] = field(default_factory=dict)
    manifests: dict[Digest, dict[str, Any]] = field(default_factory=dict)
    configs: dict[Digest, dict[str, Any]] = field(default_factory=dict)
    diff_ids: dict[Digest, Digest] = field(default_factory=dict)
    seen: dict[str, None] = field(default_factory=dict)

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
                self._take_blob(member, *self.awaited.pop(name))
            case name:
                raise self.fault(f"nothing before {name} asks for it")

    def _take_index(self, index: dict[str, Any]) -> None:
        for descriptor in index["manifests"]:
            digest = parse_digest(descriptor["digest"])
            platform = Platform(**descriptor["platform"])
            name = descriptor["annotations"][NAME_ANNOTATION]
            self.index.append(_Manifest(name, platform, digest, descriptor["size"], descriptor["mediaType"]))
            self._await(digest, descriptor["size"], "manifest", descriptor["mediaType"])

    def _await(self, digest: Digest, size: int, kind: str, media_type: str) -> None:
        name = blob_name(digest)
        if name not in self.seen:
            self.awaited[name] = (kind, (digest, size, media_type))

    def _take_blob(self, member: tar.Member, kind: str, descriptor: tuple[Digest, int, str]) -> None:
        digest, size, media_type = descriptor
        if member.size != size:
            raise self.fault(f"{digest} has {member.size} bytes instead of {size}")
        if kind == "layer":
            self.diff_ids[digest] = self._unpack(member, digest, media_type)
        elif kind == "config":
            self.configs[digest] = self._json(member, digest)
        else:
            if media_type not in MANIFEST_TYPES:
                raise self.fault(f"{digest} is of the kind {media_type}")
            manifest = self.manifests[digest] = self._json(member, digest)
            if manifest.get("mediaType", media_type) != media_type:
                raise self.fault(f"{digest} is of another kind than its index says")
            config = manifest["config"]
            self._await(parse_digest(config["digest"]), config["size"], "config", config["mediaType"])
            for layer in manifest["layers"]:
                self._await(parse_digest(layer["digest"]), layer["size"], "layer", layer["mediaType"])

    def _read(self, member: tar.Member) -> bytes:
        if member.size > JSON_LIMIT:
            raise self.fault(f"{member.name} has more than {JSON_LIMIT} bytes of JSON")
        assert member.content is not None  # noqa: S101  a member of our own tar is a file
        return member.content.read()

    def _json(self, member: tar.Member, digest: Digest) -> Any:
        data = self._read(member)
        self._compare(digest, hashlib.sha256(data).hexdigest())
        return json.loads(data)

    def _unpack(self, member: tar.Member, digest: Digest, media_type: str) -> Digest:
        assert member.content is not None  # noqa: S101  a member of our own tar is a file
        raw = _Hashed(member.content)
        if media_type not in LAYER_TYPES:
            raise self.fault(f"layer {digest} is of the kind {media_type}")
        if media_type == PLAIN_LAYER_TYPE:
            while raw.read(1 << 20):
                pass
            self._compare(digest, raw.hash.hexdigest())
            return digest
        plain = hashlib.sha256()
        # A second core hashes while this one unpacks; at most one chunk waits.
        with zstd.inflated(raw) as unpacked, ThreadPoolExecutor(1, thread_name_prefix="hash") as beside:  # type: ignore[arg-type]
            hashing: Future[None] | None = None
            while chunk := unpacked.read(1 << 20):
                if hashing:
                    hashing.result()
                hashing = beside.submit(plain.update, chunk)
        self._compare(digest, raw.hash.hexdigest())
        return digest_from_hex(plain.hexdigest())

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
        layers = tuple(parse_digest(layer["digest"]) for layer in manifest["layers"])
        if [self.diff_ids[layer] for layer in layers] != config["rootfs"]["diff_ids"]:
            raise self.fault(f"the layers of {entry.name} do not unpack to what its config says")
        stated = Platform(config["os"], config["architecture"], config.get("variant", ""))
        if stated != entry.platform:
            raise self.fault(f"{entry.name} is of {stated}, but its index says {entry.platform}")
        size = entry.size + manifest["config"]["size"] + sum(layer["size"] for layer in manifest["layers"])
        types = frozenset(layer["mediaType"] for layer in manifest["layers"])
        return ArchivedImage(entry.name, stated, entry.digest, config_digest, layers, size, types)


def _order(images: tuple[ArchivedImage, ...]) -> list[str]:
    blobs = [blob_name(blob) for each in images for blob in (each.manifest, each.config, *each.layers)]
    return ["oci-layout", "index.json", "manifest.json", *dict.fromkeys(blobs)]


class _Hashed:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.hash.update(data)
        return data
