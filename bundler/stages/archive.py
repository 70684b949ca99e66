"""A bundle as one file: a plain tar, since everything in it is compressed already, and its checksum beside it."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import tar
from bundler.errors import ArchiveError, OutputExistsError, host_error
from bundler.site.folder import PRIVATE, READABLE
from bundler.store.store import write_file

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from bundler.progress import Progress


def require_free_archive(bundle: Path, *, replace: bool) -> None:
    """Raise OutputExistsError when no archive of `bundle` may be put beside it; only another of it is ever replaced."""
    target = _target(bundle)
    for path, is_ours in ((target, _is_archive), (_checksum(target), _is_checksum)):
        try:
            there, ours = os.path.lexists(path), path.is_file() and is_ours(path, bundle.name)
        except OSError as error:
            raise host_error(error, path) from error
        if there and not ours:
            raise OutputExistsError(
                f"{path} is there and was not made of {bundle.name}", hint="move it away, or give another --output"
            )
        if there and not replace:
            raise OutputExistsError(f"{path} exists already", hint="give --replace, or another --output")


def write_archive(bundle: Path, private: AbstractSet[str], progress: Progress, *, replace: bool) -> Path:
    """Write `<bundle>.tar` and `<bundle>.tar.sha256` beside the folder `bundle`.

    Raises OutputExistsError, as `require_free_archive` does, and host errors.

    Files of the bundle whose paths there are in `private` are for one user alone, also when they are unpacked, and so
    is an archive that has any. Modes on the disk do not count: some file systems have none.
    """
    target = _target(bundle)
    require_free_archive(bundle, replace=replace)
    beside = bundle.with_name(f".{bundle.name}.tar.partial")
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    progress.stage("archive")
    progress.expect(sum(path.stat().st_size for path in files))
    try:
        beside.unlink(missing_ok=True)  # of a build that was killed, with whatever mode
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE), "wb") as out:
            digest = _write(bundle, files, private, out, progress)
            out.flush()
            os.fchmod(out.fileno(), PRIVATE if private else READABLE)
            os.fsync(out.fileno())
        beside.replace(target)
    except OSError as error:
        raise host_error(error, target) from error
    finally:
        beside.unlink(missing_ok=True)
    write_file(_checksum(target), f"{digest}  {target.name}\n".encode())
    return target


def _target(bundle: Path) -> Path:
    return bundle.with_name(f"{bundle.name}.tar")


def _checksum(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _is_archive(path: Path, bundle: str) -> bool:
    """Say whether the file begins like an archive of that bundle; the rest may be cut off or damaged."""
    with path.open("rb") as file:
        try:
            first = next(tar.members(file, str(path)), None)
        except ArchiveError:
            return False
    return first is not None and first.name.startswith(f"{bundle}/")


def _is_checksum(path: Path, bundle: str) -> bool:
    with path.open("rb") as file:
        return re.fullmatch(rb"[0-9a-f]{64}  %s\.tar\n" % re.escape(bundle.encode()), file.read(4096)) is not None


def _write(bundle: Path, files: list[Path], private: AbstractSet[str], out: BinaryIO, progress: Progress) -> str:
    seen = hashlib.sha256()

    def put(data: bytes) -> None:
        seen.update(data)
        out.write(data)

    for path in files:
        size = path.stat().st_size
        inside = path.relative_to(bundle).as_posix()
        name = f"{bundle.name}/{inside}"
        put(tar.header(name, size, PRIVATE if inside in private else READABLE))
        with path.open("rb") as file, progress.task(name, size) as task:
            while chunk := file.read(1 << 20):
                put(chunk)
                task.advance(len(chunk))
        put(tar.padding(size))
    put(tar.END)
    return seen.hexdigest()
