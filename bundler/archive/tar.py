"""Tar, byte for byte: GNU format, regular files only, nothing in a header but name and size.

GNU and not PAX, because busybox tar loses what follows a PAX member over 8 GiB; not ustar, which ends at 8 GiB.
"""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, BinaryIO, NamedTuple, cast

from bundler.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
END = bytes(2 * BLOCK)


def header(name: str, size: int, mode: int = 0o644) -> bytes:
    """Make the header of a regular file: owner 0:0, time 0."""
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = mode
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
    """Walk a tar of any kind that comes as a stream; nothing is extracted.

    Raises ArchiveError, naming `source`, when the stream is no tar or is cut short; so does reading a content.
    """
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as tar:
            for info in tar:
                content = cast("BinaryIO", _Foreign(tar.extractfile(info), source)) if info.isreg() else None
                yield Member(info.name, info.size, info.isreg(), content)
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise _not_whole(source, str(error)) from None


def own_members(stream: BinaryIO, source: str) -> Iterator[Member]:
    """Walk a tar made of `header`, `padding` and `END`, to the last byte of the stream.

    Raises ArchiveError for everything else: links, devices, other owners, times or modes, anything after the end.
    """
    while (block := _take(stream, BLOCK, source)) != bytes(BLOCK):
        name, size = _parse_own(block, source)
        content = _Bounded(stream, size, source)
        yield Member(name, size, regular=True, content=cast("BinaryIO", content))
        while content.read(1 << 20):
            pass
        if any(_take(stream, len(padding(size)), source)):
            raise _not_whole(source, f"{name} is followed by something else than zeros")
    if stream.read(BLOCK + 1) != bytes(BLOCK) or stream.read(1):
        raise _not_whole(source, "it does not end as it should")


def _parse_own(block: bytes, source: str) -> tuple[str, int]:
    """Read name and size from a block that `header` made."""
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        if info.size >= 0 and header(info.name, info.size) == block:
            return info.name, info.size
    except (tarfile.TarError, ValueError):
        pass
    raise _not_whole(source, "a header is damaged, or not that of a plain file")


class _Foreign:
    """Content that tarfile reads, with its errors turned into ours."""

    def __init__(self, content: IO[bytes] | None, source: str) -> None:
        self._content, self._source = content, source

    def read(self, size: int = -1) -> bytes:
        if self._content is None:
            return b""
        try:
            return self._content.read(size)
        except tarfile.TarError as error:
            raise _not_whole(self._source, str(error)) from None


class _Bounded:
    """The next `size` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int, source: str) -> None:
        self._stream, self._left, self._source = stream, size, source

    def read(self, size: int = -1) -> bytes:
        data = _take(self._stream, self._left if size < 0 else min(size, self._left), self._source)
        self._left -= len(data)
        return data

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the content goes; gives the bytes read, 0 at the end."""
        wanted = buffer[: min(len(buffer), self._left)]
        count: int = self._stream.readinto(wanted) if wanted else 0  # type: ignore[attr-defined]  # as files do
        if wanted and not count:
            raise _not_whole(self._source, "it is cut short")
        self._left -= count
        return count


def _take(stream: BinaryIO, size: int, source: str) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) < size:
        raise _not_whole(source, "it is cut short")
    return data


def _not_whole(source: str, why: str) -> ArchiveError:
    return ArchiveError(
        f"{source} is not a whole tar archive: {why}", hint="it was damaged or cut short; make or copy it again"
    )
