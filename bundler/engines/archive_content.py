"""Reads an archive of images from disk and says what is in it: `docker save` of every Docker, podman's, OCI layouts.

The file is read once, member by member, and nothing is unpacked. As with a save stream, names are not believed: a
blob is what its bytes hash to, and a layer is what it unpacks to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from bundler.archive import tar, zstd
from bundler.archive.layout import MANIFEST_TYPE, NAME_ANNOTATION, TAG_ANNOTATION, plain_manifest
from bundler.engines.manifest import (
    Config,
    Descriptor,
    Index,
    Manifest,
    choose,
    parse_config,
    parse_manifest,
    require_platform,
)
from bundler.errors import ArchiveError, IncompleteImageError, MissingPlatformError, host_error
from bundler.model.digest import Digest, digest_from_hex, digest_of, parse_digest
from bundler.model.lock import LockedArchive, LockedImage, LockedLayer
from bundler.model.platform import rank
from bundler.model.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bundler.model.platform import Architecture
    from bundler.progress import Task

JSON_LIMIT = 20 << 20
"""The most containerd reads of a JSON member (core/images/archive/importer.go), in bytes."""

CHUNK = 1 << 20

_DEEPEST_INDEX = 3
_JSON_BEGINS = (b"{", b"[")


@dataclass(frozen=True)
class _Blob:
    """Bytes of a member by their digest and size; what they unpack to, which is the same for what is not compressed."""

    digest: Digest
    size: int
    diff_id: Digest
    unpacked_size: int


@dataclass(frozen=True)
class NamedImage:
    """An image of the archive: its manifest or index, and the names it has there, in full, sorted."""

    names: tuple[str, ...]
    top: Descriptor


@dataclass(frozen=True)
class ArchiveContent:
    """Everything an archive holds. Make it with `read_archive` or `read_save_stream`.

    `written_here` are the manifests that the archive does not have and that were written for it. `archive` is None for
    a stream that nobody keeps.
    """

    source: str
    archive: LockedArchive | None
    images: tuple[NamedImage, ...]
    blobs: Mapping[Digest, _Blob]
    json: Mapping[Digest, bytes]
    written_here: frozenset[Digest]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name an image has in the archive, sorted."""
        return tuple(sorted({name for image in self.images for name in image.names}))

    def config(self, image: LockedImage) -> bytes:
        """Give the config of an image that `lock` found."""
        return self.json[image.config]

    def lock(self, image: NamedImage, reference: str, wanted: Architecture) -> LockedImage:
        """Find the image for one architecture and prove that all of it is there.

        Raises MissingPlatformError, WrongArchitectureError, IncompleteImageError, UnsupportedImageError and
        MalformedAnswerError.
        """
        name = f"{reference} in {self.source}"
        chosen, manifest = self._manifest(image.top, wanted, name, _DEEPEST_INDEX)
        body = self.json.get(manifest.config.digest)
        if body is None:
            raise self._incomplete(name, manifest.config.digest)
        config = parse_config(body, name)
        if image.top.digest == chosen.digest and rank(config.platform, wanted) is None:
            raise MissingPlatformError(
                f"{name} is not there for linux/{wanted}; it is there for {config.platform}",
                hint=f"save it for {wanted} too, or take {wanted} out of the recipe's arch",
            )
        require_platform(config, wanted, name)
        return LockedImage(
            reference=reference,
            index=image.top.digest,
            manifest=chosen.digest,
            manifest_size=chosen.size,
            platform=str(config.platform),
            config=manifest.config.digest,
            config_size=len(body),
            layers=tuple(self._layers(manifest, config, name)),
            archive=self.archive,
        )

    def _manifest(self, top: Descriptor, wanted: Architecture, name: str, depth: int) -> tuple[Descriptor, Manifest]:
        body = self.json.get(top.digest)
        if body is None:
            raise self._incomplete(name, top.digest)
        parsed = parse_manifest(body, top.media_type, name)
        if isinstance(parsed, Manifest):
            return Descriptor(top.media_type, top.digest, len(body), None), parsed
        if depth == 0:
            raise ArchiveError(f"{name}: its index holds indexes of indexes", hint="save the image for one platform")
        # Saving one platform of several leaves the index as it was: what it names need not be there.
        present = Index(tuple(entry for entry in parsed.entries if entry.digest in self.json))
        return self._manifest(choose(present, wanted, name), wanted, name, depth - 1)

    def _layers(self, manifest: Manifest, config: Config, name: str) -> Iterator[LockedLayer]:
        if len(config.diff_ids) != len(manifest.layers):
            raise ArchiveError(
                f"{name}: its manifest has {len(manifest.layers)} layers, its config {len(config.diff_ids)}",
                hint="the archive was written wrongly; save the image again",
            )
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            # A layer of docker save may lie there compressed, which its manifest does not say.
            blob = self.blobs.get(layer.digest)
            if blob is None:
                raise self._incomplete(name, layer.digest)
            if blob.diff_id != diff_id:
                raise ArchiveError(
                    f"{name}: layer {layer.digest} does not unpack to {diff_id}, as its config says",
                    hint="the archive was written wrongly; save the image again",
                )
            yield LockedLayer(digest=layer.digest, size=layer.size, media_type=layer.media_type, diff_id=diff_id)

    def _incomplete(self, name: str, digest: Digest) -> IncompleteImageError:
        return IncompleteImageError(
            f"{name}: {digest} is not in the archive",
            hint="the archive is a part of an image: save it again, all of it (docker save --platform, skopeo copy)",
        )


def read_archive(path: Path, name: str, task: Task) -> ArchiveContent:
    """Read the archive at `path`, which the recipe calls `name`; it may be in gzip or zstd as a whole.

    Raises ArchiveError when it is no archive of images, UnsupportedImageError, and host errors.
    """
    reader = _Reader(name)
    try:
        with path.open("rb") as file:
            whole = _Hashed(file, task)
            with zstd.inflated(cast("BinaryIO", whole)) as stream:
                reader.take_all(stream)
            while whole.read(CHUNK):  # a tar may be followed by anything
                pass
    except ValueError as error:
        raise ArchiveError(
            f"{name}: {error}", hint="it was damaged or cut short, or it is no archive of images; save it again"
        ) from None
    except OSError as error:
        raise host_error(error, path) from error
    digest = digest_from_hex(whole.hash.hexdigest())
    return reader.content(LockedArchive(path=name, size=whole.size, digest=digest))


def read_save_stream(stream: BinaryIO, source: str, task: Task) -> ArchiveContent:
    """Read what an engine saves, to its end; `source` names it in errors. Raises as `read_archive` does."""
    whole = _Hashed(stream, task)
    reader = _Reader(source)
    try:
        reader.take_all(cast("BinaryIO", whole))
    except ValueError as error:
        raise ArchiveError(f"{source}: {error}", hint="the engine's image store is damaged: see its log") from None
    while whole.read(CHUNK):  # a daemon takes an early end for an error
        pass
    return reader.content(None)


class _Hashed:
    """A stream that hashes and counts what is read from it."""

    def __init__(self, stream: BinaryIO, task: Task | None = None) -> None:
        self._stream, self._task = stream, task
        self.hash = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.hash.update(data)
        self.size += len(data)
        if self._task:
            self._task.advance(len(data))
        return data


class _Reader:
    """Takes the members of an archive, in any order."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._by_name: dict[str, _Blob] = {}
        self._json: dict[Digest, bytes] = {}
        self._written: set[Digest] = set()

    def take_all(self, stream: BinaryIO) -> None:
        """Take every member of a tar."""
        for member in tar.members(stream, self._source):
            self.take(member)

    def take(self, member: tar.Member) -> None:
        """Hash a member and what it unpacks to, and keep it when it may be JSON."""
        if member.content is None:
            return
        raw, unpacked, kept, size = _Hashed(member.content), hashlib.sha256(), bytearray(), 0
        with zstd.inflated(cast("BinaryIO", raw)) as plain:
            while chunk := plain.read(CHUNK):
                may_be_json = bool(kept) if size else chunk.lstrip()[:1] in _JSON_BEGINS
                unpacked.update(chunk)
                size += len(chunk)
                if may_be_json and size <= JSON_LIMIT:
                    kept += chunk
        while raw.read(CHUNK):  # what follows the end of compressed data counts as well
            pass
        digest, diff_id = digest_from_hex(raw.hash.hexdigest()), digest_from_hex(unpacked.hexdigest())
        self._by_name[member.name.removeprefix("./")] = _Blob(digest, raw.size, diff_id, size)
        if kept and size <= JSON_LIMIT and raw.size == size:
            self._json[digest] = bytes(kept)

    def content(self, archive: LockedArchive | None) -> ArchiveContent:
        """Put together what was read; raises ArchiveError when nothing says what the images are."""
        try:
            if "index.json" in self._by_name:
                images = tuple(self._of_layout())
            elif "manifest.json" in self._by_name:
                images = tuple(self._of_docker())
            else:
                raise ArchiveError(
                    f"{self._source} is no archive of images: it has neither index.json nor manifest.json",
                    hint="make it with docker save, podman save or skopeo copy; a folder of an OCI layout needs a tar",
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ArchiveError(
                f"{self._source} says wrongly what is in it: {type(error).__name__}: {error}",
                hint="it was written by something that breaks the format; save the image again",
            ) from None
        blobs = {blob.digest: blob for blob in self._by_name.values()}
        by_diff_id = {blob.diff_id: blob for blob in self._by_name.values()}
        return ArchiveContent(
            self._source, archive, images, {**by_diff_id, **blobs}, self._json, frozenset(self._written)
        )

    def _read(self, name: str) -> Any:
        return json.loads(self._json[self._by_name[name].digest])

    def _of_layout(self) -> Iterator[NamedImage]:
        """Read an OCI image layout (image-spec, image-layout.md)."""
        for descriptor in self._read("index.json")["manifests"]:
            notes = descriptor.get("annotations") or {}
            full = notes.get(NAME_ANNOTATION)
            # The bare tag, as Docker and skopeo write it, is no name (containerd core/images/archive/reference.go).
            short = notes.get(TAG_ANNOTATION, "")
            names = _full_names([full] if full else [short] if ":" in short or "/" in short else [])
            top = Descriptor(str(descriptor["mediaType"]), parse_digest(descriptor["digest"]), descriptor["size"], None)
            yield NamedImage(names, top)

    def _of_docker(self) -> Iterator[NamedImage]:
        """Read what `docker save` wrote before version 25; its layers have no manifest, so one is written for them."""
        sizes = {blob.diff_id: blob.unpacked_size for blob in self._by_name.values()}
        for entry in self._read("manifest.json"):
            config = self._by_name[entry["Config"].removeprefix("./")]
            diff_ids = parse_config(self._json[config.digest], self._source).diff_ids
            missing = [diff_id for diff_id in diff_ids if diff_id not in sizes]
            if missing:
                raise IncompleteImageError(
                    f"{self._source}: layer {missing[0]} of {entry.get('RepoTags') or 'an image'} is not there",
                    hint="the archive is a part of an image: save it again",
                )
            body = plain_manifest(config.digest, config.size, [(diff_id, sizes[diff_id]) for diff_id in diff_ids])
            digest = digest_of(body)
            self._json[digest] = body
            self._written.add(digest)
            yield NamedImage(
                _full_names(entry.get("RepoTags") or []), Descriptor(MANIFEST_TYPE, digest, len(body), None)
            )


def _full_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Write names as the kubelet asks for them; what is no name with a tag is left out."""
    found = set()
    for text in texts:
        try:
            found.add(parse_reference(text).name)
        except ValueError:
            continue
    return tuple(sorted(found))
