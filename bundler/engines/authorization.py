"""Answers a registry's 401: Basic, or a token from the realm it names (distribution docs, token.md and oauth.md)."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth

from bundler.errors import AccessDeniedError, MalformedAnswerError, NetworkError
from bundler.net.failures import host_of, plain_url
from bundler.net.refusals import refusal_of
from bundler.net.session import settings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.engines.credentials import Credentials

_DEFAULT_LIFETIME = 60  # seconds, when `expires_in` is missing (token.md)
_TOKEN_LIMIT = 1 << 20  # bytes of a token answer
_TOKEN = re.compile(r"[!-~]+")
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte


@dataclass(frozen=True)
class _Grant:
    """An Authorization header and when (monotonic seconds) it stops being good."""

    header: str
    until: float


class RegistryAuthorization(AuthBase):
    """Adds what one registry wants for pulling from one repository; asks for a new token when the old one expires.

    Nothing is sent before the registry asks, nothing ever goes to another host, and passwords go to a realm only over
    TLS unless the registry itself is spoken to in the clear. Safe to use from several threads.
    """

    def __init__(
        self, session: requests.Session, origin: str, scope: str, find: Callable[[], Credentials | None]
    ) -> None:
        self._session, self._origin, self._scope, self._find = session, origin, scope, find
        self._grant: _Grant | None = None
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:  # noqa: D102  by requests
        grant = self._grant
        if grant and grant.until > time.monotonic():
            request.headers["Authorization"] = grant.header
        request.hooks["response"].append(self._answer)
        return request

    def _answer(self, response: requests.Response, **options: Any) -> requests.Response:
        request = response.request
        if response.status_code != 401 or not _same_origin(request.url or "", self._origin):
            return response
        sent = request.headers.get("Authorization", "")
        try:
            grant = self._grant_instead_of(sent, response.headers.get("WWW-Authenticate", ""))
        except BaseException:
            response.close()  # nobody else will: requests does not know of it yet
            raise
        if grant is None or grant.header == sent:
            return response
        response.close()
        again = request.copy()
        again.headers["Authorization"] = grant.header
        again.hooks["response"] = []
        answer = response.connection.send(again, **options)
        answer.history.append(response)
        answer.request = again
        return answer

    def _grant_instead_of(self, sent: str, challenge: str) -> _Grant | None:
        with self._lock:
            if self._grant is None or self._grant.header == sent or self._grant.until <= time.monotonic():
                self._grant = self._ask(challenge)
            return self._grant

    def _ask(self, challenge: str) -> _Grant | None:
        scheme, _, rest = challenge.partition(" ")
        credentials = self._find()
        if scheme.lower() == "basic":
            return _basic(credentials) if credentials else None
        if scheme.lower() != "bearer":
            return None
        fields = _fields(rest)
        realm = fields.get("realm", "")
        kind = _scheme(realm)
        if kind not in {"http", "https"}:
            return None
        if credentials and kind == "http" and _scheme(self._origin) != "http":
            raise AccessDeniedError(
                f"{self._origin} sends logins to {plain_url(realm)}, which is not encrypted",
                hint="the password was not sent; have the registry's realm served over https",
            )
        return self._fetch_token(realm, fields.get("service", ""), fields.get("scope") or self._scope, credentials)

    def _fetch_token(self, realm: str, service: str, scope: str, credentials: Credentials | None) -> _Grant:
        began = time.monotonic()
        try:
            if credentials and credentials.identity_token:
                with self._refresh(realm, service, scope, credentials.identity_token) as response:
                    if response.status_code not in {404, 405}:  # servers that know the older way alone
                        return self._read_grant(response, began)
            with self._get_token(realm, service, scope, credentials) as response:
                return self._read_grant(response, began)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise NetworkError(
                f"{self._origin} wants a token from {host_of(realm)}, which did not answer: {type(error).__name__}",
                hint="check that this host can be reached too",
            ) from None

    def _refresh(self, realm: str, service: str, scope: str, token: str) -> requests.Response:
        form = {"grant_type": "refresh_token", "service": service, "client_id": "k3s-bundler", "scope": scope}
        # A redirect of a POST may send the form, and with it the token, anywhere.
        return self._session.post(
            realm,
            data={**form, "refresh_token": token},
            auth=_nothing,
            timeout=_TIMEOUT,
            stream=True,
            allow_redirects=False,
        )

    def _get_token(self, realm: str, service: str, scope: str, credentials: Credentials | None) -> requests.Response:
        query = [("service", service), *(("scope", each) for each in scope.split(" "))]
        secret = credentials and (credentials.password or credentials.identity_token)
        basic = _basic_auth(credentials.username, secret) if credentials and secret else _nothing
        return self._session.get(realm, params=query, auth=basic, timeout=_TIMEOUT, stream=True)

    def _read_grant(self, response: requests.Response, began: float) -> _Grant:
        host, status = host_of(response.url), response.status_code
        if status in {400, 401, 403}:
            raise AccessDeniedError(
                f"{host} refuses a token (HTTP {status})",
                hint="the stored login is wrong or expired: run docker login again, or docker logout to go without",
            )
        if status == 429 or status >= 500:
            raise refusal_of(response, settings_of(self._session))
        body = response.raw.read(_TOKEN_LIMIT, decode_content=True) if status == 200 else b""
        try:
            data = json.loads(body)
            token = _TOKEN.fullmatch(data.get("token") or data["access_token"])
            lifetime = float(data.get("expires_in") or _DEFAULT_LIFETIME)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise _no_token(host, f"HTTP {status}, {type(error).__name__}") from None
        if token is None:
            raise _no_token(host, "it has characters no header may have")
        # A tenth is left aside so that no token ends while a request is under way.
        return _Grant(f"Bearer {token[0]}", began + lifetime * 0.9)


def _no_token(host: str, why: str) -> MalformedAnswerError:
    return MalformedAnswerError(f"{host} gave no token: {why}", hint="try again later; the registry is at fault")


def _fields(challenge: str) -> dict[str, str]:
    """Read the parameters of a challenge (RFC 9110, 11.6.1); nothing when they are not in its form."""
    try:
        fields = parse_keqv_list(parse_http_list(challenge))
    except (ValueError, IndexError):
        return {}
    return {name.lower(): value for name, value in fields.items()}


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""


def _basic(credentials: Credentials) -> _Grant:
    basic = _basic_auth(credentials.username, credentials.password)
    request = basic(requests.Request("GET", "http://x/").prepare())
    return _Grant(request.headers["Authorization"], float("inf"))


def _basic_auth(username: str, password: str) -> HTTPBasicAuth:
    # As bytes: requests would write text in Latin-1, and Docker writes UTF-8.
    return HTTPBasicAuth(username.encode(), password.encode())


def _nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # An explicit authorizer, because without one requests would send what ~/.netrc says.
    return request


def _same_origin(url: str, origin: str) -> bool:
    ours, theirs = urlsplit(origin), urlsplit(url)
    return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
