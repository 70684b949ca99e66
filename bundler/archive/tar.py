"""Tar, byte for byte: GNU format, regular files only, nothing in a header but name and size.

GNU and not PAX, because busybox tar loses what follows a PAX member over 8 GiB; not ustar, which ends at 8 GiB.
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bundler.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: str, size: int) -> bytes:
    """Make the header of a regular file: mode 0644, owner 0:0, time 0."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    """Give the zeros that follow `size` bytes of content."""
    return bytes(-size % BLOCK)


class Member(NamedTuple):
    """A member while it is being read: its content must be read before the next one is asked for."""

    name: str
    size: int
    regular: bool
    content: BinaryIO | None


def members(stream: BinaryIO, source: str) -> Iterator[Member]:
    """Walk a tar that comes as a stream; nothing is extracted.

    Raises ArchiveError, naming `source`, when the stream is no tar or is cut short.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                yield Member(info.name, info.size, info.isreg(), content)  # type: ignore[arg-type]
    except tarfile.TarError as error:
        raise ArchiveError(
            f"{source} is not a whole tar archive: {error}",
            hint="it was damaged or cut short; make or copy it again",
        ) from None
