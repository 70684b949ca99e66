"""Real Go programs as image layers: Debian packages, downloaded once and unpacked into tars."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
import zlib
from typing import TYPE_CHECKING

from tests.real.layers import Layer, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ATTEMPTS = 3
_GZIP_LEVEL = 6  # what docker push and BuildKit use


class DownloadError(Exception):
    """A package cannot be had; the message is apt-get's."""


def download(package: str, folder: Path) -> Path:
    """Give the file of `package` (`name` or `name=version`) in `folder`; raises DownloadError after three attempts."""
    place = folder / package.replace(":", "_")
    place.mkdir(parents=True, exist_ok=True)
    said = ""
    for attempt in range(_ATTEMPTS):
        there = sorted(place.glob("*.deb"))
        if there:
            return there[0]
        if attempt:  # lists that are old name files that are gone
            time.sleep(2 * attempt)
            subprocess.run(["apt-get", "-q", "update"], capture_output=True, check=False, timeout=300)
        done = subprocess.run(
            ["apt-get", "-q", "download", package], cwd=place, capture_output=True, text=True, check=False, timeout=300
        )
        said = done.stderr.strip()
    raise DownloadError(f"apt-get download {package}: {said}")


def layer_of(packages: Sequence[Path], replace: tuple[bytes, bytes] = (b"", b"")) -> tuple[Layer, int]:
    """Make one layer of the files of some packages, without documentation; gives its unpacked size in bytes too.

    `replace` puts other bytes of the same length everywhere: what a rebuild with another version string does.
    """
    plain = io.BytesIO()
    names: set[str] = set()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as out:
        for package in packages:
            _pour(package, out, names, replace)
    content = plain.getvalue()
    deflater = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    return Layer(digest_of(content), "gzip", deflater.compress(content) + deflater.flush()), len(content)


def _pour(package: Path, out: tarfile.TarFile, names: set[str], replace: tuple[bytes, bytes]) -> None:
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as tree,
    ):
        for member in tree:
            member.name = member.name.removeprefix("./")
            if not member.name or member.name in names or member.name.startswith("usr/share/doc/"):
                continue
            names.add(member.name)
            source = tree.extractfile(member) if member.isfile() else None
            content = source.read() if source else b""
            out.addfile(member, io.BytesIO(content.replace(*replace) if replace[0] else content))
    if unpacking.returncode:
        raise DownloadError(f"dpkg-deb cannot read {package}")
