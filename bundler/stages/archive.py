"""A bundle as one file: a plain tar, since everything in it is compressed already, and its checksum beside it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import tar
from bundler.errors import host_error
from bundler.site.folder import PRIVATE, READABLE
from bundler.store.store import write_file

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from bundler.progress import Progress


def write_archive(bundle: Path, private: AbstractSet[str], progress: Progress) -> Path:
    """Write `<bundle>.tar` and `<bundle>.tar.sha256` beside the folder `bundle`; raises host errors.

    Files of the bundle whose paths there are in `private` are for one user alone, also when they are unpacked, and so
    is an archive that has any. Modes on the disk do not count: some file systems have none.
    """
    target = bundle.with_name(f"{bundle.name}.tar")
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
    write_file(target.with_name(f"{target.name}.sha256"), f"{digest}  {target.name}\n".encode())
    return target


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
