"""Hashing what is read, on a second core and without reading it twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from bundler.model.digest import Digest, digest_from_hex

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from bundler.progress import Task

CHUNK = 1 << 20
"""Bytes read at a time into a buffer that is used again: a new one each time costs page faults."""

_WORTH_A_THREAD = 1 << 16  # bytes


class HashedFile:
    """A file that is read once and hashed on the way; `beside` hashes while the reader does something else.

    A buffer given to `readinto` must stay as it is until the next call.
    """

    def __init__(self, file: BinaryIO, beside: Executor, task: Task) -> None:
        self._file, self._beside, self._task = file, beside, task
        self._hash = hashlib.sha256()
        self._hashing: Future[None] | None = None

    def readinto(self, buffer: memoryview) -> int:
        """Fill `buffer` as far as the file goes; gives the bytes read, 0 at the end."""
        self._settle()
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]  # files have it, BinaryIO lacks it
        self._update(buffer[:count])
        return count

    def read(self, size: int = -1) -> bytes:
        """Read as a file does."""
        self._settle()
        data = self._file.read(size)
        self._update(data)
        return data

    def finish(self) -> Digest:
        """Read what is left, and give the digest of the whole file."""
        buffer = memoryview(bytearray(CHUNK))
        while self.readinto(buffer):
            pass
        self._settle()
        return digest_from_hex(self._hash.hexdigest())

    def _update(self, data: bytes | memoryview) -> None:
        if len(data) < _WORTH_A_THREAD:
            self._hash.update(data)
        else:
            self._hashing = self._beside.submit(self._hash.update, data)
        self._task.advance(len(data))

    def _settle(self) -> None:
        if self._hashing:
            self._hashing.result()
            self._hashing = None
