"""Small image archives made of literal bytes, without a store or an engine."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import zstd
from bundler.archive.layout import ImageContent, arrange
from bundler.archive.writer import write_tar, write_tar_zst
from bundler.model.digest import digest_of
from bundler.model.lock import LockedImage, PackedLayer
from bundler.progress import SilentTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.digest import Digest
    from bundler.model.lock import LayerForm

COMPRESSOR = zstd.compressor(3)


@dataclass
class Blobs:
    """Blobs by digest, as a store has them."""

    data: dict[Digest, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> Digest:
        """Keep a blob."""
        digest = digest_of(data)
        self.data[digest] = data
        return digest

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob."""
        return io.BytesIO(self.data[digest])

    def image(self, reference: str, *layers: bytes, platform: str = "linux/arm64/v8") -> ImageContent:
        """Make an image of layers that are these very bytes."""
        os, architecture, *variant = platform.split("/")
        diff_ids = [digest_of(layer) for layer in layers]
        config = {"architecture": architecture, "os": os, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        data = json.dumps(config | ({"variant": variant[0]} if variant else {})).encode()
        locked = LockedImage(
            reference=reference,
            index=digest_of(b"index"),
            manifest=digest_of(b"manifest"),
            manifest_size=1,
            platform=platform,
            config=self.put(data),
            config_size=len(data),
            layers=(),
        )
        return ImageContent(locked, tuple(self._pack(layer) for layer in layers))

    def _pack(self, layer: bytes) -> PackedLayer:
        packed = zstd.frame(layer, COMPRESSOR)
        return PackedLayer(
            diff_id=digest_of(layer), digest=self.put(packed), size=len(packed), unpacked_size=len(layer)
        )

    def tar(self, contents: Sequence[ImageContent], form: LayerForm) -> bytes:
        """Write a plain tar."""
        out = io.BytesIO()
        write_tar(arrange(contents, form), self.open, out, SilentTask())
        return out.getvalue()

    def tar_zst(self, contents: Sequence[ImageContent]) -> bytes:
        """Write the `plain` form inside zstd."""
        out = io.BytesIO()
        write_tar_zst(arrange(contents, "plain"), self.open, COMPRESSOR, out, SilentTask())
        return out.getvalue()
