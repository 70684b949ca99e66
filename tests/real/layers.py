"""Image layers built in memory, the same bytes every time: trees of files and links, compressed as registries do."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from dataclasses import dataclass
from typing import Literal

import zstandard

Compression = Literal["gzip", "zstd", "none"]

_APPLETS = (
    "sh",
    "ash",
    "cat",
    "chmod",
    "cp",
    "date",
    "echo",
    "ls",
    "mkdir",
    "mv",
    "rm",
    "sleep",
    "true",
    "uname",
    "wc",
)
_CREATED = 1757894400  # 2025-09-15, seconds since the epoch: about v1.34.1+k3s1


@dataclass(frozen=True)
class Layer:
    """One layer as a registry holds it."""

    diff_id: str
    """Digest of the uncompressed tar."""
    compression: Compression
    blob: bytes

    @property
    def digest(self) -> str:
        """Digest of the compressed blob."""
        return digest_of(self.blob)


def digest_of(content: bytes) -> str:
    """`sha256:…` of some bytes."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def base_layer(busybox: bytes) -> Layer:
    """`/bin/busybox` with links to it: shared by the images of one architecture."""
    members: list[tuple[tarfile.TarInfo, bytes]] = [(_directory("bin"), b""), (_file("bin/busybox", 0o755), busybox)]
    members += [(_link(f"bin/{name}", "busybox", tarfile.SYMTYPE), b"") for name in _APPLETS]
    members += [(_directory("etc"), b""), (_file("etc/passwd"), b"root:x:0:0:root:/root:/bin/sh\n")]
    return _pack(members)


def text_layer(path: str, text: str, compression: Compression = "gzip") -> Layer:
    """A small layer with one text file."""
    return _pack([(_file(path), text.encode())], compression)


def awkward_layer(text: str) -> Layer:
    """What real layers hold and careless readers drop: hard links, whiteouts, owners, modes, long and foreign names."""
    temporary = _directory("tmp")
    temporary.mode = 0o1777
    owned = _file("srv/owned", 0o4755)
    owned.uid, owned.gid, owned.uname = 1000, 100, "somebody"
    return _pack(
        [
            (temporary, b""),
            (_directory("srv"), b""),
            (owned, text.encode()),
            (_link("srv/hard", "srv/owned", tarfile.LNKTYPE), b""),
            (_link("srv/dangling", "../nowhere/at all", tarfile.SYMTYPE), b""),
            (_file("bin/.wh.date"), b""),
            (_file("srv/" + "long-name/" * 14 + "end"), b"a path of more than 100 bytes\n"),
            (_file("srv/größe.txt"), b"a name beyond ASCII\n"),
            (_file("srv/empty"), b""),
        ]
    )


def incompressible_layer(seed: str, size: int) -> Layer:
    """A layer with `size` bytes that no compressor makes smaller, for progress, resumption and memory."""
    return _pack([(_file("srv/noise"), random.Random(seed).randbytes(size))])


def _pack(members: list[tuple[tarfile.TarInfo, bytes]], compression: Compression = "gzip") -> Layer:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tree:
        for member, content in members:
            member.size = len(content)
            tree.addfile(member, io.BytesIO(content))
    plain = buffer.getvalue()
    blob = gzip.compress(plain, 6, mtime=0) if compression == "gzip" else zstandard.compress(plain, 3)
    return Layer(digest_of(plain), compression, blob)


def _file(path: str, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = mode, _CREATED
    return member


def _directory(path: str) -> tarfile.TarInfo:
    member = _file(path, 0o755)
    member.type = tarfile.DIRTYPE
    return member


def _link(path: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = _file(path, 0o777)
    member.type, member.linkname = kind, target
    return member
