"""A server that sends what a test writes, byte for byte: for what an honest HTTP server would not say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

Answering = Callable[[str, socket.socket], None]
"""From the head of a request to what is done with its connection, which is closed afterwards."""


class RawServer:
    """Serves each request on a connection and thread of its own; `heads` are the requests so far."""

    def __init__(self, answering: Answering, tls: ssl.SSLContext | None = None) -> None:
        self.heads: list[str] = []
        self._answering, self._tls = answering, tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        """End all connections and threads."""
        self._listener.shutdown(socket.SHUT_RDWR)
        for connection in tuple(self._open):
            _shut(connection)
        for thread in tuple(self._threads):
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
        except OSError:
            plain.close()
            return
        with connection:
            try:
                head = read_head(connection)
                if head:
                    self.heads.append(head)
                    self._answering(head, connection)
                    # closing with unread bytes would reset the connection and lose what was sent
                    connection.shutdown(socket.SHUT_WR)
                    connection.settimeout(0.2)
                    while connection.recv(4096):
                        pass
            except OSError:
                return  # the client went away


def read_head(connection: socket.socket) -> str:
    """Read a request up to its empty line; empty when the client sent none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return ""
        head += byte
    return head.decode("latin-1")


def header(head: str, name: str) -> str | None:
    """Find a header in a head."""
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name.lower():
            return value.strip()
    return None


def saying(*answers: bytes) -> Answering:
    """Send one answer after the other, the last one for ever."""
    left = list(answers)

    def answer(head: str, connection: socket.socket) -> None:
        connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return answer


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # closed already
