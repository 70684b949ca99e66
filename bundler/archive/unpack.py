"""Unpacks every layer of an image archive and compares it with what the configs say; the second look after `check`."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import tar, zstd
from bundler.archive.layout import blob_name
from bundler.errors import ArchiveError
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from bundler.archive.check import ArchivedImage

CHUNK = 1 << 20


def unpack_archive(file: BinaryIO, name: str, images: Iterable[ArchivedImage]) -> None:
    """Read an archive whose `images` `check_archive` gave, and unpack each layer once.

    Raises ArchiveError for a layer that does not unpack, or not to what its config says.
    """
    diff_ids = {
        blob_name(layer): (layer, diff_id)
        for image in images
        for layer, diff_id in zip(image.layers, image.diff_ids, strict=True)
    }
    for member in tar.own_members(zstd.unzstd(file) if name.endswith(".zst") else file, name):
        if member.name not in diff_ids or member.content is None:
            continue
        layer, diff_id = diff_ids[member.name]
        try:
            found = digest_from_hex(_unpacked(member.content))
        except ValueError as error:
            raise _fault(f"{name}: layer {layer} does not unpack: {error}") from None
        if found != diff_id:
            raise _fault(f"{name}: layer {layer} unpacks to {found}, its image's config says {diff_id}")


def _unpacked(content: BinaryIO) -> str:
    plain = hashlib.sha256()
    # A second core hashes while this one unpacks; at most one chunk waits.
    with zstd.inflated(content) as unpacked, ThreadPoolExecutor(1, thread_name_prefix="hash") as beside:
        hashing: Future[None] | None = None
        while chunk := unpacked.read(CHUNK):
            if hashing:
                hashing.result()
            hashing = beside.submit(plain.update, chunk)
    return plain.hexdigest()


def _fault(what: str) -> ArchiveError:
    return ArchiveError(what, hint="the image was put together wrongly; build it again, with an empty cache")
