"""Sizes and tables for people, documents for programs."""

from __future__ import annotations

import codecs
import io
import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from bundler.model.lock import LeftOut


_AS_IN_NAMES = "k3s-bundler-as-in-names"


def size_text(size: int) -> str:
    """Write bytes with a binary unit, as `ls -h` does but with the i."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def json_text(document: object, *, sort_keys: bool = False) -> str:
    """Write JSON in ASCII: it has to be UTF-8 (RFC 8259, 8.1), which stdout need not have, nor a name of a file."""
    return json.dumps(document, indent=2, sort_keys=sort_keys)


def as_it_is(document: bytes) -> str:
    """Give what a stream that was made to `keep_bytes` writes as these very bytes, whatever its encoding."""
    return document.decode("ascii", "surrogateescape")


def keep_bytes(stream: TextIO) -> None:
    """Let a stream write what its encoding lacks as names of files have it, so that a path stays that path."""
    if isinstance(stream, io.TextIOWrapper):
        codecs.register_error(_AS_IN_NAMES, _as_in_names)
        stream.reconfigure(errors=_AS_IN_NAMES)


def _as_in_names(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    try:
        return os.fsencode(error.object[error.start : error.end]), error.end
    except UnicodeEncodeError:
        return codecs.backslashreplace_errors(error)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset()) -> str:
    """Line up columns; those in `right` are right-aligned."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = []
    for line in lines:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    return "\n".join(texts)


def explained(
    reasons: Mapping[str, Sequence[str]], left_out: Sequence[LeftOut], notes: Sequence[str], maybes: Sequence[str]
) -> str:
    """Write why each image is there, by its name, why others are not, and what to know; ends with a newline."""
    lines = []
    for name, why in sorted(reasons.items()):
        lines += [name, *(f"    {reason}" for reason in why or ("the lock does not say; make it anew",))]
    for heading, items in (
        ("left out:", [f"{image.reference}: {image.why}" for image in left_out]),
        ("not carried, but may be images (name them in images.extra if they are):", maybes),
        ("good to know before the site has no network:", notes),
    ):
        lines += ["", heading, *(f"    {item}" for item in items)] if items else []
    return "\n".join(lines) + "\n"
