"""Who may read the registry: everybody, holders of a password, or holders of a token (distribution, spec/auth)."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from tests.upstream.answers import Answer, error

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags)/[^/]+")


class OpenAccess:
    """Everybody may read. The base of the other two."""

    def refusal(self, path: str, headers: Mapping[str, str], origin: str) -> Answer | None:
        """Give the answer that refuses a request below /v2/, or None to let it through. Header names are lower case."""
        return None

    def token(self, query: str, headers: Mapping[str, str]) -> Answer:
        """Answer GET /token."""
        return error(404, "UNSUPPORTED", "this registry gives no tokens")


class BasicAccess(OpenAccess):
    """One user with a password, sent with each request (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._authorization = _basic(user, password)

    def refusal(self, path: str, headers: Mapping[str, str], origin: str) -> Answer | None:
        if headers.get("authorization") == self._authorization:
            return None
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": 'Basic realm="upstream"'})


class BearerAccess(OpenAccess):
    """Tokens for one repository each, from /token of the same server, good for `lifetime` seconds.

    With a user, only that user's tokens give any right; anonymous ones come with a token that allows nothing, as Docker
    Hub does for private repositories.
    """

    def __init__(self, user: str = "", password: str = "", lifetime: float = 300) -> None:
        self._authorization = _basic(user, password) if user else ""
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._issued = 0
        self._valid: dict[str, tuple[frozenset[str], float]] = {}

    def expire_tokens(self) -> None:
        """Let every token given so far end now."""
        with self._lock:
            self._valid.clear()

    def refusal(self, path: str, headers: Mapping[str, str], origin: str) -> Answer | None:
        match = _REPOSITORY.fullmatch(path)
        scope = f"repository:{match[1]}:pull" if match else ""
        kind, _, presented = headers.get("authorization", "").partition(" ")
        with self._lock:
            scopes, end = self._valid.get(presented, (frozenset[str](), 0.0))
        if kind == "Bearer" and time.monotonic() < end and (not scope or scope in scopes):
            return None
        challenge = f'Bearer realm="{origin}/token",service="upstream"'
        if scope:
            challenge += f',scope="{scope}"'
        if presented:
            known = time.monotonic() < end
            challenge += f',error="{"insufficient_scope" if known else "invalid_token"}"'
        return error(401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def token(self, query: str, headers: Mapping[str, str]) -> Answer:
        asked = parse_qs(query)
        presented = headers.get("authorization", "")
        if asked.get("service") != ["upstream"]:
            return error(400, "UNSUPPORTED", "service must be upstream, as in the challenge")
        if presented and presented != self._authorization:
            return error(401, "UNAUTHORIZED", "wrong user name or password")
        allowed = presented == self._authorization
        scopes = frozenset(asked.get("scope", ())) if allowed else frozenset[str]()
        with self._lock:
            self._issued += 1
            token = f"upstream-token-{self._issued:032d}"
            self._valid[token] = (scopes, time.monotonic() + self._lifetime)
        body = json.dumps({"token": token, "expires_in": int(self._lifetime)}).encode()
        return Answer(200, {"Content-Type": "application/json"}, memoryview(body))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
