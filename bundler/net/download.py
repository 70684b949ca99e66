"""Bringing one file whole and verified: resumed at the byte, from several mirrors, never for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from bundler.errors import (
    DigestMismatchError,
    HostUnreachableError,
    IntegrityError,
    MalformedAnswerError,
    NetworkError,
    SizeMismatchError,
    StalledError,
)
from bundler.net.answers import encoding_of, exchange
from bundler.net.bodies import body_of
from bundler.net.failures import RESUME_HINT, plain_url
from bundler.net.part import Origin, Part, open_part
from bundler.net.ranges import parse_content_range, parse_length, parse_unsatisfied_range
from bundler.net.refusals import refusal_of
from bundler.net.session import patience, settings_of
from bundler.net.verdict import verdict

if TYPE_CHECKING:
    from pathlib import Path

    import requests
    from requests.auth import AuthBase

    from bundler.model.digest import Digest
    from bundler.progress import Task

PROGRESS = 64 << 10
"""Bytes an attempt has to bring to count as progress: more than a drip that `Pace` lets pass."""


@dataclass(frozen=True)
class Download:
    """A file by its content: `urls` are mirrors of the same bytes, best first; `size` in bytes, None when unknown."""

    urls: tuple[str, ...]
    digest: Digest
    size: int | None


def download(
    session: requests.Session,
    wanted: Download,
    part: Path,
    *,
    task: Task,
    auth: AuthBase | None = None,
) -> None:
    """Bring the whole content, verified and synced, into the file `part`; the caller renames it.

    What `part` holds from an earlier run is gone on with; `<part>.json` beside it says where it came from. `auth` is
    asked for every mirror and must look at the host.

    Raises, when no mirror gave it, IntegrityError or NetworkError with what each mirror did: wrong bytes are gone then,
    an unfinished part stays. Raises HostError at once. Interrupted, it leaves the part for the next run.
    """
    failures: list[NetworkError | IntegrityError] = []
    with open_part(part, wanted.size, task) as file:
        for url in wanted.urls:
            try:
                _Transfer(session, url, wanted, file, auth).run()
            except (NetworkError, IntegrityError) as failure:
                failures.append(failure)
            else:
                file.finish()
                return
    if not failures:
        raise NetworkError(f"there is no address for {wanted.digest}", hint="name a mirror under sources")
    raise verdict(failures)


class _Transfer:
    """One file from one mirror."""

    def __init__(
        self, session: requests.Session, url: str, wanted: Download, part: Part, auth: AuthBase | None
    ) -> None:
        self._session, self._url, self._wanted, self._part, self._auth = session, url, wanted, part, auth
        self._settings = settings_of(session)
        self._most = self._settings.largest_download if wanted.size is None else wanted.size
        self._pieced = part.size > 0  # whether the bytes come from more than one answer
        self._arrived = False  # whether this mirror has sent anything yet
        self._complete = False  # whether the server says that this is all, when the size is unknown

    def run(self) -> None:
        """Bring the file; when bytes of several answers do not fit together, once more from the beginning."""
        self._bring()
        if self._part.digest != self._wanted.digest and self._pieced:
            self._part.restart()
            self._complete = False
            self._bring()
        if self._part.digest != self._wanted.digest:
            found = self._part.digest
            self._part.restart()
            raise self._mismatch(found)

    def _bring(self) -> None:
        """Ask until the server has sent all it has; raises the failure of the last of too many fruitless attempts."""
        patient, furthest = patience(self._settings), self._part.size
        while not self._complete and self._part.size != self._wanted.size:
            failure = self._attempt()
            if self._part.size >= furthest + PROGRESS:
                patient, furthest = patience(self._settings), self._part.size
            if failure is None:
                continue
            try:
                patient = patient.increment("GET", self._url, error=urllib3.exceptions.ProtocolError())
            except urllib3.exceptions.MaxRetryError:
                raise failure from None
            patient.sleep()

    def _attempt(self) -> NetworkError | None:
        """Ask once and take what comes; give the failure when it broke off in a way that can be gone on with."""
        try:
            with exchange(self._session, "GET", self._url, headers=self._range(), auth=self._auth) as response:
                misfit = self._place(response)
                return misfit or self._take(response)
        except NetworkError as failure:
            if self._arrived and type(failure) in {NetworkError, HostUnreachableError, StalledError}:
                return failure  # it was there a moment ago: a restart, a cable
            raise

    def _range(self) -> dict[str, str]:
        if self._part.size == 0:
            return {}
        headers = {"Range": f"bytes={self._part.size}-"}
        origin = self._part.origin()
        if origin and origin.url == plain_url(self._url) and origin.validator:
            headers["If-Range"] = origin.validator
        return headers

    def _place(self, response: requests.Response) -> NetworkError | None:
        """Make the part ready for the body of the answer; give a failure when the body does not fit anywhere."""
        status, offset = response.status_code, self._part.size
        if status == 416 and offset:
            return self._place_beyond_end(response)
        if status == 206 and offset:
            return self._place_range(response)
        if status == 206:
            return MalformedAnswerError(f"{self._name} sends a piece when asked for all", hint="use another mirror")
        if status != 200:
            raise refusal_of(response, self._settings)
        if offset:
            self._part.restart()
        self._pieced = False
        self._check_promise(response)
        self._part.come_from(self._origin(response))
        return None

    def _check_promise(self, response: requests.Response) -> None:
        """Raise, before any byte is taken, when the headers say that this is another file."""
        size, length = self._wanted.size, parse_length(response.headers.get("Content-Length"))
        if size is None or length == size:
            return  # a .tgz that is labelled with Content-Encoding gzip is still the file itself
        if encoding_of(response):
            raise MalformedAnswerError(
                f"{self._name} is sent in Content-Encoding {encoding_of(response)} although it was not asked for",
                hint="look at proxies on the way, or use another mirror",
            )
        if length is not None:
            raise self._wrong_size(str(length))

    def _place_range(self, response: requests.Response) -> NetworkError | None:
        there = parse_content_range(response.headers.get("Content-Range"))
        known, now = self._part.origin(), self._origin(response)
        changed = known is not None and known.url == now.url and known.etag is not None and known.etag != now.etag
        if there is None or not there.continues(self._part.size, self._wanted.size) or changed:
            self._part.restart()
            return MalformedAnswerError(f"{self._name} sends another piece than the one asked for", hint=RESUME_HINT)
        self._pieced = True
        self._part.come_from(now)
        return None

    def _place_beyond_end(self, response: requests.Response) -> NetworkError | None:
        if self._wanted.size is None:
            self._complete = parse_unsatisfied_range(response.headers.get("Content-Range")) == self._part.size
        if self._complete:
            return None
        self._part.restart()
        return MalformedAnswerError(f"{self._name} has fewer bytes than were there before", hint=RESUME_HINT)

    def _take(self, response: requests.Response) -> NetworkError | None:
        """Append the body; give the failure when it broke off."""
        if self._complete:
            return None
        try:
            for chunk in body_of(response, self._settings):
                if self._part.size + len(chunk) > self._most:
                    self._part.restart()
                    raise self._wrong_size(f"more than {self._most}")
                self._part.append(chunk)
                self._arrived = True
        except NetworkError as failure:
            return failure
        if self._wanted.size is not None:
            short = self._part.size < self._wanted.size
            return NetworkError(f"{self._name} ended too early", hint=RESUME_HINT) if short else None
        there = parse_content_range(response.headers.get("Content-Range")) if response.status_code == 206 else None
        self._complete = there is None or there.total == self._part.size
        return None if self._complete else NetworkError(f"{self._name} ended too early", hint=RESUME_HINT)

    @property
    def _name(self) -> str:
        return plain_url(self._url)

    def _origin(self, response: requests.Response) -> Origin:
        return Origin(self._name, response.headers.get("ETag"), response.headers.get("Last-Modified"))

    def _wrong_size(self, found: str) -> SizeMismatchError:
        return SizeMismatchError(
            f"{self._name} has {found} bytes, {self._most} are expected",
            hint="a login page or proxy may answer in its place, or the file was replaced: look at it, or use a mirror",
        )

    def _mismatch(self, found: Digest) -> DigestMismatchError:
        return DigestMismatchError(
            f"{self._name}: got {found}, expected {self._wanted.digest}",
            hint="nothing of it was kept; a proxy may change downloads, or the file was replaced: look at it, "
            "or use a mirror",
        )
