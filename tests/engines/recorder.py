"""A web server that answers as a test says and remembers all it was sent: bodies, headers, passwords."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme


@dataclass(frozen=True)
class Asked:
    """A request; header names are lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters of the address."""
        return parse_qs(urlsplit(self.path).query)

    @property
    def form(self) -> dict[str, list[str]]:
        """The parameters of the body."""
        return parse_qs(self.body.decode())

    @property
    def login(self) -> str:
        """Name and password of Basic, or the whole Authorization header of another kind."""
        kind, _, value = self.headers.get("authorization", "").partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else f"{kind} {value}".strip()


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def token(value: str = "good", **more: Any) -> Reply:
    """Answer with a token."""
    return Reply(200, json.dumps({"token": value, **more}).encode(), {"Content-Type": "application/json"})


def challenge(text: str) -> Reply:
    """Answer 401 with a challenge."""
    return Reply(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}', {"WWW-Authenticate": text})


class Recorder:
    """Runs between `with Recorder(answer) as recorder:` and the end of the block; with TLS given an `authority`.

    With a `client_authority` clients need a certificate from it. A `context` says all about TLS instead.
    """

    def __init__(
        self,
        answer: Callable[[Asked], Reply],
        authority: trustme.CA | None = None,
        *,
        client_authority: trustme.CA | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self._server = _Server(("127.0.0.1", 0), _handler(answer, self.asked))
        scheme = "http"
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            if client_authority:
                client_authority.configure_trust(context)
                context.verify_mode = ssl.CERT_REQUIRED
        if context:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{scheme}://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def paths(self) -> list[str]:
        """Give methods and paths without queries, in order."""
        return [f"{each.method} {each.path.partition('?')[0]}" for each in self.asked]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of handshakes that fail: tests make them do so."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(answer: Callable[[Asked], Reply], log: list[Asked]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            asked = Asked(self.command, self.path, headers, body)
            log.append(asked)
            reply = answer(asked)
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body)

        do_HEAD = do_POST = do_GET  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Handler
