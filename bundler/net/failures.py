"""What the libraries raise, in our words. No message of theirs is passed on whole: theirs carry signed addresses."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
import urllib3

from bundler.errors import (
    AccessDeniedError,
    BundlerError,
    HostError,
    HostUnreachableError,
    MalformedAnswerError,
    NetworkError,
    StalledError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNREACHABLE_HINT = (
    "check the network and the name; behind a proxy set HTTPS_PROXY and NO_PROXY; for a mirror see `sources` in the "
    "recipe; to try without internet run `make demo`"
)
CERTIFICATE_HINT = (
    "if your network has a certificate authority of its own, name its file in REQUESTS_CA_BUNDLE (Debian and Ubuntu: "
    "/etc/ssl/certs/ca-certificates.crt), or as tls.ca_file of that host under sources; check this machine's clock too"
)
RESUME_HINT = "run it again: what has arrived is kept and the rest is fetched; if it stays so, use a mirror"

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")

Cause = TypeVar("Cause", bound=BaseException)


def plain_url(url: str) -> str:
    """Give `url` without what may be secret: user, password, query, fragment."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "an address that cannot be read"


def host_of(url: str) -> str:
    """Give the host, with its port when one is written."""
    return urlsplit(plain_url(url)).netloc or "no host"


def check_url(url: str) -> None:
    """Raise UsageError unless `url` is an http or https address with a host."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(f"{plain_url(url)} is no http or https address", hint="correct it under sources in the recipe")


def failure_of(error: Exception, url: str) -> BundlerError:
    """Turn what requests and urllib3 raise about `url` into one of our errors. Never raises itself."""
    causes = list(_causes(error))
    return (
        _failure_at_proxy(causes, url)
        or _failure_to_connect(causes, url)
        or _failure_of_tls(causes, url)
        or _failure_of_address(causes, url)
        or _failure_in_transfer(causes, url)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give the error and all it wraps: requests wraps urllib3, which wraps urllib3, http.client or the system."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = (getattr(cause, "reason", None), getattr(cause, "original_error", None), *cause.args, cause.__cause__)
        waiting.extend(each for each in inner if isinstance(each, BaseException))


def _find(causes: list[BaseException], kind: type[Cause]) -> Cause | None:
    return next((cause for cause in causes if isinstance(cause, kind)), None)


def _system_reason(causes: list[BaseException]) -> str | None:
    return next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)


def _failure_at_proxy(causes: list[BaseException], url: str) -> BundlerError | None:
    if _find(causes, requests.exceptions.InvalidProxyURL) or _find(causes, urllib3.exceptions.ProxySchemeUnknown):
        return UsageError(
            "the address of the proxy cannot be read",
            hint="HTTPS_PROXY and HTTP_PROXY look like http://proxy.example:3128",
        )
    if any("SOCKS" in str(cause) for cause in causes if isinstance(cause, requests.exceptions.InvalidSchema)):
        return UsageError(
            "the environment names a SOCKS proxy, for which a package is missing",
            hint="pip install 'k3s-bundler[socks]'",
        )
    if not _find(causes, urllib3.exceptions.ProxyError):
        return None
    refused = next((match for cause in causes if (match := _TUNNEL.search(str(cause)))), None)
    if refused and refused[1] in {"401", "403", "407"}:
        return AccessDeniedError(
            f"the proxy does not let us through to {host_of(url)} (status {refused[1]})",
            hint="put name and password into HTTPS_PROXY (http://name:password@proxy:3128), "
            "or list the host in NO_PROXY",
        )
    if refused:
        return HostUnreachableError(
            f"the proxy cannot reach {host_of(url)} (status {refused[1]})", hint=UNREACHABLE_HINT
        )
    return None


def _failure_to_connect(causes: list[BaseException], url: str) -> BundlerError | None:
    error = _find(causes, urllib3.exceptions.ConnectTimeoutError)
    if error is None:
        return None
    connection = getattr(error, "conn", None) or (error.args[0] if error.args else None)
    if isinstance(connection, urllib3.connection.HTTPConnection) and connection.proxy:
        reached = f"the proxy {connection.host}:{connection.port} on the way to {host_of(url)}"
    else:
        reached = host_of(url)
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        why = "its name does not resolve"
    elif isinstance(error, urllib3.exceptions.NewConnectionError):
        why = _system_reason(causes) or "it does not accept connections"
    else:
        why = "it does not answer in time"
    return HostUnreachableError(f"{reached} cannot be reached: {why}", hint=UNREACHABLE_HINT)


def _failure_of_tls(causes: list[BaseException], url: str) -> BundlerError | None:
    rejected = _find(causes, ssl.SSLCertVerificationError)
    if rejected:
        return NetworkError(
            f"the certificate of {host_of(url)} is not trusted: {rejected.verify_message or 'verification failed'}",
            hint=CERTIFICATE_HINT,
        )
    if any(isinstance(cause, OSError) and "CA certificate bundle" in str(cause) for cause in causes):
        return HostError(
            "the file of trusted certificates does not exist",
            hint="correct REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, or unset it",
        )
    tls = _find(causes, ssl.SSLError)
    if tls is None and not _find(causes, urllib3.exceptions.SSLError):
        return None
    reason = getattr(tls, "reason", None) or "the handshake failed"
    return NetworkError(
        f"no secure connection to {host_of(url)}: {str(reason).lower().replace('_', ' ')}",
        hint="if that server speaks plain http, write http:// in the address; otherwise look at proxies on the way "
        "and at the file in REQUESTS_CA_BUNDLE",
    )


def _failure_of_address(causes: list[BaseException], url: str) -> BundlerError | None:
    if _find(causes, requests.TooManyRedirects):
        return MalformedAnswerError(
            f"{plain_url(url)} redirects in a circle", hint="check the address under sources, or use a mirror"
        )
    odd = (
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
        requests.exceptions.InvalidSchema,
        urllib3.exceptions.LocationValueError,
        UnicodeError,
    )
    if not any(isinstance(cause, odd) for cause in causes):
        return None
    return MalformedAnswerError(
        f"{plain_url(url)}, or an address it redirects to, is no http or https address that can be asked",
        hint="check the address under sources, or use a mirror",
    )


def _failure_in_transfer(causes: list[BaseException], url: str) -> BundlerError:
    timeouts = (urllib3.exceptions.ReadTimeoutError, requests.exceptions.Timeout, TimeoutError)
    if any(isinstance(cause, timeouts) for cause in causes):
        return StalledError(f"{plain_url(url)} stopped sending", hint=RESUME_HINT)
    if _find(causes, urllib3.exceptions.DecodeError):
        return MalformedAnswerError(
            f"{plain_url(url)} came in a damaged Content-Encoding", hint="look at proxies on the way, or use a mirror"
        )
    if _find(causes, requests.exceptions.InvalidHeader):
        return UsageError(
            f"a header for {host_of(url)} has characters no header may have",
            hint="look for line breaks in the credentials",
        )
    why = _system_reason(causes) or "the connection ended before the answer did"
    return NetworkError(f"{plain_url(url)} broke off: {why}", hint=RESUME_HINT)
