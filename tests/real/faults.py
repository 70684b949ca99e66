"""What can go wrong with an answer, as values: given to `FaultyProxy.fail`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Status:
    """Answer with this status without asking the upstream, e.g. `Status(429, {"Retry-After": "1"})`."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"refused by the test\n"


@dataclass(frozen=True)
class Redirect:
    """Answer 302 to the same path below another base URL."""

    base: str


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Cut:
    """Close the connection after this many body bytes."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Send nothing more after this many body bytes and keep the connection open."""

    after: int


@dataclass(frozen=True)
class Drip:
    """Send the body no faster than this."""

    bytes_per_second: int


@dataclass(frozen=True)
class FlipByte:
    """Change one byte of the body, at this offset of the answer."""

    at: int


@dataclass(frozen=True)
class WrongLength:
    """Say a Content-Length that is off by this, send the body as it is, and close."""

    off_by: int


@dataclass(frozen=True)
class Abreast:
    """Send the body at most `lead` bytes ahead of what `arrived` says of its path: no faster than its reader.

    Loopback is faster than any reader, and what the kernel holds for one that is killed counts as sent.
    """

    arrived: Callable[[str], int]
    bytes_per_second: int = 8 << 20
    lead: int = 128 << 10


Fault = Status | Redirect | Drop | Cut | Stall | Drip | FlipByte | WrongLength | Abreast
