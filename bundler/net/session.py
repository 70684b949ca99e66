"""The one way to ask a server: a session of requests with bounded waits and no surprises."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url
from urllib3.exceptions import InvalidHeader, MaxRetryError, ResponseError
from urllib3.util.retry import Retry

from bundler import __version__
from bundler.errors import MalformedAnswerError, NetworkError
from bundler.net.bodies import first_bytes
from bundler.net.connection import BudgetedAdapter
from bundler.net.failures import host_of, plain_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from ssl import SSLContext

    from urllib3.response import BaseHTTPResponse

    from bundler.net.certificates import Certificates

RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
FOR_EVER = 10**12
"""Seconds that no server asks to wait."""
FAILING_ANSWERS = 4
"""How often a server is asked again that answers with an error of its own: a moment, not a maintenance."""
SILENT_READS = 2
"""How often a server that accepts a question and does not answer is asked again."""

REDIRECT_PAGE = 8 << 10
"""Bytes that are read of the page of a redirect."""


def _nobody(_: str) -> None:
    pass


@dataclass(frozen=True)
class NetworkSettings:
    """How patient the network code is. Times are seconds.

    `connect_timeout` bounds resolving a name and trying all addresses together; `read_timeout` a time without any byte.
    `retries` is how often a failing answer, or a transfer that makes no progress, is tried again. The pause before the
    n-th repeat is `backoff` * 2**(n-1), at most `backoff_max`, none before the first. A server that asks for a longer
    pause than `retry_after_max` is not waited for. Below `slowest` bytes a second over `slow_window` seconds a transfer
    counts as stalled. Of a file of unknown size `largest_download` bytes are taken at most. `ca_file` holds the trusted
    authorities when REQUESTS_CA_BUNDLE names no file. `certificates` are those of single servers, by host with its port
    when one is written: they hold for no other, wherever a redirect leads. `notice` is told what is asked again, once
    for each host.
    """

    connect_timeout: float = 10
    read_timeout: float = 60
    retries: int = 5
    retry_after_max: float = 60
    user_agent: str = f"k3s-bundler/{__version__}"
    backoff: float = 1
    backoff_max: float = 30
    slowest: float = 1024
    slow_window: float = 60
    largest_download: int = 16 << 30
    ca_file: Path | None = None
    certificates: Mapping[str, Certificates] = field(default_factory=lambda: MappingProxyType({}))
    notice: Callable[[str], None] = _nobody


class Patience(Retry):
    """How often and how long to wait. Gives up at once when a server asks for a longer pause than is allowed."""

    notice: Callable[[str], None] = staticmethod(_nobody)

    def new(self, **changes: Any) -> Patience:
        """Give the same with changes."""
        other = super().new(**changes)
        other.notice = self.notice
        return other

    def parse_retry_after(self, retry_after: str) -> float:
        """Read Retry-After in seconds; one that makes no sense is none."""
        try:
            return super().parse_retry_after(retry_after)
        except (InvalidHeader, ValueError, OverflowError):
            return 0

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        *rest: Any,
        **named: Any,
    ) -> Patience:
        """Count one more failure; raises MaxRetryError when it was the last."""
        if response is not None:
            asked = self.new(retry_after_max=FOR_EVER).get_retry_after(response)
            if asked is not None and asked > self.retry_after_max:
                raise MaxRetryError(named["_pool"], url, ResponseError("asked to wait too long"))
        more = super().increment(method, url, response, *rest, **named)
        if response is not None and response.status in RETRIED_STATUS and not self.history:
            pool = named["_pool"]
            host = f"{pool.host}:{pool.port}" if pool.port not in {80, 443} else pool.host
            again = f"asking again, up to {self.status} times"
            self.notice(f"{host} answers with status {response.status}: {again}")
        if response is not None:
            response.close()  # urllib3 would read the whole body, however long, to keep the connection
        return more


def patience(settings: NetworkSettings) -> Patience:
    """Begin to be patient.

    Connecting has its own budget (`bundler.net.connection`), and what is neither connecting nor reading, such as a
    certificate that is not trusted, does not get better by asking again.
    """
    return Patience(
        total=None,
        connect=0,
        read=settings.retries,
        redirect=0,
        status=settings.retries,
        other=0,
        allowed_methods=frozenset({"GET", "HEAD"}),
        status_forcelist=RETRIED_STATUS,
        backoff_factor=settings.backoff,
        backoff_jitter=settings.backoff / 2,
        backoff_max=settings.backoff_max,
        retry_after_max=settings.retry_after_max,  # type: ignore[arg-type]  # a float works as well
        raise_on_status=False,
    )


def patience_with_answers(settings: NetworkSettings) -> Patience:
    """Begin to be patient with single answers: less than with a transfer, which keeps what has arrived."""
    patient = patience(settings).new(
        read=min(settings.retries, SILENT_READS),
        status=min(settings.retries, FAILING_ANSWERS),
        backoff_factor=settings.backoff / 2,
        backoff_jitter=settings.backoff / 4,
    )
    patient.notice = settings.notice
    return patient


class AddressAuth(AuthBase):
    """Credentials written into the address, and no others.

    A session without any auth object takes credentials from ~/.netrc, which even replace an Authorization header.
    """

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add what the address says."""
        name, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(name, password)(request) if name or password else request


class Session(requests.Session):
    """A session that keeps to `settings`. Make it with `open_session`."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send with the timeouts of the settings: requests has none of its own."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = (self.settings.connect_timeout, self.settings.read_timeout)
        return super().send(request, **kwargs)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Say where a redirect goes. Of its page only the beginning is read: requests would read all of it."""
        target = super().get_redirect_target(resp)
        if target is not None and not resp._content_consumed:  # type: ignore[attr-defined]  # noqa: SLF001 - the one way to keep requests from reading the page
            with suppress(NetworkError):  # a short page read to its end leaves the connection usable
                first_bytes(resp, self.settings, REDIRECT_PAGE)
            resp.raw.close()
            resp._content, resp._content_consumed = b"", True  # type: ignore[attr-defined]  # noqa: SLF001
        return target

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Take credentials out when a redirect leaves the host, and never put any in.

        Raises MalformedAnswerError when a redirect leaves https: what follows could come from anybody.
        """
        before, after = response.request.url or "", prepared_request.url or ""
        if urlsplit(before).scheme == "https" and urlsplit(after).scheme == "http":
            raise MalformedAnswerError(
                f"{plain_url(before)} redirects from https to plain http at {host_of(after)}",
                hint="use another mirror; a secure address must not lead to an insecure one",
            )
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def settings_of(session: requests.Session) -> NetworkSettings:
    """Give the settings the session was opened with; raises TypeError for one that `open_session` did not make."""
    if not isinstance(session, Session):
        raise TypeError("use bundler.net.session.open_session: other sessions wait for ever and read ~/.netrc")
    return session.settings


def open_session(settings: NetworkSettings | None = None) -> Session:
    """Make a session; one is enough for all threads. Proxies and CA bundle of the environment hold.

    Raises CertificateFileError.
    """
    settings = settings or NetworkSettings()
    settings = replace(settings, notice=_once(settings.notice))
    # its debug lines and retry warnings show signed addresses whole
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    session = Session(settings)
    session.auth = AddressAuth()
    session.headers["User-Agent"] = settings.user_agent
    session.headers["Accept-Encoding"] = "identity"
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.max_redirects = 10
    if settings.ca_file is not None:
        session.verify = str(settings.ca_file)
    for scheme in ("http://", "https://"):
        session.mount(scheme, _adapter(settings))
    for host, certificates in settings.certificates.items():
        theirs = _adapter(settings, certificates.context())
        for origin in _origins(host):
            session.mount(origin, theirs)
    return session


def _adapter(settings: NetworkSettings, context: SSLContext | None = None) -> BudgetedAdapter:
    patient = patience_with_answers(settings)
    return BudgetedAdapter(context, pool_connections=16, pool_maxsize=16, max_retries=patient)


def _once(notice: Callable[[str], None]) -> Callable[[str], None]:
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            notice(text)

    return tell


def _origins(host: str) -> tuple[str, ...]:
    """Give what addresses of `host` begin with: port 443 is the same with and without being written."""
    bare = host.removesuffix(":443")
    if bare == host and re.search(r":[0-9]+\Z", host):
        return (f"https://{host}/",)
    return (f"https://{bare}/", f"https://{bare}:443/")
