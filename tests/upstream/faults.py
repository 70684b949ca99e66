"""What can go wrong with an answer, one class each. A fault changes the answer, or how its body is delivered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.upstream.answers import Answer, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True)
class Delivery:
    """How a body is sent. Lengths in bytes, times in seconds."""

    cut_after: int | None = None
    reset: bool = False
    stall_after: int | None = None
    stall_for: float = 0
    bytes_per_second: int | None = None
    claimed_difference: int = 0
    arrived: Callable[[], int] | None = None
    lead: int = 0


@dataclass(frozen=True)
class Fault:
    """The base of all: changes nothing. Meets successful GETs unless a class says otherwise."""

    def meets(self, method: str, answer: Answer) -> bool:
        """Say whether the fault can show on this answer; when not, it is kept for the next."""
        return method == "GET" and 200 <= answer.status < 300

    def alter(self, answer: Answer, target: str) -> Answer:
        """Give the answer to send in place of the right one; `target` is the path and query asked for."""
        return answer

    @property
    def delivery(self) -> Delivery:
        """Say how to send the body."""
        return Delivery()


@dataclass(frozen=True)
class Status(Fault):
    """Another status, such as 429 with {"Retry-After": "1"}, for any method."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"a fault, as asked for\n"

    def meets(self, method: str, answer: Answer) -> bool:
        return True

    def alter(self, answer: Answer, target: str) -> Answer:
        return Answer(self.status, {"Content-Type": "text/plain", **self.headers}, memoryview(self.body))


@dataclass(frozen=True)
class Redirect(Fault):
    """302 to the same path and query at another origin (`http://127.0.0.1:2`), for GET and HEAD."""

    origin: str

    def meets(self, method: str, answer: Answer) -> bool:
        return 200 <= answer.status < 300

    def alter(self, answer: Answer, target: str) -> Answer:
        return Answer(302, {"Location": self.origin + target}, memoryview(b""))


@dataclass(frozen=True)
class Headers(Fault):
    """The right body under wrong headers: each is replaced or added, or left out when its value is None."""

    headers: Mapping[str, str | None]

    def meets(self, method: str, answer: Answer) -> bool:
        return 200 <= answer.status < 300

    def alter(self, answer: Answer, target: str) -> Answer:
        kept = {name: value for name, value in answer.headers.items() if name not in self.headers}
        return replace(
            answer, headers=kept | {name: value for name, value in self.headers.items() if value is not None}
        )


@dataclass(frozen=True)
class IgnoreRange(Fault):
    """200 with the whole body, whatever range was asked for."""

    def alter(self, answer: Answer, target: str) -> Answer:
        return whole(answer.document) if answer.document else answer


@dataclass(frozen=True)
class Flip(Fault):
    """One bit turned over in the byte at `offset` of the whole document; a range without that byte comes out right."""

    offset: int

    def meets(self, method: str, answer: Answer) -> bool:
        return super().meets(method, answer) and answer.start <= self.offset < answer.start + len(answer.body)

    def alter(self, answer: Answer, target: str) -> Answer:
        body = bytearray(answer.body)
        body[self.offset - answer.start] ^= 1
        return replace(answer, body=memoryview(bytes(body)))


@dataclass(frozen=True)
class WrongLength(Fault):
    """A Content-Length that is `difference` bytes off; all of the body is sent, then the connection is closed."""

    difference: int

    @property
    def delivery(self) -> Delivery:
        return Delivery(claimed_difference=self.difference)


@dataclass(frozen=True)
class Cut(Fault):
    """The connection closed in good order after `after` bytes of this answer's body."""

    after: int

    @property
    def delivery(self) -> Delivery:
        return Delivery(cut_after=self.after)


@dataclass(frozen=True)
class Reset(Fault):
    """The connection reset (RST) after `after` bytes of this answer's body; the last of them may never arrive."""

    after: int

    @property
    def delivery(self) -> Delivery:
        return Delivery(cut_after=self.after, reset=True)


@dataclass(frozen=True)
class Drip(Fault):
    """The body slowly, in ten pieces a second, a hundred above 1 MiB a second."""

    bytes_per_second: int

    @property
    def delivery(self) -> Delivery:
        return Delivery(bytes_per_second=self.bytes_per_second)


@dataclass(frozen=True)
class Stall(Fault):
    """Silence of `seconds` after `after` bytes of this answer's body, then the rest; closing the upstream ends it."""

    after: int = 0
    seconds: float = 3600

    @property
    def delivery(self) -> Delivery:
        return Delivery(stall_after=self.after, stall_for=self.seconds)


@dataclass(frozen=True)
class Abreast(Fault):
    """The body at most `lead` bytes ahead of what `arrived` says of the whole document: no faster than its reader.

    Loopback is faster than any reader, and what the kernel holds for one that is killed counts as sent.
    """

    arrived: Callable[[], int]
    bytes_per_second: int | None = None
    lead: int = 128 << 10

    @property
    def delivery(self) -> Delivery:
        return Delivery(bytes_per_second=self.bytes_per_second, arrived=self.arrived, lead=self.lead)
