"""A build context: which files of a folder go to the daemon, in the same bytes on any machine, and their hash."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive.tar import END, padding
from bundler.errors import HostError, RecipeNotFoundError, UsageError, host_error
from bundler.model.digest import digest_from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bundler.model.digest import Digest

IGNORE = ".dockerignore"

PROXIES = frozenset(
    name
    for each in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (each, each.upper())
)
"""Arguments that every Dockerfile knows and that belong to the machine (Dockerfile reference, predefined ARGs)."""

_CHUNK = 1 << 20
_LARGEST_DOCKERFILE = 1 << 20  # bytes


@dataclass(frozen=True)
class BuildContext:
    """What is built: `entries` are paths in `folder`, sorted. `args` are as the build gets them; `name` is for people.

    Make it with `open_context`.
    """

    folder: Path
    name: str
    entries: tuple[str, ...]
    dockerfile: str
    target: str | None
    args: Mapping[str, str]

    def digest(self) -> Digest:
        """Hash all that goes into the build but its base images; raises UsageError and host errors."""
        seen = self._begun()
        for entry in self.entries:
            for part in self._read(entry):
                seen.update(part)
        return digest_from_hex(seen.hexdigest())

    def dockerfile_text(self) -> str:
        """Read the Dockerfile; raises HostError, and UsageError when it is too big for one."""
        with self._opened(self.dockerfile) as file:
            data = file.read(_LARGEST_DOCKERFILE + 1)
        if len(data) > _LARGEST_DOCKERFILE:
            raise UsageError(
                f"{self.folder / self.dockerfile} is bigger than {_LARGEST_DOCKERFILE} bytes: this is no Dockerfile",
                hint="name the right file with dockerfile",
            )
        return data.decode("utf-8", "surrogateescape")

    def stream(self, dockerfile: str, expected: Digest) -> Iterator[bytes]:
        """Give the tar for the daemon, with `dockerfile` as the Dockerfile.

        Raises HostError before its end when the files are not those of the digest `expected`: then nothing is built.
        """
        seen = self._begun()
        for entry in self.entries:
            if entry == self.dockerfile:
                yield from _made_here(entry, dockerfile.encode("utf-8", "surrogateescape"))
            for part in self._read(entry):
                seen.update(part)
                if entry != self.dockerfile:
                    yield part
        if digest_from_hex(seen.hexdigest()) != expected:
            raise self._changed(self.folder)
        yield END

    def _begun(self) -> hashlib._Hash:
        args = {name: value for name, value in self.args.items() if name not in PROXIES}
        about = {"dockerfile": self.dockerfile, "target": self.target, "args": args}
        return hashlib.sha256(b"build\n" + json.dumps(about, sort_keys=True).encode() + b"\n")

    def _read(self, entry: str) -> Iterator[bytes]:
        """Give an entry as it stands in the tar: owner 0:0, time 0, its own mode."""
        path = self.folder / entry
        try:
            found = path.lstat()
            info = tarfile.TarInfo(entry)
            info.mode = stat.S_IMODE(found.st_mode)
            if stat.S_ISLNK(found.st_mode):
                info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
            elif stat.S_ISDIR(found.st_mode):
                info.type = tarfile.DIRTYPE
            elif stat.S_ISREG(found.st_mode):
                info.size = found.st_size
            elif stat.S_ISSOCK(found.st_mode):  # as Docker does; editors and git leave them about
                return
            else:
                raise UsageError(
                    f"{path} is neither a file nor a folder nor a link, and cannot be in an image",
                    hint=f"remove it, or name it in {self.folder / IGNORE}",
                )
            yield _header(info)
            if info.isreg():
                yield from self._content(path, info.size)
                yield padding(info.size)
        except OSError as error:
            raise _unreadable(error, path, self.folder) from error

    def _content(self, path: Path, size: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            while size and (chunk := file.read(min(size, _CHUNK))):
                size -= len(chunk)
                yield chunk
        if size:
            raise self._changed(path)

    def _opened(self, entry: str) -> BinaryIO:
        path = self.folder / entry
        try:
            return path.open("rb")
        except OSError as error:
            raise _unreadable(error, path, self.folder) from error

    def _changed(self, path: Path) -> HostError:
        return HostError(f"{path} changed while {self.name} was being built", hint="run the command again")


def open_context(folder: Path, name: str, dockerfile: str, target: str | None, args: Mapping[str, str]) -> BuildContext:
    """List what .dockerignore leaves of `folder`; as with Docker, the Dockerfile and it always go along.

    Raises RecipeNotFoundError and host errors.
    """
    from docker.utils.build import exclude_paths  # noqa: PLC0415  importing docker costs 0.1 s

    _require_folder(folder)
    try:
        if not (folder / dockerfile).resolve(strict=True).is_relative_to(folder.resolve()):
            raise UsageError(
                f"images.extra: {folder / dockerfile} is a link out of its context", hint="put the file itself there"
            )
        entries = exclude_paths(str(folder), _patterns(folder / IGNORE), dockerfile)
    except FileNotFoundError:
        raise RecipeNotFoundError(
            f"images.extra: there is no Dockerfile {folder / dockerfile}",
            hint="name it with dockerfile, as a path from the context",
        ) from None
    except OSError as error:
        raise _unreadable(error, folder, folder) from error
    return BuildContext(folder, name, tuple(sorted(entries, key=os.fsencode)), dockerfile, target, args)


def _require_folder(folder: Path) -> None:
    # Not is_dir(), which from Python 3.14 on takes what cannot be looked at for what is not there.
    try:
        if stat.S_ISDIR(folder.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise _unreadable(error, folder, folder) from error
    raise RecipeNotFoundError(
        f"images.extra: there is no folder {folder} to build", hint="contexts are relative to the recipe's folder"
    )


def _patterns(path: Path) -> list[str]:
    """Read .dockerignore as the docker command does, but for a link to nothing: what it was to keep out would go in."""
    try:
        text = path.read_text("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        if not path.is_symlink():
            return []
        raise UsageError(
            f"images.extra: {path} is a link to {path.readlink()}, which leads to nothing",
            hint="correct it, or remove it",
        ) from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _made_here(name: str, data: bytes) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    yield _header(info) + data + padding(info.size)


def _unreadable(error: OSError, path: Path, context: Path) -> HostError:
    found = host_error(error, path if error.filename is None else type(path)(error.filename))
    return type(found)(found.what, hint=f"give yourself the right to read it, or name it in {context / IGNORE}")
