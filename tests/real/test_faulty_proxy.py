"""The faulty proxy is invisible without rules, breaks exactly what it is told, and counts."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import requests

from tests.real.faults import Cut, Drip, Drop, FlipByte, Redirect, Stall, Status, WrongLength
from tests.real.faulty_proxy import FaultyProxy
from tests.real.images import K3S_IMAGE_LIST, big_image
from tests.real.process import ComponentError
from tests.real.publish import publish
from tests.real.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.real.docker_engine import DockerEngine
    from tests.real.release_server import ReleaseServer

TIMEOUT = 20

PATH = "/v1.34.1+k3s1/k3s"


@pytest.fixture
def content(releases: Path) -> bytes:
    return (releases / PATH[1:]).read_bytes()


@pytest.fixture
def proxy(release_server: ReleaseServer) -> Iterator[FaultyProxy]:
    with FaultyProxy(release_server.url) as proxy:
        yield proxy


def get(proxy: FaultyProxy, timeout: float = TIMEOUT, **headers: str) -> requests.Response:
    return requests.get(proxy.url + PATH, headers=headers, timeout=timeout, allow_redirects=False)


def test_proxy_without_rules_changes_nothing_and_counts(proxy: FaultyProxy, content: bytes) -> None:
    assert get(proxy).content == content
    part = get(proxy, Range="bytes=100-199", Authorization="Bearer token")
    assert (part.status_code, part.content) == (206, content[100:200])
    head = requests.head(proxy.url + PATH, timeout=TIMEOUT)
    assert int(head.headers["Content-Length"]) == len(content)
    first, second, third = proxy.exchanges("k3s$")
    assert (first.status, first.body_bytes, first.range, first.authorization) == (200, len(content), "", "")
    assert (second.status, second.body_bytes) == (206, 100)
    assert (second.range, second.authorization) == ("bytes=100-199", "Bearer token")
    assert (third.method, third.body_bytes) == ("HEAD", 0)
    assert proxy.body_bytes() == len(content) + 100


def test_proxy_answers_a_status_as_often_as_told(proxy: FaultyProxy, release_server: ReleaseServer) -> None:
    proxy.fail("k3s$", Status(429, {"Retry-After": "7"}), times=2)
    proxy.fail("elsewhere", Status(500), times=None)
    answers = [get(proxy) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert len(release_server.served()) == 1, "the upstream was asked though the proxy answered"
    proxy.fail("k3s$", Status(403), times=None)
    assert [get(proxy).status_code for _ in range(3)] == [403, 403, 403]
    proxy.heal()
    assert get(proxy).status_code == 200


@pytest.mark.parametrize("after", [0, 1, 100_000])
def test_proxy_cuts_the_body(proxy: FaultyProxy, content: bytes, after: int) -> None:
    proxy.fail("k3s$", Cut(after))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(proxy)
    assert proxy.body_bytes() == after
    assert get(proxy).content == content


def test_proxy_drops_the_connection(proxy: FaultyProxy) -> None:
    proxy.fail("k3s$", Drop())
    with pytest.raises(requests.exceptions.ConnectionError):
        get(proxy)
    assert [exchange.status for exchange in proxy.exchanges()] == [0]


def test_proxy_stalls_and_lets_go_at_its_end(release_server: ReleaseServer) -> None:
    with FaultyProxy(release_server.url) as proxy:
        proxy.fail("k3s$", Stall(1000))
        with pytest.raises(requests.exceptions.ConnectionError, match="Read timed out"):
            get(proxy, timeout=0.3)
        assert proxy.body_bytes() == 1000
        started = time.monotonic()
    assert time.monotonic() - started < 30, "the upstream would be waited for 60 s"


def test_proxy_drips(proxy: FaultyProxy) -> None:
    proxy.fail("k3s-images", Drip(1000))
    started = time.monotonic()
    answer = requests.get(f"{proxy.url}/v1.34.1+k3s1/k3s-images.txt", timeout=TIMEOUT)
    seconds = time.monotonic() - started
    assert seconds >= 0.8 * len(answer.content) / 1000
    assert answer.text.splitlines() == list(K3S_IMAGE_LIST)


def test_proxy_flips_one_byte(proxy: FaultyProxy, content: bytes) -> None:
    proxy.fail("k3s$", FlipByte(70_000))
    got = get(proxy).content
    assert [index for index in range(len(content)) if got[index] != content[index]] == [70_000]


def test_proxy_lies_about_the_length(proxy: FaultyProxy, content: bytes) -> None:
    proxy.fail("k3s$", WrongLength(5))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(proxy)
    proxy.fail("k3s$", WrongLength(-5))
    assert get(proxy).content == content[:-5]


def test_proxy_redirects_to_another_origin(proxy: FaultyProxy, release_server: ReleaseServer, content: bytes) -> None:
    proxy.fail("k3s$", Redirect(release_server.url))
    answer = get(proxy)
    assert answer.headers["Location"] == release_server.url + PATH
    assert requests.get(answer.headers["Location"], timeout=TIMEOUT).content == content


def test_proxy_says_when_its_upstream_is_gone(require: Callable[..., None], tmp_path: Path) -> None:
    require(*Registry.PACKAGES)
    with Registry(tmp_path) as registry, FaultyProxy(registry.url) as proxy:
        registry.process.kill()
        assert requests.get(f"{proxy.url}/v2/", timeout=TIMEOUT).status_code == 502


def test_docker_engine_pulls_and_images_are_pushed_through_the_proxy(
    docker_engine: DockerEngine, empty_registry: Registry
) -> None:
    image = big_image("docker.io/tests/big:1.0", 300_000)
    publish(empty_registry, [image])
    with FaultyProxy(empty_registry.url) as proxy:
        proxy.fail("/blobs/", Cut(100_000))
        part = image.on("arm64")
        name = f"{proxy.host}/{image.repository}@{part.manifest.digest}"
        docker_engine.pull(name)
        assert proxy.body_bytes(part.layers[0].digest) >= len(part.layers[0].blob)
        with contextlib.closing(docker_engine.client()) as client:
            client.api.tag(name, f"{proxy.host}/tests/pushed", "1.0")
            for event in client.api.push(f"{proxy.host}/tests/pushed", "1.0", stream=True, decode=True):
                assert "error" not in event
    tags = requests.get(f"{empty_registry.url}/v2/tests/pushed/tags/list", timeout=TIMEOUT)
    assert tags.json()["tags"] == ["1.0"]


def test_docker_engine_killed_in_the_middle_of_a_pull_starts_again_and_pulls(
    docker_engine: DockerEngine, empty_registry: Registry
) -> None:
    image = big_image("docker.io/tests/big:1.0", 300_000)
    publish(empty_registry, [image])
    with FaultyProxy(empty_registry.url) as proxy, ThreadPoolExecutor() as threads:
        proxy.fail("/blobs/", Stall(100_000))
        name = f"{proxy.host}/{image.repository}@{image.on('arm64').manifest.digest}"
        pulling = threads.submit(docker_engine.pull, name)
        deadline = time.monotonic() + TIMEOUT
        while not proxy.body_bytes("/blobs/"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        docker_engine.kill()
        with pytest.raises(ComponentError, match="pull of"):
            pulling.result(TIMEOUT)
        docker_engine.start()
        assert docker_engine.snapshot() == frozenset()
        docker_engine.pull(name)
        assert docker_engine.inspect(name)["Architecture"] == "arm64"
