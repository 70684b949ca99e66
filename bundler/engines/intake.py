"""Takes layers from wherever they come, checks what they unpack to, and packs them into the store.

Inflate, hash and compress run as one stream: no unpacked layer is ever written to disk.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, BinaryIO, cast

from bundler.archive import zstd
from bundler.errors import DigestMismatchError, IntegrityError
from bundler.model.digest import Digest, digest_from_hex, digest_of
from bundler.model.lock import Compressor, LockedImage, LockedLayer, PackedLayer, packed_layer_key, registry_layer_key

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model.lock import LayerForm
    from bundler.progress import Task
    from bundler.store.store import Store

CHUNK = 1 << 18

MEMORY = 200 << 20
"""Bytes that all layers being packed at a time may take, two excepted: with the rest of the process below 256 MiB."""


class Intake:
    """What engines deliver to: packed layers and configs of one lock. Safe to use from several threads."""

    def __init__(self, store: Store, compressor: Compressor) -> None:
        self.store = store
        self._compressor = compressor
        self._packing = threading.BoundedSemaphore(_at_a_time(compressor))

    def packed(self, diff_id: Digest) -> PackedLayer | None:
        """Find the packed form of a layer, if it is there."""
        layer = self.store.packed_layer(packed_layer_key(diff_id, self._compressor))
        return layer if layer and layer.diff_id == diff_id else None

    def stored(self, layer: LockedLayer) -> PackedLayer | None:
        """Find what a layer is in the store, if it is there."""
        return self.packed(layer.diff_id)

    def names(self, layer: LockedLayer) -> tuple[Digest, ...]:
        """List the digests of which any will do for a layer: as the registry has it, and unpacked."""
        return layer.digest, layer.diff_id

    def lacks(self, image: LockedImage) -> bool:
        """Say whether the config, a layer or a wanted manifest of `image` is still to be brought."""
        return (
            not self.store.has(image.config)
            or any(self.stored(layer) is None for layer in image.layers)
            or self.lacks_manifest(image)
        )

    def lacks_manifest(self, image: LockedImage) -> bool:  # noqa: ARG002  the form `registry` says something else
        """Say whether the registry's manifest of `image` is wanted and still to be brought."""
        return False

    def take_manifest(self, data: bytes, image: LockedImage, source: str) -> None:
        """Keep the registry's manifest; raises DigestMismatchError when it is not that of the lock."""
        found = digest_of(data)
        if found != image.manifest:
            raise DigestMismatchError(
                f"{source} gave a manifest {found} instead of {image.manifest}", hint="run the build again"
            )
        self.store.put(data)

    def take(self, stream: BinaryIO, layer: LockedLayer, source: str, task: Task) -> PackedLayer:
        """Take a layer of the lock in any form that `names` allows; raises as `take_layer` does."""
        return self.take_layer(stream, layer.diff_id, source, task)

    def take_part(self, part: Path, layer: LockedLayer, source: str, task: Task) -> PackedLayer:
        """Take a layer from a finished download of its digest, which goes away; raises as `take_layer` does."""
        with part.open("rb") as stream:
            taken = self.take(stream, layer, source, task)
        # The packed form is what stays; a second copy of every layer would double the cache.
        part.unlink()
        return taken

    def take_config(self, data: bytes, digest: Digest, source: str) -> None:
        """Keep a config; raises DigestMismatchError when it is not the one asked for."""
        found = digest_of(data)
        if found != digest:
            raise DigestMismatchError(
                f"{source} gave a config {found} instead of {digest}",
                hint="run the build again; if it stays, the engine's image store is damaged",
            )
        self.store.put(data)

    def take_layer(self, stream: BinaryIO, diff_id: Digest, source: str, task: Task) -> PackedLayer:
        """Pack a layer that comes plain, gzipped or in zstd; its plain bytes must have the hash `diff_id`.

        Raises DigestMismatchError, or IntegrityError when the compressed stream is damaged.
        """
        layer = self.pack(stream, source, {diff_id}, task)
        if layer is None:
            raise DigestMismatchError(
                f"{source} gave a layer that does not unpack to {diff_id}",
                hint="the image's config and its layers do not belong together; push the image again",
            )
        return layer

    def pack(self, stream: BinaryIO, source: str, wanted: set[Digest], task: Task) -> PackedLayer | None:
        """Pack a layer if it turns out to be one of `wanted` diff_ids; otherwise nothing remains of it.

        Waits while as many layers are being packed as cores and memory allow. Raises IntegrityError when the
        compressed stream is damaged.
        """
        with self._packing:
            return self._pack(stream, source, wanted, task)

    def _pack(self, stream: BinaryIO, source: str, wanted: set[Digest], task: Task) -> PackedLayer | None:
        plain = hashlib.sha256()
        size = 0
        with self.store.writer() as writer:
            frame = zstd.FrameWriter(writer, self._compressor)
            try:
                with zstd.inflated(stream) as unpacked:
                    while chunk := unpacked.read(CHUNK):
                        plain.update(chunk)
                        size += len(chunk)
                        frame.write(chunk)
                        task.advance(len(chunk))
            except ValueError as error:
                raise IntegrityError(
                    f"{source}: {error}", hint="run the build again; the layer arrived damaged"
                ) from None
            diff_id = digest_from_hex(plain.hexdigest())
            if diff_id not in wanted:
                return None
            frame.finish()
            layer = PackedLayer(diff_id=diff_id, digest=writer.commit(), size=writer.size, unpacked_size=size)
        self.store.remember_packed_layer(packed_layer_key(diff_id, self._compressor), layer)
        return layer


class VerbatimIntake(Intake):
    """Keeps manifests and layers as the registry has them, for the form `registry`; they are proven all the same."""

    def stored(self, layer: LockedLayer) -> PackedLayer | None:
        """Find the registry's own bytes of a layer."""
        found = self.store.packed_layer(registry_layer_key(layer))
        return found if found and (found.digest, found.diff_id) == (layer.digest, layer.diff_id) else None

    def names(self, layer: LockedLayer) -> tuple[Digest, ...]:
        """Take nothing but the registry's own bytes."""
        return (layer.digest,)

    def lacks_manifest(self, image: LockedImage) -> bool:
        """Say whether the manifest is still to be brought."""
        return not self.store.has(image.manifest)

    def pack(self, stream: BinaryIO, source: str, wanted: set[Digest], task: Task) -> PackedLayer | None:  # noqa: ARG002
        """Take no layer that only unpacks to the right bytes."""
        return None

    def take_part(self, part: Path, layer: LockedLayer, source: str, task: Task) -> PackedLayer:
        """Keep a finished download as it is, once it was seen what it unpacks to; raises as `take` does."""
        with part.open("rb") as stream:
            unpacked, size = _unpacked(stream, source, task)
        self._require((layer.digest, unpacked), layer, source)
        self.store.adopt(part, layer.digest)
        return self._remember(layer, layer.size, size)

    def take(self, stream: BinaryIO, layer: LockedLayer, source: str, task: Task) -> PackedLayer:
        """Keep a layer as it comes; raises DigestMismatchError for other bytes, IntegrityError for damaged ones."""
        with self.store.writer() as writer:
            raw = cast("BinaryIO", _Copied(stream, writer))
            unpacked, size = _unpacked(raw, source, task)
            while raw.read(CHUNK):  # what follows the end of compressed data belongs to the blob
                pass
            self._require((writer.digest, unpacked), layer, source)
            writer.commit()
        return self._remember(layer, writer.size, size)

    @staticmethod
    def _require(found: tuple[Digest, Digest], layer: LockedLayer, source: str) -> None:
        if found != (layer.digest, layer.diff_id):
            raise DigestMismatchError(
                f"{source} gave {found[0]}, which unpacks to {found[1]}, for the layer {layer.digest} of the "
                f"registry, which unpacks to {layer.diff_id}",
                hint="the image's config and its layers do not belong together; push the image again",
            )

    def _remember(self, layer: LockedLayer, size: int, unpacked_size: int) -> PackedLayer:
        kept = PackedLayer(diff_id=layer.diff_id, digest=layer.digest, size=size, unpacked_size=unpacked_size)
        self.store.remember_packed_layer(registry_layer_key(layer), kept)
        return kept


def _unpacked(stream: BinaryIO, source: str, task: Task) -> tuple[Digest, int]:
    """Say what a layer unpacks to, and to how many bytes; raises IntegrityError."""
    plain, size = hashlib.sha256(), 0
    try:
        with zstd.inflated(stream) as unpacked:
            while chunk := unpacked.read(CHUNK):
                plain.update(chunk)
                size += len(chunk)
                task.advance(len(chunk))
    except ValueError as error:
        raise IntegrityError(f"{source}: {error}", hint="run the build again; the layer arrived damaged") from None
    return digest_from_hex(plain.hexdigest()), size


def intake_for(store: Store, compressor: Compressor, layers: LayerForm) -> Intake:
    """Make the intake that layers of this form need."""
    return VerbatimIntake(store, compressor) if layers == "registry" else Intake(store, compressor)


class _Copied:
    """A stream whose bytes are written elsewhere as they are read."""

    def __init__(self, stream: BinaryIO, target: zstd.Sink) -> None:
        self._stream, self._target = stream, target

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._target.write(data)
        return data


def _at_a_time(compressor: Compressor) -> int:
    """Say how many layers to pack at a time: more than cores only push each other's windows out of the caches."""
    return min(len(os.sched_getaffinity(0)), max(2, MEMORY // zstd.memory_of(compressor)))
