"""The release's `sha256sum-<arch>.txt`: GNU sha256sum text, two eras (reference: k3s .github/workflows/release.yml).

To mid-2025 it names the binary, three archives and, for amd64, k3s-images.txt; since then four files, without the
list. Names are matched whole: matching a suffix once picked the hash of another file (k3s-io/k3s#279).
"""

from __future__ import annotations

import re

from bundler.errors import ChecksumFileError, ChecksumMissingError
from bundler.model.digest import Digest, digest_from_hex

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S+)")


def parse_checksums(text: bytes, source: str) -> dict[str, Digest]:
    """Read a checksum file into digests by file name; raises ChecksumFileError."""
    found: dict[str, Digest] = {}
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not match or "/" in match[2]:
            raise ChecksumFileError(
                f"{source}:{number}: {line[:80]!r} is no line of sha256sum",
                hint="the server gave something else than the release's file: check sources.releases",
            )
        digest = digest_from_hex(match[1])
        if found.setdefault(match[2], digest) != digest:
            raise ChecksumFileError(
                f"{source}:{number}: {match[2]} has two different checksums", hint="the release is broken; use another"
            )
    return found


def checksum_of(asset: str, checksums: dict[str, Digest], source: str) -> Digest:
    """Look up a file; raises ChecksumMissingError."""
    if asset not in checksums:
        named = ", ".join(sorted(checksums)) or "nothing"
        raise ChecksumMissingError(
            f"{source} has no checksum for {asset}; it names {named}",
            hint="nothing unverified is used: check sources.releases, or take another release",
        )
    return checksums[asset]
