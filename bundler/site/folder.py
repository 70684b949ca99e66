"""A bundle's folder while it is being made: beside its final place, hashed on the way, there whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, cast

from bundler.errors import OutputExistsError, host_error
from bundler.model.digest import Digest, digest_from_hex, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future
    from pathlib import Path

SUMS = "SHA256SUMS"

READABLE, PRIVATE = 0o644, 0o600
"""Modes of a bundle's files, whatever the umask: for everybody, and for the builder alone where secrets are."""

_WORTH_A_THREAD = 1 << 16  # bytes


class HashingFile:
    """A file that hashes what is written to it; `beside` hashes while the writer does something else."""

    def __init__(self, file: BinaryIO, beside: Executor) -> None:
        self._file, self._beside = file, beside
        self._hash = hashlib.sha256()
        self._hashing: Future[None] | None = None

    def write(self, data: bytes) -> int:
        """Write and hash."""
        self._settle()
        if len(data) < _WORTH_A_THREAD:
            self._hash.update(data)
        else:
            self._hashing = self._beside.submit(self._hash.update, data)
        return self._file.write(data)

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        self._settle()
        return digest_from_hex(self._hash.hexdigest())

    def _settle(self) -> None:
        if self._hashing:
            self._hashing.result()
            self._hashing = None


class BundleFolder:
    """Takes a bundle's files by relative path. Make it with `new_bundle`.

    Files are brought to the disk beside the work that follows: a big archive takes its time there.
    """

    def __init__(self, root: Path, disk: Executor) -> None:
        self.root = root
        self._disk = disk
        self._digests: dict[str, Digest] = {}
        self._syncing: list[Future[None]] = []

    @contextmanager
    def open(self, path: str, mode: int = READABLE) -> Iterator[BinaryIO]:
        """Write a file; its digest is noted and its `mode` given when the context ends, `sync` waits for the disk."""
        target = self.root / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with (
                open(target, "xb", opener=_private) as file,
                ThreadPoolExecutor(1, thread_name_prefix="hash") as beside,
            ):
                hashing = HashingFile(file, beside)
                yield cast("BinaryIO", hashing)
                file.flush()
                # The same open file, for an error in writing it back is told to nobody else.
                self._syncing.append(self._disk.submit(_sync_file, os.dup(file.fileno()), target))
            target.chmod(mode)
        except OSError as error:
            raise host_error(error, target) from error
        self._digests[path] = hashing.digest

    def write(self, path: str, data: bytes, mode: int = READABLE) -> None:
        """Write a small file."""
        with self.open(path, mode) as file:
            file.write(data)

    def write_sums(self) -> None:
        """Write SHA256SUMS over every file so far, in the form of GNU sha256sum, sorted by path."""
        lines = [f"{hex_of(digest)}  {path}\n" for path, digest in sorted(self._digests.items())]
        self.write(SUMS, "".join(lines).encode())

    def sync(self) -> None:
        """Wait until every file so far is on the disk; raises DiskFullError and kin."""
        for syncing in self._syncing:
            syncing.result()


@contextmanager
def new_bundle(target: Path, *, replace: bool) -> Iterator[BundleFolder]:
    """Make a bundle beside `target`, and move it there when the context ends well; otherwise nothing remains.

    Raises OutputExistsError, when `target` exists and may not be replaced or when another process makes it.
    """
    beside = target.with_name(f".{target.name}.partial")
    require_free(target, replace=replace)
    with _claimed(beside, target):
        try:
            require_free(target, replace=replace)  # another build may have been faster
            _empty(beside)  # what a killed build left
            with ThreadPoolExecutor(1, thread_name_prefix="sync") as disk:
                folder = BundleFolder(beside, disk)
                yield folder
                folder.sync()
            _publish(beside, target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


def require_free(target: Path, *, replace: bool) -> None:
    """Raise OutputExistsError when a bundle may not be put at `target`; only another bundle is ever replaced."""
    is_bundle = (target / SUMS).is_file()
    if not is_bundle and target.exists():
        raise OutputExistsError(
            f"{target} is there and is no bundle: it has no {SUMS}", hint="move it away, or give another --output"
        )
    if is_bundle and not replace:
        raise OutputExistsError(f"{target} exists already", hint="give --replace, or another --output")


@contextmanager
def _claimed(beside: Path, target: Path) -> Iterator[None]:
    """Hold `beside` for this process alone; the kernel lets go of it when the process dies."""
    descriptor = _lock(beside, target)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(beside: Path, target: Path) -> int:
    try:
        while True:
            with suppress(FileExistsError):  # exist_ok would raise it when the folder is moved away at this moment
                beside.mkdir(parents=True)
            try:
                descriptor = os.open(beside, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), beside.stat()):
                        return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # a build that ended meanwhile moved the folder away
    except BlockingIOError:
        raise OutputExistsError(
            f"another build is making {target} at this moment", hint="wait for it, or give another --output"
        ) from None
    except OSError as error:
        raise host_error(error, beside) from error


def _empty(folder: Path) -> None:
    try:
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise host_error(error, folder) from error


def _publish(beside: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.old")
    try:
        for folder in (beside, *(path for path in beside.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
            _sync(folder)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
            target.rename(old)
        beside.rename(target)
        _sync(target.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise host_error(error, target) from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def _sync_file(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise host_error(error, path) from error
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
