"""nginx as a release server: ranges, entity tags, and the redirect to another origin that real release pages answer."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
import urllib.error
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import unquote, urlsplit

from tests.real.process import ComponentError, Process, loopback_opener, start_on_free_port

if TYPE_CHECKING:
    from pathlib import Path

_CONFIGURATION = """\
daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log info;
events {{ worker_connections 256; }}
http {{
  log_format counted '$request_method $status $body_bytes_sent "$http_range" $server_port $request_uri';
  access_log {directory}/access.log counted;
  client_body_temp_path {directory}/temporary;
  proxy_temp_path {directory}/temporary;
  fastcgi_temp_path {directory}/temporary;
  uwsgi_temp_path {directory}/temporary;
  scgi_temp_path {directory}/temporary;
  default_type application/octet-stream;
  types {{ application/json json; text/plain txt; }}
  # Of $request_uri, so that %2B stays as it was sent.
  map $request_uri $asset {{ ~^/redirected(?<rest>/[^?]*) $rest; }}
  server {{
    listen 127.0.0.1:{port};
    root {files};
    location = {mark} {{ return 204; }}
    location /redirected/ {{ return 302 http://localhost:{storage_port}$asset?signature=short-lived; }}
  }}
  server {{
    listen 127.0.0.1:{storage_port};
    root {files};
  }}
}}
"""
_MARK = "/.mark"
_LINE = re.compile(r'(\S+) (\d+) (\d+) "([^"]*)" (\d+) (\S+)')
_LOG_SECONDS = 5


@dataclass(frozen=True)
class Served:
    """One answered request."""

    method: str
    path: str
    """Decoded, without the query."""
    status: int
    body_bytes: int
    """Body bytes really sent."""
    range: str
    """The Range header, empty without one."""
    port: int


class ReleaseServer:
    """`with ReleaseServer(directory, files) as server:` serves `files` at `server.url`, with ranges and entity tags.

    `server.redirecting_url` is another base URL for the same files, which answers 302 to another origin
    (`localhost:PORT` with a query), as github.com does.
    """

    PACKAGES: ClassVar = ("nginx",)

    def __init__(self, directory: Path, files: Path) -> None:
        """Keep configuration and logs in `directory`, which must exist; serve the folder `files`."""
        self.directory = directory
        self.files = files
        self.log_file = directory / "access.log"
        self._marks = count()

    def __enter__(self) -> Self:
        """Start it; raises ComponentError, or PackagesUnavailableError when nginx is not installed."""
        self.process = start_on_free_port(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.process.stop()

    @property
    def url(self) -> str:
        """Base URL of the files, without a final slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def redirecting_url(self) -> str:
        """Base URL that redirects every file to another origin, without a final slash."""
        return f"{self.url}/redirected"

    def served(self) -> tuple[Served, ...]:
        """Every request answered so far, in order; a redirect and what it leads to are two."""
        return tuple(entry for entry in self._entries(f"{_MARK}?{next(self._marks)}") if entry.path != _MARK)

    def body_bytes(self, path_end: str) -> int:
        """Body bytes sent so far for paths that end with `path_end`."""
        return sum(entry.body_bytes for entry in self.served() if entry.path.endswith(path_end))

    def _entries(self, mark: str) -> list[Served]:
        """Read the log up to a request of our own: one worker logs in order, so what was answered before is there."""
        with loopback_opener().open(f"{self.url}{mark}", timeout=_LOG_SECONDS):
            pass
        deadline = time.monotonic() + _LOG_SECONDS
        while not (text := self.log_file.read_text()).endswith(f"{mark}\n"):
            if time.monotonic() > deadline:
                raise ComponentError(f"nginx did not log {mark}\n{self.process.log_tail()}")
            time.sleep(0.01)
        return [_parse(line) for line in text.splitlines()]

    def _start(self, port: int) -> Process:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            storage_port = probe.getsockname()[1]
        self.port = port
        configuration = self.directory / "nginx.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                user="user root;" if os.geteuid() == 0 else "",  # temporary folders are readable by their owner alone
                directory=self.directory,
                files=self.files,
                port=port,
                storage_port=storage_port,
                mark=_MARK,
            )
        )
        log = self.directory / "nginx.log"
        process = Process(["nginx", "-p", str(self.directory), "-e", str(log), "-c", str(configuration)], log)
        with contextlib.ExitStack() as failed:
            failed.callback(process.stop)
            process.wait_ready(self._answers)
            failed.pop_all()
        return process

    def _answers(self) -> bool:
        try:
            with loopback_opener().open(f"{self.url}{_MARK}", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


def _parse(line: str) -> Served:
    found = _LINE.fullmatch(line)
    if found is None:
        raise ComponentError(f"nginx logged {line!r}")
    method, status, sent, wanted, port, target = found.groups()
    path = unquote(urlsplit(target).path)
    return Served(method, path, int(status), int(sent), "" if wanted == "-" else wanted, int(port))
