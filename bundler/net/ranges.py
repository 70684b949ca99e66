"""The arithmetic of byte ranges (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.model.frozen import LARGEST

if TYPE_CHECKING:
    from re import Match

_NUMBER = r"([0-9]{1,18})"  # longer ones are no sizes but attacks on int()
_CONTENT_RANGE = re.compile(rf"\s*bytes\s+{_NUMBER}-{_NUMBER}/(?:{_NUMBER}|\*)\s*", re.IGNORECASE | re.ASCII)
_UNSATISFIED = re.compile(rf"\s*bytes\s+\*/{_NUMBER}\s*", re.IGNORECASE | re.ASCII)
_LENGTH = re.compile(rf"\s*{_NUMBER}\s*", re.ASCII)


@dataclass(frozen=True)
class ContentRange:
    """Bytes `start` up to, not including, `stop` of `total` (None when the server does not know)."""

    start: int
    stop: int
    total: int | None

    def continues(self, offset: int, size: int | None) -> bool:
        """Say whether these bytes may be appended to `offset` bytes of a file of `size` bytes (None when unknown)."""
        if self.start != offset:
            return False
        return size is None or (self.stop <= size and self.total in {None, size})


def parse_content_range(text: str | None) -> ContentRange | None:
    """Read the Content-Range of a 206; None when it is missing or makes no sense."""
    match = _CONTENT_RANGE.fullmatch(text or "")
    if not match:
        return None
    start, stop = int(match[1]), int(match[2]) + 1
    total = int(match[3]) if match[3] else None
    if stop <= start or (total is not None and stop > total) or max(stop, total or 0) > LARGEST:
        return None
    return ContentRange(start, stop, total)


def parse_unsatisfied_range(text: str | None) -> int | None:
    """Read the size of the file from the Content-Range of a 416; None when it does not say."""
    return _size(_UNSATISFIED.fullmatch(text or ""))


def parse_length(text: str | None) -> int | None:
    """Read a Content-Length; None when it is missing or makes no sense."""
    return _size(_LENGTH.fullmatch(text or ""))


def _size(match: Match[str] | None) -> int | None:
    return int(match[1]) if match and int(match[1]) <= LARGEST else None
