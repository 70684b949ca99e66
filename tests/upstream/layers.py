"""Layers: deterministic tar files, compressed as registries hold them."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import zstandard

Compression = Literal["gzip", "zstd"]


def sha256(data: bytes) -> str:
    """Give the digest of `data` as OCI writes it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True)
class Entry:
    """A file of a layer; a symbolic link when `link` is given."""

    path: str
    data: bytes = b""
    link: str = ""
    mode: int = 0o644


@dataclass(frozen=True)
class Layer:
    """A layer as a registry has it: compressed, with the digest of the tar inside."""

    compression: Compression
    data: bytes
    diff_id: str

    @cached_property
    def digest(self) -> str:
        """The digest of the compressed bytes."""
        return sha256(self.data)


@dataclass(frozen=True)
class Filler:
    """Bulk for tests of progress, resumption and memory: `mebibytes` of bytes that always come out the same."""

    mebibytes: int
    compressible: bool = False

    def data(self) -> bytes:
        """Make the bytes: noise that no compressor shrinks, or one sentence over and over."""
        size = self.mebibytes << 20
        if not self.compressible:
            return hashlib.shake_256(b"filler").digest(size)
        sentence = b"Bulk that compresses well, for tests of progress, resumption and memory.\n"
        return (sentence * (size // len(sentence) + 1))[:size]


@functools.cache
def filler_layer(filler: Filler) -> Layer:
    """Pack the bulk; made once, because it takes a second per 30 MiB."""
    return layer(Entry("usr/share/filler", filler.data()))


def layer(*entries: Entry, compression: Compression = "gzip") -> Layer:
    """Pack `entries` in their order; the same entries give the same layer on the same versions of zlib and libzstd."""
    tar = _tar(entries)
    packed = zstandard.compress(tar, 3) if compression == "zstd" else zlib.compress(tar, 6, wbits=31)
    return Layer(compression, packed, sha256(tar))


def _tar(entries: tuple[Entry, ...]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in sorted({parent for entry in entries for parent in _parents(entry.path)}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for entry in entries:
            member = tarfile.TarInfo(entry.path)
            member.mode, member.size = entry.mode, len(entry.data)
            if entry.link:
                member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.link, 0o777
            tar.addfile(member, io.BytesIO(entry.data))
    return buffer.getvalue()


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
