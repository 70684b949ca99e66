"""Takes layers from wherever they come, checks what they unpack to, and packs them into the store.

Inflate, hash and compress run as one stream: no unpacked layer is ever written to disk.
"""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import zstd
from bundler.errors import DigestMismatchError, IntegrityError
from bundler.model.digest import Digest, digest_from_hex, digest_of
from bundler.model.lock import Compressor, LockedImage, PackedLayer, packed_layer_key

if TYPE_CHECKING:
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

    def lacks(self, image: LockedImage) -> bool:
        """Say whether the config or a layer of `image` is still to be brought."""
        return not self.store.has(image.config) or any(self.packed(layer.diff_id) is None for layer in image.layers)

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


def _at_a_time(compressor: Compressor) -> int:
    """Say how many layers to pack at a time: more than cores only push each other's windows out of the caches."""
    return min(len(os.sched_getaffinity(0)), max(2, MEMORY // zstd.memory_of(compressor)))
