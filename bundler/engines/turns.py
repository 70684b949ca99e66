"""Turns between registries: one that is slow or far away does not keep all transfers to itself."""

from __future__ import annotations

import threading
from collections import Counter, deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Work = TypeVar("Work")


class Turns(Generic[Work]):
    """Work of several registries, each in its own order. Safe to use from several threads.

    The next piece is always of the registry with the fewest pieces under way; of those, of the one that came first.
    """

    def __init__(self, work: Iterable[tuple[str, Work]]) -> None:
        self._waiting: dict[str, deque[Work]] = {}
        for registry, piece in work:
            self._waiting.setdefault(registry, deque()).append(piece)
        self._under_way = Counter(dict.fromkeys(self._waiting, 0))
        self._lock = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[Work]:
        """Have the next piece, under way as long as the context lasts; raises LookupError when none is left."""
        with self._lock:
            left = [registry for registry, pieces in self._waiting.items() if pieces]
            if not left:
                raise LookupError("no work is left")
            registry = min(left, key=lambda each: self._under_way[each])
            piece = self._waiting[registry].popleft()
            self._under_way[registry] += 1
        try:
            yield piece
        finally:
            with self._lock:
                self._under_way[registry] -= 1
