"""Writes an image archive from what lies in the store: copies where it can, and compresses no layer twice."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import tar, zstd
from bundler.archive.layout import Inline, PlainLayer, StoredBlob
from bundler.errors import CacheDamagedError
from bundler.model.digest import Digest, digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.archive.layout import ArchiveMember
    from bundler.model.lock import Compressor
    from bundler.progress import Task

OpenBlob = Callable[[Digest], BinaryIO]
"""Opens a blob of the store."""

CHUNK = 1 << 20


def write_tar(members: Iterable[ArchiveMember], open_blob: OpenBlob, out: BinaryIO, task: Task) -> None:
    """Write a plain tar. Raises CacheDamagedError when a blob is not what its digest says."""
    for member in members:
        out.write(tar.header(member.name, member.size))
        match member:
            case Inline():
                out.write(member.data)
            case StoredBlob():
                _copy(open_blob, member.digest, member.size, out, task)
            case PlainLayer():
                _unpack(open_blob, member, out, task)
        out.write(tar.padding(member.size))
    out.write(tar.END)


def write_tar_zst(
    members: Iterable[ArchiveMember], open_blob: OpenBlob, compressor: Compressor, out: BinaryIO, task: Task
) -> None:
    """Write a tar inside zstd: a layer's frame is copied from the store, what stands between gets frames of its own.

    Frames may follow one another (RFC 8878, 3), so the layer cached for the `zstd` form serves this one too. Raises
    CacheDamagedError when a blob is not what its digest says.
    """
    between = bytearray()
    for member in members:
        between += tar.header(member.name, member.size)
        match member:
            case Inline():
                between += member.data
            case StoredBlob():
                config = io.BytesIO()
                _copy(open_blob, member.digest, member.size, config, task)
                between += config.getvalue()
            case PlainLayer():
                out.write(zstd.frame(bytes(between), compressor))
                between.clear()
                _copy(open_blob, member.layer.digest, member.layer.size, out, task)
        between += tar.padding(member.size)
    out.write(zstd.frame(bytes(between) + tar.END, compressor))


def _copy(open_blob: OpenBlob, digest: Digest, size: int, out: BinaryIO, task: Task) -> None:
    with open_blob(digest) as blob:
        _pour(blob, digest, size, out, task)


def _unpack(open_blob: OpenBlob, member: PlainLayer, out: BinaryIO, task: Task) -> None:
    with open_blob(member.layer.digest) as blob, zstd.inflated(blob) as plain:
        try:
            _pour(plain, member.layer.diff_id, member.size, out, task)
        except ValueError:
            raise _changed(member.layer.digest) from None


def _pour(source: BinaryIO, digest: Digest, size: int, out: BinaryIO, task: Task) -> None:
    seen, left = hashlib.sha256(), size
    while chunk := source.read(CHUNK):
        seen.update(chunk)
        left -= len(chunk)
        out.write(chunk)
        task.advance(len(chunk))
    if left or digest_from_hex(seen.hexdigest()) != digest:
        raise _changed(digest)


def _changed(digest: Digest) -> CacheDamagedError:
    return CacheDamagedError(
        f"{digest} changed in the cache, or its size was noted wrongly, before it was packed",
        hint="check the disk, then run: k3s-bundler cache verify",
    )
