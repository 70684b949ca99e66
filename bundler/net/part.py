"""The unfinished file of a transfer: hashed as it grows, resumable after the process that wrote it died."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundler.errors import host_error
from bundler.model.digest import Digest, digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from pathlib import Path

    from bundler.progress import Task

CHUNK = 1 << 20
SIDECAR_LIMIT = 16 << 10


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a part came from, and what that server called the version of the file.

    `url` is without user, password and query: the sidecar must hold no secret.
    """

    url: str
    etag: str | None
    last_modified: str | None

    @property
    def validator(self) -> str | None:
        """What If-Range may hold: a strong ETag, or the date (RFC 9110, 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return None if self.etag else self.last_modified


class Part:
    """A file that grows. Bytes are on disk, as far as the kernel is concerned, as soon as `append` returns."""

    def __init__(self, path: Path, file: FileIO, task: Task) -> None:
        self._path, self._file, self._task = path, file, task
        self._hash = hashlib.sha256()
        self.size = 0
        self.finished = False

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return digest_from_hex(self._hash.hexdigest())

    def append(self, data: bytes) -> None:
        """Write and hash more bytes; raises DiskFullError and kin."""
        rest = memoryview(data)
        with _our_errors(self._path):
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        self._grow(data)

    def restart(self) -> None:
        """Throw everything away and begin anew."""
        with _our_errors(self._path):
            self._file.seek(0)
            self._file.truncate(0)
            sidecar_of(self._path).unlink(missing_ok=True)
        self._task.advance(-self.size)
        self._hash = hashlib.sha256()
        self.size = 0

    def finish(self) -> None:
        """Sync the bytes, which the caller found right, and forget where they came from."""
        with _our_errors(self._path):
            os.fsync(self._file.fileno())
            sidecar_of(self._path).unlink(missing_ok=True)
        self.finished = True

    def origin(self) -> Origin | None:
        """Read where the bytes came from; None when that is not known."""
        try:
            with sidecar_of(self._path).open("rb") as file:
                data: Any = json.loads(file.read(SIDECAR_LIMIT))
            url, etag, last_modified = data["url"], data["etag"], data["lastModified"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        if isinstance(url, str) and _fits_header(etag) and _fits_header(last_modified):
            return Origin(url, etag, last_modified)
        return None

    def come_from(self, origin: Origin) -> None:
        """Note where the next bytes come from, before the first of them is written."""
        if self.origin() == origin:
            return
        sidecar = sidecar_of(self._path)
        beside = sidecar.with_name(f"{sidecar.name}.new")
        data = {"etag": origin.etag, "lastModified": origin.last_modified, "url": origin.url}
        with _our_errors(sidecar):
            beside.write_text(json.dumps(data, sort_keys=True), encoding="utf-8")
            beside.replace(sidecar)

    def take_over(self, size: int | None) -> None:
        """Hash what an earlier process left; more bytes than `size` cannot be right and are thrown away."""
        with _our_errors(self._path):
            left = os.fstat(self._file.fileno()).st_size
        if size is not None and left > size:
            self.restart()
        while True:
            with _our_errors(self._path):
                data = self._file.read(CHUNK)
            if not data:
                return
            self._grow(data)

    def _grow(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        self._task.advance(len(data))


@contextmanager
def open_part(path: Path, size: int | None, task: Task) -> Iterator[Part]:
    """Open the part `path` of a file of `size` bytes (None when unknown), with what it holds from earlier.

    An empty unfinished part is removed at the end, any other unfinished one stays for the next run.
    Raises DiskFullError, NotWritableError and HostError.
    """
    with _our_errors(path):
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+b", buffering=0)  # noqa: SIM115, PTH123
    part = Part(path, file, task)
    try:
        part.take_over(size)
        yield part
    finally:
        file.close()
        if part.size == 0 and not part.finished:
            with suppress(OSError):
                path.unlink(missing_ok=True)
                sidecar_of(path).unlink(missing_ok=True)


def _fits_header(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.isascii() and value.isprintable())


def sidecar_of(path: Path) -> Path:
    """Give the file that says where the bytes of the part `path` came from."""
    return path.with_name(f"{path.name}.json")


@contextmanager
def _our_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise host_error(error, path) from error
