"""A proxy in front of a real server that breaks chosen answers and counts what it serves."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import sys
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from tests.real.faults import Abreast, Cut, Drip, Drop, FlipByte, Redirect, Stall, Status, WrongLength

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.real.faults import Fault

_PIECE = 64 * 1024
_DRIPS_PER_SECOND = 10
_UPSTREAM_SECONDS = 60
_REPLACED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailers",
        "transfer-encoding",
        "content-length",
    }
)


@dataclass(frozen=True)
class Exchange:
    """One request and what was answered so far."""

    method: str
    path: str
    """Decoded, without the query."""
    range: str
    """The Range header, empty without one."""
    authorization: str
    """The Authorization header, empty without one."""
    status: int
    """0 for a connection closed without an answer."""
    body_bytes: int
    """Body bytes handed to the client; a byte the client has read is always counted."""


@dataclass
class _Rule:
    pattern: re.Pattern[str]
    fault: Fault
    left: int | None


class FaultyProxy:
    """`with FaultyProxy(registry.url) as proxy:` serves the upstream at `proxy.url`, whole, until told otherwise.

    `proxy.fail("/blobs/", Cut(1000), times=2)` breaks the next two answers whose path matches the pattern (a regular
    expression searched in the decoded path). Rules are tried in the order given; a used-up rule is passed over.
    """

    def __init__(self, upstream: str) -> None:
        """Stand before `upstream`, a base URL `http://HOST:PORT`."""
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._exchanges: list[Exchange] = []
        self.stopping = threading.Event()
        """Set when the proxy ends: stalled and slow answers stop waiting."""

    def __enter__(self) -> Self:
        """Listen on a free port of 127.0.0.1."""
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening and let go of stalled connections."""
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as in an image reference."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """Base URL without a final slash."""
        return f"http://{self.host}"

    def fail(self, pattern: str, fault: Fault, *, times: int | None = 1) -> None:
        """Break the next `times` answers (None: every one) whose path matches `pattern`."""
        with self._lock:
            self._rules.append(_Rule(re.compile(pattern), fault, times))

    def heal(self) -> None:
        """Forget every rule."""
        with self._lock:
            self._rules.clear()

    def exchanges(self, pattern: str = "") -> tuple[Exchange, ...]:
        """Requests whose path matches, in the order they came."""
        with self._lock:
            return tuple(exchange for exchange in self._exchanges if re.search(pattern, exchange.path))

    def body_bytes(self, pattern: str = "") -> int:
        """Body bytes served for paths that match."""
        return sum(exchange.body_bytes for exchange in self.exchanges(pattern))

    def fault_for(self, path: str) -> Fault | None:
        """Take the fault that the next answer for `path` shall have."""
        with self._lock:
            for rule in self._rules:
                if rule.left != 0 and rule.pattern.search(path):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule.fault
        return None

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection to the upstream."""
        return http.client.HTTPConnection(*self._upstream, timeout=_UPSTREAM_SECONDS)

    def begin(self, exchange: Exchange) -> int:
        """Note a request; returns its number for `count`."""
        with self._lock:
            self._exchanges.append(exchange)
            return len(self._exchanges) - 1

    def count(self, number: int, *, status: int | None = None, body_bytes: int = 0) -> None:
        """Note what was answered."""
        with self._lock:
            noted = self._exchanges[number]
            self._exchanges[number] = replace(
                noted,
                status=noted.status if status is None else status,
                body_bytes=noted.body_bytes + body_bytes,
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away: tests make them do so."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        """Keep little in the kernel, so that `body_bytes` is near what a client that was killed has read."""
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Write nothing to stderr."""

    def do_GET(self) -> None:
        """Answer every method alike."""
        proxy = self.server.proxy
        body = self._request_body()
        path = unquote(urlsplit(self.path).path)
        number = proxy.begin(
            Exchange(self.command, path, self.headers.get("Range", ""), self.headers.get("Authorization", ""), 0, 0)
        )
        fault = proxy.fault_for(path)
        match fault:
            case Drop():
                self._hang_up()
            case Status(code, headers, content):
                fields = [*headers.items(), ("Content-Length", str(len(content)))]
                self._answer(number, code, fields, iter([content]))
            case Redirect(base):
                target = [("Location", f"{base.rstrip('/')}{self.path}"), ("Content-Length", "0")]
                self._answer(number, 302, target, iter(()))
            case _:
                self._forward(number, body, fault)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def _request_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return content

    def _forward(self, number: int, body: bytes, fault: Fault | None) -> None:
        with contextlib.closing(self.server.proxy.connect()) as connection:
            try:
                answer = self._ask(connection, body)
            except OSError:
                self._answer(number, 502, [("Content-Length", "0")], iter(()))
                return
            length = answer.getheader("Content-Length")
            off_by = fault.off_by if isinstance(fault, WrongLength) else 0
            closing = length is None or isinstance(fault, Cut | Stall | WrongLength)
            fields = [(name, value) for name, value in answer.getheaders() if name.lower() not in _REPLACED]
            fields += [("Content-Length", str(int(length) + off_by))] if length is not None else []
            fields += [("Connection", "close")] if closing else []
            self._answer(number, answer.status, fields, self._pieces(answer, fault))
            if closing:
                self._hang_up()

    def _ask(self, connection: http.client.HTTPConnection, body: bytes) -> http.client.HTTPResponse:
        """Send the request on as it came; Docker repeats a header (Accept), so no mapping of them will do.

        Host stays the one the client used, so that the upstream's own redirects lead back here.
        """
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _REPLACED:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def _answer(self, number: int, status: int, fields: Sequence[tuple[str, str]], pieces: Iterator[bytes]) -> None:
        proxy = self.server.proxy
        proxy.count(number, status=status)
        self.send_response_only(status)
        for name, value in fields:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for piece in pieces:
            proxy.count(number, body_bytes=len(piece))
            self.wfile.write(piece)

    def _pieces(self, answer: http.client.HTTPResponse, fault: Fault | None) -> Iterator[bytes]:
        stopping = self.server.proxy.stopping
        sent = 0
        size = max(1, fault.bytes_per_second // _DRIPS_PER_SECOND) if isinstance(fault, Drip) else _PIECE
        while piece := answer.read(size):
            start, sent = sent, sent + len(piece)
            match fault:
                case Cut(after) | Stall(after) if sent >= after:
                    yield piece[: after - start]
                    if isinstance(fault, Stall):
                        stopping.wait()
                    return
                case FlipByte(at) if start <= at < sent:
                    damaged = bytearray(piece)
                    damaged[at - start] ^= 0x01
                    piece = bytes(damaged)
                case Drip():
                    stopping.wait(len(piece) / fault.bytes_per_second)
                case Abreast():
                    stopping.wait(len(piece) / fault.bytes_per_second)
                    self._wait_for_reader(fault, _first_byte(answer) + start)
                case _:
                    pass
            yield piece

    def _wait_for_reader(self, fault: Abreast, position: int) -> None:
        """Wait until the reader is near `position`; raises ConnectionError when it is gone."""
        path = unquote(urlsplit(self.path).path)
        while position >= fault.arrived(path) + fault.lead:
            if self.server.proxy.stopping.wait(0.001):
                raise ConnectionAbortedError("the proxy is being closed")
            with contextlib.suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise ConnectionAbortedError("the client is gone")

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):  # the client was faster
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def _first_byte(answer: http.client.HTTPResponse) -> int:
    """Say where the body of an answer begins in the whole file."""
    found = re.match(r"bytes ([0-9]+)-", answer.getheader("Content-Range") or "")
    return int(found[1]) if found else 0
