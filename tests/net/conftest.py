from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from bundler.net.session import NetworkSettings, open_session
from tests.net.raw_server import Answering, RawServer
from tests.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    import requests

QUICK = NetworkSettings(
    connect_timeout=1,
    read_timeout=0.4,
    retries=3,
    retry_after_max=1,
    backoff=0.01,
    backoff_max=0.05,
    slow_window=0.3,
)

Serve = Callable[[Answering], RawServer]


class Watched:
    """A task that adds up what it was told."""

    def __init__(self) -> None:
        self.total = 0

    def advance(self, count: int) -> None:
        self.total += count


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Upstream, Upstream]]:
    with Upstream() as first, Upstream() as second:
        yield first, second


@pytest.fixture
def upstream(servers: tuple[Upstream, Upstream]) -> Iterator[Upstream]:
    yield servers[0]
    servers[0].heal()
    servers[0].forget_requests()


@pytest.fixture
def other(servers: tuple[Upstream, Upstream]) -> Iterator[Upstream]:
    yield servers[1]
    servers[1].heal()
    servers[1].forget_requests()


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[RawServer] = []

    def start(answering: Answering) -> RawServer:
        servers.append(RawServer(answering))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with open_session(QUICK) as opened:
        yield opened


@pytest.fixture
def task() -> Watched:
    return Watched()
