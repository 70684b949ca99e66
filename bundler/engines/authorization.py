"""Answers a registry's 401: Basic, or a token from the realm it names (distribution docs, token.md and oauth.md)."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from bundler.errors import AccessDeniedError, MalformedAnswerError, NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.engines.credentials import Credentials

_DEFAULT_LIFETIME = 60  # seconds, when `expires_in` is missing (token.md)
_TOKEN_LIMIT = 1 << 20  # bytes of a token answer
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
        with self._lock:
            if self._grant is None or self._grant.header == sent or self._grant.until <= time.monotonic():
                self._grant = self._ask(response.headers.get("WWW-Authenticate", ""))
            grant = self._grant
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

    def _ask(self, challenge: str) -> _Grant | None:
        scheme, _, rest = challenge.partition(" ")
        credentials = self._find()
        if scheme.lower() == "basic":
            return _basic(credentials) if credentials else None
        if scheme.lower() != "bearer":
            return None
        fields = parse_keqv_list(parse_http_list(rest))
        realm = fields.get("realm", "")
        if urlsplit(realm).scheme not in {"http", "https"}:
            return None
        if credentials and realm.startswith("http://") and not self._origin.startswith("http://"):
            raise AccessDeniedError(
                f"{self._origin} sends logins to {realm}, which is not encrypted",
                hint="the password was not sent; have the registry's realm served over https",
            )
        return self._fetch_token(realm, fields.get("service", ""), fields.get("scope") or self._scope, credentials)

    def _fetch_token(self, realm: str, service: str, scope: str, credentials: Credentials | None) -> _Grant:
        query = [("service", service), *(("scope", each) for each in scope.split(" "))]
        began = time.monotonic()
        try:
            if credentials and credentials.identity_token:
                response = self._refresh(realm, service, scope, credentials.identity_token)
            else:
                basic = HTTPBasicAuth(credentials.username, credentials.password) if credentials else _nothing
                response = self._session.get(realm, params=query, auth=basic, timeout=_TIMEOUT, stream=True)
            with response:
                return _read_grant(response, realm, began)
        except requests.RequestException as error:
            host, why = urlsplit(realm).netloc, type(error).__name__
            raise NetworkError(
                f"{self._origin} wants a token from {host}, which did not answer: {why}",
                hint="check that this host can be reached too",
            ) from None

    def _refresh(self, realm: str, service: str, scope: str, token: str) -> requests.Response:
        form = {"grant_type": "refresh_token", "service": service, "client_id": "k3s-bundler", "scope": scope}
        return self._session.post(
            realm, data={**form, "refresh_token": token}, auth=_nothing, timeout=_TIMEOUT, stream=True
        )


def _read_grant(response: requests.Response, realm: str, began: float) -> _Grant:
    host = urlsplit(realm).netloc
    if response.status_code in {400, 401, 403}:
        raise AccessDeniedError(
            f"{host} refuses a token (HTTP {response.status_code})",
            hint="the stored login is wrong or expired: run docker login again, or docker logout to go without",
        )
    body = response.raw.read(_TOKEN_LIMIT, decode_content=True) if response.status_code == 200 else b""
    try:
        data = json.loads(body)
        token = data.get("token") or data["access_token"]
        lifetime = float(data.get("expires_in") or _DEFAULT_LIFETIME)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MalformedAnswerError(
            f"{host} gave no token: HTTP {response.status_code}, {type(error).__name__}: {error}",
            hint="try again later; the registry is at fault",
        ) from None
    # A tenth is left aside so that no token ends while a request is under way.
    return _Grant(f"Bearer {token}", began + lifetime * 0.9)


def _basic(credentials: Credentials) -> _Grant:
    request = HTTPBasicAuth(credentials.username, credentials.password)(requests.Request(url="http://x/").prepare())
    return _Grant(request.headers["Authorization"], float("inf"))


def _nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    # An explicit authorizer, because without one requests would send what ~/.netrc says.
    return request


def _same_origin(url: str, origin: str) -> bool:
    ours, theirs = urlsplit(origin), urlsplit(url)
    return (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc)
