"""Questions with small answers."""

from __future__ import annotations

import http.client
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import requests
import urllib3

from bundler.errors import BundlerError, MalformedAnswerError, NetworkError
from bundler.net.bodies import body_of
from bundler.net.failures import RESUME_HINT, check_url, failure_of, plain_url
from bundler.net.ranges import parse_content_range, parse_length, parse_unsatisfied_range
from bundler.net.refusals import refusal_of
from bundler.net.session import patience, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from requests.auth import AuthBase

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Answer:
    """A whole answer with status 200.

    `url` is where it came from after redirects. `content_type` is in lower case and without parameters. `length` is
    Content-Length, which for a HEAD is the size of the file that was not sent.
    """

    url: str
    body: bytes
    content_type: str
    length: int | None
    etag: str | None
    docker_content_digest: str | None
    ratelimit_remaining: str | None


@contextmanager
def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] = NO_HEADERS,
    auth: AuthBase | None = None,
) -> Iterator[requests.Response]:
    """Ask, and give the answer whatever its status, its body still unread (see `body_of`); redirects are followed.

    Raises UsageError for an address that is none, and NetworkError or one of its kinds.
    """
    check_url(url)
    try:
        response = session.request(method, url, headers=dict(headers), auth=auth, stream=True)
    except BundlerError:
        raise
    except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError) as error:
        # After a redirect another server is to blame than the one that was asked.
        asked = error.request.url if isinstance(error, requests.RequestException) and error.request else None
        raise failure_of(error, asked or url) from None
    try:
        yield response
    finally:
        response.close()


def get_bytes(
    session: requests.Session,
    url: str,
    *,
    limit: int,
    headers: Mapping[str, str] = NO_HEADERS,
    auth: AuthBase | None = None,
) -> Answer:
    """Fetch at most `limit` bytes; asks again when the body breaks off, as often as the settings say.

    Raises MalformedAnswerError when the body is longer, and NetworkError or one of its kinds otherwise.
    """
    patient = patience(settings_of(session))
    while True:
        with exchange(session, "GET", url, headers=headers, auth=auth) as response:
            if response.status_code != 200:
                raise refusal_of(response, settings_of(session))
            try:
                return _answer(response, _whole_body(response, session, limit))
            except MalformedAnswerError:
                raise
            except NetworkError as broken:
                try:
                    patient = patient.increment("GET", url, error=urllib3.exceptions.ProtocolError())
                except urllib3.exceptions.MaxRetryError:
                    raise broken from None
        patient.sleep()


def head(
    session: requests.Session, url: str, *, headers: Mapping[str, str] = NO_HEADERS, auth: AuthBase | None = None
) -> Answer:
    """Ask for the headers alone; raises NetworkError or one of its kinds unless the status is 200."""
    with exchange(session, "HEAD", url, headers=headers, auth=auth) as response:
        if response.status_code != 200:
            raise refusal_of(response, settings_of(session))
        return _answer(response, b"")


def head_size(session: requests.Session, url: str, *, auth: AuthBase | None = None) -> int:
    """Ask how many bytes the file has, without fetching it.

    Servers of signed addresses refuse HEAD, others leave the size out: then one byte is asked for.
    Raises MalformedAnswerError when the server does not say, and NetworkError or one of its kinds otherwise.
    """
    with exchange(session, "HEAD", url, auth=auth) as response:
        if response.status_code in {404, 410, 429, 502, 503, 504}:
            raise refusal_of(response, settings_of(session))
        length = _length_of_file(response)
        if response.status_code == 200 and length is not None:
            return length
    with exchange(session, "GET", url, headers={"Range": "bytes=0-0"}, auth=auth) as response:
        if response.status_code == 206:
            there = parse_content_range(response.headers.get("Content-Range"))
            size = there.total if there else None
        elif response.status_code == 416:
            size = parse_unsatisfied_range(response.headers.get("Content-Range"))
        elif response.status_code == 200:
            size = _length_of_file(response)
        else:
            raise refusal_of(response, settings_of(session))
        if size is None:
            raise MalformedAnswerError(f"{plain_url(url)}: the server does not say its size", hint="use another mirror")
        return size


def encoding_of(response: requests.Response) -> str:
    """Give the Content-Encoding, in lower case; empty when the body is the file itself."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    return "" if encoding == "identity" else encoding


def _length_of_file(response: requests.Response) -> int | None:
    return None if encoding_of(response) else parse_length(response.headers.get("Content-Length"))


def _whole_body(response: requests.Response, session: requests.Session, limit: int) -> bytes:
    too_long = MalformedAnswerError(
        f"{plain_url(response.url)} is longer than the {limit} bytes such an answer may have",
        hint="check the address under sources; a proxy or login page may answer in the server's place",
    )
    if (_length_of_file(response) or 0) > limit:
        raise too_long
    body = bytearray()
    for chunk in body_of(response, settings_of(session), decode=True):
        body += chunk
        if len(body) > limit:
            raise too_long
    if not body and "Content-Length" not in response.headers and "Transfer-Encoding" not in response.headers:
        # http.client takes a connection that ends within the head of an answer for an answer without a body
        raise NetworkError(f"{plain_url(response.url)} broke off before its body", hint=RESUME_HINT)
    return bytes(body)


def _answer(response: requests.Response, body: bytes) -> Answer:
    headers = response.headers
    return Answer(
        url=response.url,
        body=body,
        content_type=headers.get("Content-Type", "").partition(";")[0].strip().lower(),
        length=parse_length(headers.get("Content-Length")),
        etag=headers.get("ETag"),
        docker_content_digest=headers.get("Docker-Content-Digest"),
        ratelimit_remaining=headers.get("RateLimit-Remaining"),
    )
