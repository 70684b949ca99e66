"""Status codes that are not what was asked for, in our words."""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from bundler.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    MalformedAnswerError,
    NetworkError,
    RateLimitError,
    ServerError,
)
from bundler.net.bodies import first_bytes
from bundler.net.failures import host_of, plain_url

if TYPE_CHECKING:
    import requests

    from bundler.net.session import NetworkSettings

MOST_READ = 4 << 10
MOST_SHOWN = 300

_ADDRESS = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_TOKEN = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_SECRET = re.compile(
    r"([\w-]*(?:authorization|token|password|passwd|secret|signature|credential|api[_-]?key|\bsig))"
    r"([\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]+",
    re.IGNORECASE,
)


def refusal_of(response: requests.Response, settings: NetworkSettings) -> NetworkError:
    """Say what a status other than the wanted one means; reads at most 4 KiB of the body."""
    status = response.status_code
    where = plain_url(response.url)
    said = _said(response, settings)
    if status == 429 or (status == 403 and _used_up(response)):
        return RateLimitError(
            f"{host_of(response.url)} limits how often it may be asked: {_allowance(response)}used up"
            f"{_until(response)}{said}",
            hint="log in to have a higher limit (docker login), use a mirror under sources, or wait",
        )
    if status in {401, 403, 407}:
        return _denial_of(response, said)
    if status in {404, 410}:
        return AssetNotFoundError(
            f"{where} does not exist (status {status}){said}", hint="check the release and `sources` in the recipe"
        )
    if status >= 500:
        return ServerError(
            f"{where}: the server fails (status {status}){said}", hint="try again later, or use a mirror under sources"
        )
    return MalformedAnswerError(
        f"{where} answers with status {status}, which does not fit the question{said}",
        hint="check the address under sources; a proxy or login page may answer in the server's place",
    )


def _denial_of(response: requests.Response, said: str) -> AccessDeniedError:
    status, where = response.status_code, plain_url(response.url)
    if status == 407:
        return AccessDeniedError(
            f"the proxy wants a name and a password for {where}{said}",
            hint="put them into HTTP_PROXY and HTTPS_PROXY: http://name:password@proxy:3128",
        )
    if status == 401:
        return AccessDeniedError(
            f"{where} wants to know who asks (status 401){said}",
            hint=f"log in: docker login {host_of(response.url)}; if you are, the name or password is wrong or expired",
        )
    return AccessDeniedError(
        f"{where} is refused (status {status}){said}",
        hint="the account may not read it, or a proxy or firewall forbids the address",
    )


def _used_up(response: requests.Response) -> bool:
    """GitHub answers 403 when the limit is used up (docs.github.com, rate limits for the REST API)."""
    return response.headers.get("X-RateLimit-Remaining", "").strip() == "0"


def _allowance(response: requests.Response) -> str:
    """Say what the limit is: Docker Hub's `100;w=21600` is requests and seconds; GitHub gives the number alone."""
    number, window = _limit(response)
    if not number:
        return ""
    return f"{number} requests in {_span(window)} are " if window else f"{number} requests are "


def _limit(response: requests.Response) -> tuple[int, int]:
    """Read how often may be asked, and in how many seconds; 0 for what is not said."""
    headers = response.headers
    stated = headers.get("RateLimit-Limit") or headers.get("X-RateLimit-Limit") or ""
    match = re.match(r"\s*([0-9]{1,9})\s*(?:;\s*w=([0-9]{1,9}))?(?:[\s,;]|$)", stated, re.ASCII)
    return (int(match[1]), int(match[2] or 0)) if match else (0, 0)


def _until(response: requests.Response) -> str:
    """Say when to come again, by whatever tells it best.

    Retry-After (RFC 9110, 10.2.3); GitHub's X-RateLimit-Reset in seconds since 1970; RateLimit-Reset in seconds from
    now (draft-ietf-httpapi-ratelimit-headers); else the window, after which each request counts no more.
    """
    after = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", after):
        return f"; it says to wait {after} s ({_span(int(after))})" if int(after) >= 60 else f"; wait {after} s"
    if re.fullmatch(r"[A-Za-z0-9 ,:+-]{8,40}", after):
        return f"; it says to wait until {after}"
    reset = response.headers.get("X-RateLimit-Reset", "").strip()
    if re.fullmatch(r"[0-9]{9,10}", reset):
        return f"; it is renewed at {datetime.fromtimestamp(int(reset), UTC):%Y-%m-%d %H:%M} UTC"
    reset = response.headers.get("RateLimit-Reset", "").strip()
    if re.fullmatch(r"[0-9]{1,8}", reset):
        return f"; it is renewed in {_span(int(reset))}"
    _, window = _limit(response)
    return f"; it is renewed bit by bit, the whole of it within {_span(window)}" if window else ""


def _span(seconds: int) -> str:
    return f"{seconds // 3600} h {seconds % 3600 // 60} min" if seconds >= 60 else f"{seconds} s"


def _said(response: requests.Response, settings: NetworkSettings) -> str:
    """Give what the server says about it, short, on one line, without secrets; nothing when it is a page."""
    if response.request.method == "HEAD" or "html" in response.headers.get("Content-Type", "").lower():
        return ""
    try:
        text = first_bytes(response, settings, MOST_READ).decode("utf-8", "replace")
    except NetworkError:
        return ""
    text = _message_of(text)
    for secret in _secrets_sent(response):
        text = text.replace(secret, "[redacted]")
    text = _ADDRESS.sub(lambda match: plain_url(match[0]), text)
    text = _TOKEN.sub(r"\1 [redacted]", text)
    text = _SECRET.sub(r"\1\2[redacted]", text)
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if not text or text.startswith("<"):
        return ""
    return f": it says {text[:MOST_SHOWN]!r}"


def _message_of(text: str) -> str:
    """Take the messages out of a registry's JSON (distribution-spec, error codes) or GitHub's; else the text itself."""
    try:
        answer: Any = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(answer, dict):
        return text
    errors = answer.get("errors")
    if isinstance(errors, list):
        told = [(each.get("code", ""), each.get("message", "")) for each in errors if isinstance(each, dict)]
        return "; ".join(f"{code} {message}".strip() for code, message in told)
    return str(answer.get("message") or answer.get("details") or text)


def _secrets_sent(response: requests.Response) -> list[str]:
    """Find what was sent as credentials, in case the server repeats it."""
    found = []
    for header in ("Authorization", "Proxy-Authorization"):
        _, _, value = str(response.request.headers.get(header, "")).partition(" ")
        if value:
            found.append(value)
            try:
                _, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, ValueError):
                continue
            found.append(password)
    userinfo = str(response.request.url).partition("://")[2].partition("/")[0].rpartition("@")[0]
    found += [userinfo, unquote(userinfo.partition(":")[2])]
    return sorted((each for each in found if len(each) >= 4), key=len, reverse=True)
