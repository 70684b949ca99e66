"""A folder of verified things, each under its digest.

    CACHEDIR.TAG            backup programs leave the folder out (bford.info/cachedir)
    blobs/sha256/<hex>      verified content
    layers/<hex>.json       which blob a layer was packed into; <hex> is the hash of all that decides its bytes
    partial/<hex>           unverified bytes of a transfer that goes on next time
    locks/                  locks of recipes with overrides, and of recipes nobody may write beside
    pulled/                 images pulled into an engine for a build and not removed from it again yet
    tmp/                    being written; nothing here outlives its process

Nothing gets under blobs/ but by a rename after its hash was seen, so readers need no locks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pydantic import ValidationError

from bundler.errors import CacheDamagedError, host_error
from bundler.model.digest import Digest, DigestField, digest_from_hex, digest_of, hex_of
from bundler.model.frozen import Frozen
from bundler.model.lock import PackedLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHEDIR_TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by k3s-bundler; everything here can be made again.\n"
)
CHUNK = 1 << 20


class _Record(Frozen):
    """What a layer was packed into. Nothing is unpacked to see whether that is so, hence the seal."""

    layer: PackedLayer
    seal: DigestField


def _seal(key: str, layer: PackedLayer) -> Digest:
    """Tie a record to its name and its content, so that one that was exchanged or damaged is none."""
    return digest_of(f"{key}\n{layer.diff_id}\n{layer.digest}\n{layer.size}\n{layer.unpacked_size}\n".encode())


class Store:
    """The cache below `root`. Make it with `open_store`; without, it can say where things lie and no more."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def locks(self) -> Path:
        """Where locks are kept that lie beside no recipe."""
        return self.root / "locks"

    def path(self, digest: Digest) -> Path:
        """Say where the blob is, or would be."""
        return self.root / "blobs" / "sha256" / hex_of(digest)

    def has(self, digest: Digest) -> bool:
        """Say whether the blob is there, without reading it."""
        return self.path(digest).is_file()

    def verified(self, digest: Digest) -> bool:
        """Say whether the blob is there and whole, by reading it. A damaged one is thrown away."""
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                found = digest_from_hex(hashlib.file_digest(file, "sha256").hexdigest())
        except FileNotFoundError:
            return False
        except OSError as error:
            raise host_error(error, path) from error
        if found != digest:
            self._discard(path)
            return False
        return True

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob that was seen before, which counts as using it; raises CacheDamagedError when it went away."""
        try:
            file = self.path(digest).open("rb")
        except FileNotFoundError:
            raise CacheDamagedError(
                f"{digest} vanished from the cache {self.root} during the build",
                hint="run the build again; do not prune a cache that is in use",
            ) from None
        except OSError as error:
            raise host_error(error, self.path(digest)) from error
        _mark_used(self.path(digest))
        return file

    def read(self, digest: Digest) -> bytes:
        """Read a small blob whole."""
        with self.open(digest) as file:
            return file.read()

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Write a new blob; without `commit` nothing remains of it."""
        folder = self.root / "tmp"
        try:
            descriptor, path = _new_file(folder)
        except OSError as error:
            raise host_error(error, folder) from error
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield BlobWriter(self, path, file)
        except OSError as error:
            raise host_error(error, path) from error
        finally:
            path.unlink(missing_ok=True)

    def put(self, data: bytes) -> Digest:
        """Keep a small blob."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit()

    @contextmanager
    def partial(self, digest: Digest) -> Iterator[Path]:
        """Give the file for an unfinished transfer of `digest`, to this process alone.

        Another process that wants the same digest waits until this one is done; look again whether it `has` it.
        """
        folder = self.root / "partial"
        guard = folder / f"{hex_of(digest)}.guard"
        descriptor = _lock(guard)
        try:
            yield folder / hex_of(digest)
        finally:
            if not (folder / hex_of(digest)).exists():
                guard.unlink(missing_ok=True)
            os.close(descriptor)

    def adopt(self, part: Path, digest: Digest) -> None:
        """Move a finished transfer, which the caller has verified and synced, under its digest."""
        path = self.path(digest)
        try:
            part.chmod(0o644)
            part.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise host_error(error, path) from error

    def remove(self, digest: Digest) -> None:
        """Forget a blob that is not needed any more."""
        self._discard(self.path(digest))

    def packed_layer(self, key: str) -> PackedLayer | None:
        """Find what a layer was packed into, if it was and if that blob is there; this counts as using the record."""
        record = self.root / "layers" / f"{hex_of(Digest(key))}.json"
        try:
            read = _Record.model_validate_json(record.read_bytes(), by_alias=True, by_name=False)
        except (FileNotFoundError, ValidationError):
            return None
        except OSError as error:
            raise host_error(error, record) from error
        layer = read.layer
        if read.seal != _seal(key, layer):
            return None
        try:
            if self.path(layer.digest).stat().st_size != layer.size:
                return None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise host_error(error, self.path(layer.digest)) from error
        _mark_used(record)
        return layer

    def remember_packed_layer(self, key: str, layer: PackedLayer) -> None:
        """Note what a layer was packed into; its blob is there already."""
        record = _Record(layer=layer, seal=_seal(key, layer))
        write_file(self.root / "layers" / f"{hex_of(Digest(key))}.json", record.to_json())

    @staticmethod
    def _discard(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise host_error(error, path) from error


class BlobWriter:
    """Takes bytes, hashes them on the way, and puts them under their digest at the end."""

    def __init__(self, store: Store, path: Path, file: BinaryIO) -> None:
        self._store, self._path, self._file = store, path, file
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return digest_from_hex(self._hash.hexdigest())

    def write(self, data: bytes) -> int:
        """Take more bytes."""
        self._hash.update(data)
        self.size += len(data)
        return self._file.write(data)

    def commit(self) -> Digest:
        """Sync, and move the bytes under their digest."""
        digest = self.digest
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.chmod(0o644)
        target = self._store.path(digest)
        self._path.replace(target)
        sync_folder(target.parent)
        return digest


def open_store(root: Path) -> Store:
    """Open the cache below `root`, making it if need be; clears what dead processes left in tmp/.

    Raises NotWritableError or DiskFullError.
    """
    try:
        for folder in ("blobs/sha256", "layers", "partial", "locks", "pulled", "tmp"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        tag = root / "CACHEDIR.TAG"
        if not tag.exists():
            write_file(tag, CACHEDIR_TAG)
        if not os.access(root / "tmp", os.W_OK):
            raise PermissionError(13, "Permission denied")
        for left in (root / "tmp").iterdir():
            _remove_if_left(left)
    except OSError as error:
        raise host_error(error, root) from error
    return Store(root)


def write_file(path: Path, data: bytes) -> None:
    """Write a small file so that after a crash it is the old one or the new one; raises DiskFullError and kin."""
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise host_error(error, path) from error


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(guard: Path) -> int:
    """Wait until `guard` is ours; gives its descriptor, which holds the lock until it is closed."""
    try:
        while True:
            descriptor = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                still_there = os.fstat(descriptor).st_nlink > 0
            except BaseException:
                os.close(descriptor)
                raise
            if still_there:
                return descriptor
            os.close(descriptor)  # the one before us removed the file, and the next one locks a new one
    except OSError as error:
        raise host_error(error, guard) from error


def _mark_used(path: Path) -> None:
    """Set the time by which `prune` goes; a file of another user keeps its own."""
    with suppress(OSError):
        os.utime(path)


def _new_file(folder: Path) -> tuple[int, Path]:
    """Make a file that is locked as long as its process lives, in whatever container that runs."""
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f"{os.getpid()}-", dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # taken for a left one before it was locked


def _remove_if_left(path: Path) -> None:
    with suppress(OSError), path.open("rb") as file:  # in use, gone, or of another user
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
