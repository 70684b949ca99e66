"""Reading bodies without waiting for ever: single reads that time out, and a floor under the speed."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING

import urllib3

from bundler.errors import StalledError
from bundler.net.failures import failure_of, plain_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

    from bundler.net.session import NetworkSettings

CHUNK = 256 << 10


class Pace:
    """Notices when bytes arrive, but so slowly that the transfer would never end."""

    def __init__(self, settings: NetworkSettings) -> None:
        self._slowest, self._window = settings.slowest, settings.slow_window
        self._seconds, self._count = 0.0, 0

    def too_slow(self, seconds: float, count: int) -> bool:
        """Add a read that took `seconds` and brought `count` bytes; True when a whole window was below the floor."""
        self._seconds += seconds
        self._count += count
        if self._seconds < self._window:
            return False
        slow = self._count < self._slowest * self._seconds
        self._seconds, self._count = 0.0, 0
        return slow


def body_of(response: requests.Response, settings: NetworkSettings, *, decode: bool = False) -> Iterator[bytes]:
    """Give the body as it arrives: as it is on the wire, or with Content-Encoding undone.

    Raises NetworkError when it breaks off, StalledError when nothing comes for the read timeout or less than
    `settings.slowest` bytes a second for `settings.slow_window` seconds. Time the caller takes does not count.
    """
    url = response.url
    pace = Pace(settings)
    while True:
        began = time.monotonic()
        try:
            # read1 gives what is there: read would wait for a whole chunk, and a drip would never time out
            chunk = response.raw.read1(CHUNK, decode_content=decode)
        except (urllib3.exceptions.HTTPError, OSError, http.client.HTTPException, ValueError) as error:
            raise failure_of(error, url) from None
        if not chunk:
            return
        if pace.too_slow(time.monotonic() - began, len(chunk)):
            raise StalledError(
                f"{plain_url(url)} sends less than {settings.slowest:g} bytes a second",
                hint="run it again: what has arrived is kept; if it stays so slow, use a mirror under sources",
            )
        yield chunk


def first_bytes(response: requests.Response, settings: NetworkSettings, limit: int) -> bytes:
    """Read at most `limit` bytes of the body, with Content-Encoding undone. Raises what `body_of` raises."""
    taken = bytearray()
    for chunk in body_of(response, settings, decode=True):
        taken += chunk
        if len(taken) >= limit:
            break
    return bytes(taken[:limit])
