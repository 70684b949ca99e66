"""Digests: what a thing is, by its bytes."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NewType

from pydantic import AfterValidator

Digest = NewType("Digest", str)
"""`sha256:` and 64 lower-case hex digits (OCI image-spec, descriptor.md). Made only by the functions below."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def parse_digest(text: str) -> Digest:
    """Check that `text` is a SHA-256 digest; raises ValueError."""
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is not a digest: sha256: and 64 lower-case hex digits are expected")
    return Digest(text)


def digest_from_hex(digits: str) -> Digest:
    """Turn the 64 hex digits of sha256sum into a digest; raises ValueError."""
    return parse_digest(f"sha256:{digits}")


def digest_of(data: bytes) -> Digest:
    """Hash `data`."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def hex_of(digest: Digest) -> str:
    """Give the 64 hex digits alone, as file names and sha256sum want them."""
    return digest.removeprefix("sha256:")


DigestField = Annotated[Digest, AfterValidator(parse_digest)]
"""A digest inside a pydantic model."""
