"""The HTTP side: sockets, threads, and sending bodies well or badly."""

from __future__ import annotations

import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.upstream.answers import Answer
from tests.upstream.faults import Delivery

if TYPE_CHECKING:
    from tests.upstream.log import Record, RequestLog

_CHUNK = 16 << 10
_SEND_BUFFER = 64 << 10  # small, so that the bytes counted as sent are near to those a killed client has read

Respond = Callable[[str, str, dict[str, str]], tuple[Answer, Delivery]]
"""From method, path with query, and headers by lower-case name to the answer and how to send it."""


class Server(ThreadingHTTPServer):
    """A server on 127.0.0.1 that ends all its connections and threads when it is closed."""

    daemon_threads = False
    request_queue_size = 128

    def __init__(self, port: int, respond: Respond, log: RequestLog) -> None:
        self.respond = respond
        self.log = log
        self.closing = threading.Event()
        self.crashes: list[Exception] = []
        self.to_reset: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        if request in self.to_reset:
            self.to_reset.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        failure = sys.exc_info()[1]
        if isinstance(failure, Exception) and not isinstance(failure, ConnectionError):
            self.crashes.append(failure)

    def close(self) -> None:
        """End stalls, connections and threads."""
        self.closing.set()
        self.shutdown()
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # the client was faster
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        headers = {name.lower(): ", ".join(self.headers.get_all(name, ())) for name in self.headers}
        record = self.server.log.begin(self.command, self.path, headers)
        self.rfile.read(int(headers.get("content-length", "0")))
        answer, delivery = self.server.respond(self.command, self.path, headers)
        record.status = answer.status
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(answer.body) + delivery.claimed_difference))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(answer, delivery, record)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the names http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing: the request log says it better."""

    def _send_body(self, answer: Answer, delivery: Delivery, record: Record) -> None:
        for piece, wait in _schedule(answer.body, delivery):
            if wait:
                self._wait(wait)
            while delivery.arrived and answer.start + record.body_bytes >= delivery.arrived() + delivery.lead:
                self._wait(0.001)
                self._require_reader()
            # Counted before it is sent: whoever has read the bytes finds them in the log.
            record.body_bytes += len(piece)
            try:
                self.connection.sendall(piece)
            except OSError:
                record.body_bytes -= len(piece)
                raise
        if delivery.cut_after is not None or delivery.claimed_difference:
            self.close_connection = True
        if delivery.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.to_reset.add(self.connection)

    def _wait(self, seconds: float) -> None:
        if self.server.closing.wait(seconds):
            raise ConnectionAbortedError("the upstream is being closed")

    def _require_reader(self) -> None:
        """Raise ConnectionError when the client is gone; one that waits for a body sends nothing."""
        try:
            if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionAbortedError("the client is gone")
        except BlockingIOError:
            pass


def _schedule(body: memoryview, delivery: Delivery) -> Iterator[tuple[memoryview, float]]:
    """Give the pieces of `body` in order, each with the seconds to wait before it."""
    end = len(body) if delivery.cut_after is None else min(delivery.cut_after, len(body))
    size, pace = _CHUNK, 0.0
    if delivery.bytes_per_second:
        pieces = 10 if delivery.bytes_per_second < 1 << 20 else 100
        size, pace = max(1, delivery.bytes_per_second // pieces), 1 / pieces
    start = 0
    while start < end:
        stop, wait = min(start + size, end), pace
        if delivery.stall_after == start:
            wait += delivery.stall_for
        elif delivery.stall_after is not None and start < delivery.stall_after < stop:
            stop = delivery.stall_after
        yield body[start:stop], wait
        start = stop
