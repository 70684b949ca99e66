"""What was asked and what was sent, for tests that count."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """A request as it came, and how it was answered.

    `path` is as sent, with its query and percent signs. Header names are lower case. `status` is 0 until the answer
    begins. `body_bytes` were handed to the kernel: at most the socket buffers more than the client has read.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    status: int
    body_bytes: int


class Record:
    """A request in the making; only the thread that serves it writes to it."""

    def __init__(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        self.status = 0
        self.body_bytes = 0
        self._asked = (method, path, headers)

    def snapshot(self) -> Request:
        """Give the state at this moment."""
        return Request(*self._asked, self.status, self.body_bytes)


class RequestLog:
    """All requests in the order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[Record] = []

    def begin(self, method: str, path: str, headers: Mapping[str, str]) -> Record:
        """Note a request that has just come."""
        record = Record(method, path, headers)
        with self._lock:
            self._records.append(record)
        return record

    def snapshot(self) -> tuple[Request, ...]:
        """Give the requests so far."""
        with self._lock:
            return tuple(record.snapshot() for record in self._records)

    def clear(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._records.clear()
