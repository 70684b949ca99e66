"""A stand-in for a Docker daemon that answers as real ones were recorded to; see tests/data/save-streams/README.md."""

from __future__ import annotations

import base64
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

RECORDED = Path(__file__).parent / "data" / "save-streams"

OVERLAY2: dict[str, Any] = {
    "ServerVersion": "28.5.2",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"]],
}
CONTAINERD: dict[str, Any] = {
    "ServerVersion": "28.5.2",
    "Driver": "overlayfs",
    "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
}


@dataclass
class RecordedDaemon:
    """Answers on 127.0.0.1 between `with RecordedDaemon(info, save) as daemon:` and the end of the block.

    `info` is what /info says, `save` the tar that every save gives; names with `absent` in them cannot be pulled.
    `pulled`, `saved` and `removed` are the names asked for, `platforms` what each save asked for, `logins` what came in
    X-Registry-Auth. `refusal` is what every pull ends with, when it is set. `images` is what the daemon says of images
    by name; `refused_save` is the status and body of every save instead, `most_at_once` how many images were there at
    a time.
    """

    info: dict[str, Any]
    save: bytes
    pulled: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    saved: list[list[str]] = field(default_factory=list)
    platforms: list[str | None] = field(default_factory=list)
    absent: str | None = None
    refusal: str = ""
    images: dict[str, Any] = field(default_factory=dict)
    refused_save: tuple[int, bytes] | None = None
    build: bytes = b""
    """What every build is told, one JSON document a line."""
    most_at_once: int = 0

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="recorded daemon")
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """For DOCKER_HOST."""
        return f"tcp://127.0.0.1:{self._server.server_port}"


class _Server(ThreadingHTTPServer):
    def __init__(self, daemon: RecordedDaemon) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.daemon = daemon


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        daemon = self.server.daemon
        path = re.sub(r"^/v[0-9.]+/", "/", unquote(urlsplit(self.path).path))
        if path == "/_ping":
            self._answer(200, b"OK")
        elif path == "/version":
            self._json({"ApiVersion": "1.51", "Version": daemon.info["ServerVersion"]})
        elif path == "/info":
            self._json(daemon.info)
        elif path == "/images/get":
            query = parse_qs(urlsplit(self.path).query)
            daemon.saved.append(query["names"])
            daemon.platforms.append(query.get("platform", [None])[0])
            self._answer(*(daemon.refused_save or (200, daemon.save)))
        elif path == "/images/json":
            self._json([])
        elif (name := path.removeprefix("/images/").removesuffix("/json")) in daemon.images:
            self._json(daemon.images[name])
        else:
            self._json({"message": "No such image"}, 404)

    def do_POST(self) -> None:
        if urlsplit(self.path).path.endswith("/build"):
            self._pass_over_chunks()
            self._answer(200, self.server.daemon.build)
            return
        query = parse_qs(urlsplit(self.path).query)
        if self.server.daemon.absent and self.server.daemon.absent in query["fromImage"][0]:
            self._json({"message": "manifest unknown"}, 404)
            return
        self.server.daemon.pulled.append(f"{query['fromImage'][0]}@{query['tag'][0]}")
        self.server.daemon.logins.append(base64.urlsafe_b64decode(self.headers.get("X-Registry-Auth", "")).decode())
        if self.server.daemon.refusal:
            self._json({"error": self.server.daemon.refusal})
            return
        daemon = self.server.daemon
        daemon.most_at_once = max(daemon.most_at_once, len(daemon.pulled) - len(daemon.removed))
        self._answer(200, b'{"status":"Pulling"}\r\n{"status":"Status: Downloaded newer image"}\r\n')

    def _pass_over_chunks(self) -> None:
        while size := int(self.rfile.readline(), 16):
            self.rfile.read(size + 2)
        self.rfile.readline()

    def do_DELETE(self) -> None:
        self.server.daemon.removed.append(re.sub(r"^.*?/images/", "", unquote(urlsplit(self.path).path)))
        self._json([])

    def log_message(self, *_: object) -> None:
        pass

    def _json(self, content: Any, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
