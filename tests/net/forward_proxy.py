"""A small real forward proxy: absolute-form GET and CONNECT, with optional Basic credentials."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit


class ForwardProxy(ThreadingHTTPServer):
    """Runs inside `with`; `asked` are the targets so far, `credentials` the Proxy-Authorization it wants."""

    daemon_threads = True

    def __init__(self, credentials: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.credentials = credentials
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ForwardProxy

    def do_GET(self) -> None:
        if not self._allowed():
            return
        target = urlsplit(self.path)
        connection = http.client.HTTPConnection(target.netloc, timeout=5)
        try:
            connection.request("GET", target.path, headers=dict(self.headers))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.read())
        finally:
            connection.close()

    def do_CONNECT(self) -> None:
        if not self._allowed():
            return
        host, _, port = self.path.rpartition(":")
        try:
            far = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            self.send_error(502)
            return
        self.send_response(200)
        self.end_headers()
        with far:
            self._tunnel(far)

    def _tunnel(self, far: socket.socket) -> None:
        ways = {self.connection: far, far: self.connection}
        while True:
            for source in select.select(list(ways), [], [], 5)[0]:
                try:
                    data = source.recv(65536)
                except OSError:
                    return
                if not data:
                    return
                ways[source].sendall(data)

    def _allowed(self) -> bool:
        self.server.asked.append(self.path)
        wanted = self.server.credentials
        if wanted is None or self.headers.get("Proxy-Authorization") == wanted:
            return True
        self.send_error(407)
        return False

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name http.server gives it
        """Say nothing."""
