from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

import pytest

from tests.upstream import Upstream

ALL_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True)
class Reply:
    """What a client got: `broken` when the body ended before its Content-Length."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    broken: bool = False


Ask = Callable[..., Reply]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def ask(upstream: Upstream) -> Ask:
    """Ask the upstream over a connection of its own; keyword arguments are headers, with _ for -."""

    def ask(path: str, method: str = "GET", host: str = upstream.host, **headers: str) -> Reply:
        sent = {"Accept": ALL_MANIFESTS} | {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(host, timeout=10)
        try:
            connection.request(method, path, headers=sent)
            answer = connection.getresponse()
            try:
                return Reply(answer.status, answer.headers, answer.read())
            except http.client.IncompleteRead as failure:
                return Reply(answer.status, answer.headers, failure.partial, broken=True)
            finally:
                answer.close()
        finally:
            connection.close()

    return ask


def absent(tool: str, promise: str) -> NoReturn:
    """Skip a test whose tool is not there, saying what was not checked; fail it where nothing may be skipped."""
    reason = f"{tool} is not installed: {promise} was not checked"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
