from __future__ import annotations

import email.utils
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from requests.auth import HTTPBasicAuth
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import MaxRetryError

from bundler.errors import (
    AccessDeniedError,
    BundlerError,
    HostError,
    HostUnreachableError,
    MalformedAnswerError,
    NetworkError,
    RateLimitError,
    ServerError,
    StalledError,
    UsageError,
)
from bundler.net.answers import get_bytes
from bundler.net.session import NetworkSettings, open_session, patience_with_answers
from tests.net.conftest import QUICK, Serve
from tests.net.forward_proxy import ForwardProxy
from tests.net.raw_server import header, saying
from tests.upstream import Redirect, Reset, Stall, Status, Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

HANGS = 30
"""Seconds that nothing here takes, however busy the machine is, unless it waits for what never comes."""

PATH = "/files/list"
BODY = b"one\ntwo\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(autouse=True)
def _content(request: pytest.FixtureRequest) -> None:
    for name in ("upstream", "other"):
        if name in request.fixturenames:
            request.getfixturevalue(name).put(PATH, BODY)


@pytest.fixture
def netrc() -> None:
    home = Path.home()
    (home / ".netrc").write_text("machine 127.0.0.1 login thief password netrc-secret\n")
    (home / ".netrc").chmod(0o600)


# credentials


@pytest.mark.usefixtures("netrc")
def test_netrc_is_never_used(session: requests.Session, upstream: Upstream, other: Upstream) -> None:
    requests.get(upstream.url + PATH, timeout=5)
    assert "authorization" in upstream.requests[0].headers, "the check itself: requests alone does use it"
    upstream.forget_requests()
    upstream.fail(PATH, Redirect(other.url))
    assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY
    assert session.get(upstream.url + PATH).content == BODY
    for request in upstream.requests + other.requests:
        assert "authorization" not in request.headers


@pytest.mark.usefixtures("netrc")
def test_netrc_does_not_replace_a_bearer_token(session: requests.Session, upstream: Upstream) -> None:
    class Bearer(requests.auth.AuthBase):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers["Authorization"] = "Bearer mine"
            return request

    get_bytes(session, upstream.url + PATH, limit=100, auth=Bearer())
    get_bytes(session, upstream.url + PATH, limit=100, headers={"Authorization": "Bearer mine"})
    assert [request.headers["authorization"] for request in upstream.requests] == ["Bearer mine"] * 2


def test_credentials_stay_on_a_redirect_within_the_host(session: requests.Session, serve: Serve) -> None:
    server = serve(saying(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n", OK))
    get_bytes(session, server.url, limit=10, auth=HTTPBasicAuth("me", "secret"))
    assert [bool(header(head, "Authorization")) for head in server.heads] == [True, True]


@pytest.mark.usefixtures("netrc")
def test_credentials_do_not_follow_to_another_port(
    session: requests.Session, upstream: Upstream, other: Upstream
) -> None:
    upstream.fail(PATH, Redirect(other.url))
    get_bytes(session, upstream.url + PATH, limit=100, auth=HTTPBasicAuth("me", "secret"))
    assert "authorization" in upstream.requests[0].headers
    assert "authorization" not in other.requests[0].headers


def test_credentials_in_the_address_are_sent_to_its_host_alone(
    session: requests.Session, upstream: Upstream, other: Upstream
) -> None:
    upstream.fail(PATH, Redirect(other.url))
    get_bytes(session, upstream.url.replace("//", "//me:secret@") + PATH, limit=100)
    assert upstream.requests[0].headers["authorization"] == "Basic bWU6c2VjcmV0"
    assert "authorization" not in other.requests[0].headers


def test_credentials_in_a_redirect_are_not_sent(session: requests.Session, serve: Serve) -> None:
    target = serve(saying(OK))
    location = target.url.replace("//", "//planted:secret@").encode()
    server = serve(saying(b"HTTP/1.1 302 Found\r\nLocation: %s/\r\nContent-Length: 0\r\n\r\n" % location))
    get_bytes(session, server.url, limit=10)
    assert header(target.heads[0], "Authorization") is None


def test_cookies_are_not_kept(session: requests.Session, serve: Serve) -> None:
    server = serve(saying(OK.replace(b"\r\n", b"\r\nSet-Cookie: track=me; Path=/\r\n", 1)))
    get_bytes(session, server.url, limit=10)
    get_bytes(session, server.url, limit=10)
    assert header(server.heads[1], "Cookie") is None


def test_every_request_says_who_asks_and_wants_no_compression(session: requests.Session, upstream: Upstream) -> None:
    get_bytes(session, upstream.url + PATH, limit=100)
    (request,) = upstream.requests
    assert request.headers["user-agent"].startswith("k3s-bundler/")
    assert request.headers["accept-encoding"] == "identity"


def test_signed_addresses_do_not_get_into_logs(
    session: requests.Session, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.fail(PATH, Reset(0))
    upstream.fail(PATH, Status(503))
    with caplog.at_level(logging.DEBUG):
        get_bytes(session, upstream.url + PATH + "?signature=topsecret", limit=100)
    assert "topsecret" not in caplog.text


def test_a_session_without_bounds_is_refused(upstream: Upstream) -> None:
    with pytest.raises(TypeError, match="open_session"), requests.Session() as plain:
        get_bytes(plain, upstream.url + PATH, limit=100)


# redirects


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://", "http://[::1/", "//"])
def test_a_redirect_to_what_is_no_http_address_is_an_error(
    session: requests.Session, serve: Serve, location: str
) -> None:
    server = serve(saying(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()))
    with pytest.raises(NetworkError) as caught:
        get_bytes(session, server.url, limit=10)
    assert "127.0.0.1" in caught.value.what


def test_redirects_in_a_circle_are_an_error(session: requests.Session, serve: Serve) -> None:
    server = serve(saying(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(MalformedAnswerError, match="circle"):
        get_bytes(session, server.url, limit=10)
    assert len(server.heads) == 11


@pytest.mark.parametrize("framing", ["Content-Length: 99999999999", "Transfer-Encoding: chunked", "X-None: 1"])
def test_the_endless_page_of_a_redirect_is_not_read(session: requests.Session, serve: Serve, framing: str) -> None:
    sent = 0

    def answer(head: str, connection: socket.socket) -> None:
        nonlocal sent
        if head.startswith("GET /there"):
            connection.sendall(OK)
            return
        connection.sendall(f"HTTP/1.1 302 Found\r\nLocation: /there\r\n{framing}\r\n\r\n".encode())
        while True:
            connection.sendall(b"fffff\r\n" if "chunked" in framing else bytes(7))
            connection.sendall(bytes(0xFFFFF))
            sent += 0xFFFFF

    assert get_bytes(session, serve(answer).url, limit=10).body == b"ok"
    assert sent < 20 << 20  # what the buffers of the kernel hold


def test_a_page_of_a_redirect_that_never_comes_is_not_waited_for_long(session: requests.Session, serve: Serve) -> None:
    def answer(head: str, connection: socket.socket) -> None:
        if head.startswith("GET /there"):
            connection.sendall(OK)
            return
        connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 50\r\n\r\nx")
        connection.recv(1)

    began = time.monotonic()
    assert get_bytes(session, serve(answer).url, limit=10).body == b"ok"
    assert time.monotonic() - began < HANGS


# waiting


@pytest.mark.parametrize("after", ["1", "0", "soon", "-5", "9" * 30 + "x", ""])
def test_429_and_then_ok_is_ok(session: requests.Session, upstream: Upstream, after: str) -> None:
    upstream.fail(PATH, Status(429, {"Retry-After": after}))
    began = time.monotonic()
    assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY
    if after == "1":
        assert time.monotonic() - began >= 1
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_server_that_fails_for_a_moment_is_asked_again(
    session: requests.Session, upstream: Upstream, status: int
) -> None:
    upstream.fail(PATH, Status(status), times=QUICK.retries)
    assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY
    assert len(upstream.requests) == 1 + QUICK.retries


def test_a_server_that_always_fails_is_given_up(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Status(503, body=b"down for maintenance"), times=None)
    with pytest.raises(ServerError, match="down for maintenance"):
        get_bytes(session, upstream.url + PATH, limit=100)
    assert len(upstream.requests) == 1 + QUICK.retries


def test_a_server_that_always_fails_is_given_up_within_twenty_seconds() -> None:
    """Two questions about one image, HEAD and GET, by the pauses that the defaults make."""
    pauses, patient, failure = 0.0, patience_with_answers(NetworkSettings()), HTTPResponse(status=500)
    pool = HTTPConnectionPool("registry.example")
    with suppress(MaxRetryError):
        while True:
            patient = patient.increment("GET", "/", failure, _pool=pool)
            pauses += patient.get_backoff_time() + patient.backoff_jitter
    assert len(patient.history) == 4
    assert 5 < pauses < 10


def test_what_is_asked_again_is_said_once_for_a_host(upstream: Upstream) -> None:
    said: list[str] = []
    upstream.fail("*", Status(500), times=None)
    with open_session(replace(QUICK, notice=said.append)) as session:
        for path in (PATH, "/other"):
            with pytest.raises(ServerError):
                get_bytes(session, upstream.url + path, limit=100)
    assert said == [f"{upstream.host} answers with status 500: asking again, up to {QUICK.retries} times"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 501])
def test_what_does_not_get_better_is_asked_once(session: requests.Session, upstream: Upstream, status: int) -> None:
    upstream.fail(PATH, Status(status), times=None)
    with pytest.raises(BundlerError):
        get_bytes(session, upstream.url + PATH, limit=100)
    assert len(upstream.requests) == 1


def in_six_hours() -> str:
    return email.utils.formatdate(time.time() + 21600, usegmt=True)


@pytest.mark.parametrize("after", [lambda: "21600", in_six_hours])
def test_a_pause_of_hours_is_not_slept_through_but_told(
    session: requests.Session, upstream: Upstream, after: Callable[[], str]
) -> None:
    said = after()
    upstream.fail(PATH, Status(429, {"Retry-After": said}), times=None)
    began = time.monotonic()
    with pytest.raises(RateLimitError) as caught:
        get_bytes(session, upstream.url + PATH, limit=100)
    assert time.monotonic() - began < HANGS
    assert said in caught.value.what
    assert "docker login" in caught.value.hint
    assert len(upstream.requests) == 1


def test_the_endless_page_of_a_failing_server_is_not_read(session: requests.Session, serve: Serve) -> None:
    asked = 0

    def answer(head: str, connection: socket.socket) -> None:
        nonlocal asked
        asked += 1
        if asked > 1:
            connection.sendall(OK)
            return
        connection.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
        while True:
            connection.sendall(bytes(1 << 20))

    assert get_bytes(session, serve(answer).url, limit=10).body == b"ok"


def test_a_server_that_never_answers_is_given_up(session: requests.Session, serve: Serve) -> None:
    def mute(head: str, connection: socket.socket) -> None:
        connection.recv(1)

    server = serve(mute)
    began = time.monotonic()
    with pytest.raises(StalledError):
        get_bytes(session, server.url, limit=10)
    assert time.monotonic() - began < HANGS
    assert len(server.heads) == 3


def test_a_head_that_drips_is_given_up(session: requests.Session, serve: Serve) -> None:
    def drip(head: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(10 * HANGS):
            connection.sendall(b"X: y\r\n")
            time.sleep(0.1)

    server = serve(drip)
    began = time.monotonic()
    with pytest.raises(StalledError):
        get_bytes(session, server.url, limit=10)
    assert time.monotonic() - began < HANGS
    assert len(server.heads) == 3


def test_a_body_that_stops_is_asked_for_again(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Stall(2))
    assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY


# reaching


def settings_for(seconds: float) -> NetworkSettings:
    return replace(QUICK, connect_timeout=seconds)


def test_a_name_that_does_not_exist_ends_at_once_and_is_named() -> None:
    began = time.monotonic()
    with open_session() as session, pytest.raises(HostUnreachableError, match=r"nowhere\.invalid") as caught:
        get_bytes(session, "https://nowhere.invalid/x?signature=secret", limit=10)
    assert time.monotonic() - began < HANGS
    assert "make demo" in caught.value.hint
    assert "sources" in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_port_nobody_listens_on_is_an_error_within_seconds() -> None:
    began = time.monotonic()
    with open_session() as session, pytest.raises(HostUnreachableError, match=r"127\.0\.0\.1:1 .*refused"):
        get_bytes(session, "http://127.0.0.1:1/", limit=10)
    assert time.monotonic() - began < HANGS


def test_a_server_that_starts_a_moment_later_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    def late() -> bytes:
        with open_session(settings_for(5)) as session:
            return get_bytes(session, f"http://127.0.0.1:{port}{PATH}", limit=100).body

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(late)
        time.sleep(0.2)
        with Upstream(port=port) as upstream:
            upstream.put(PATH, BODY)
            assert future.result(10) == BODY


@pytest.mark.parametrize("count", [1, 8])
def test_silent_addresses_share_one_budget(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        where = silent.getsockname()
        # a full queue drops what comes next, as a firewall does
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(where)
        address = (socket.AF_INET, socket.SOCK_STREAM, 6, "", where)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address] * count)
        began = time.monotonic()
        with open_session(settings_for(1.2)) as session, pytest.raises(HostUnreachableError, match="in time"):
            get_bytes(session, "http://eight.example/", limit=10)
        # Eight addresses with the whole time each would take eight times as long.
        assert 1.1 < time.monotonic() - began < 8 * 1.2
        for filler in fillers:
            filler.close()


def test_a_dead_first_address_does_not_keep_from_the_second(
    monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    port = int(upstream.url.rpartition(":")[2])
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.99", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    with open_session(QUICK) as session:
        assert get_bytes(session, f"http://two.example{PATH}", limit=100).body == BODY


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def silent(*_: object, **__: object) -> list[object]:
        released.wait(HANGS)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    began = time.monotonic()
    with open_session(settings_for(0.5)) as session, pytest.raises(HostUnreachableError, match=r"slow\.example"):
        get_bytes(session, "http://slow.example/", limit=10)
    assert time.monotonic() - began < HANGS / 2
    released.set()


def test_a_shaky_resolver_is_asked_again(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    right = socket.getaddrinfo
    asked = 0

    def shaky(*arguments: object, **named: object) -> object:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return right("127.0.0.1", *arguments[1:], **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", shaky)
    port = upstream.url.rpartition(":")[2]
    with open_session(QUICK) as session:
        assert get_bytes(session, f"http://shaky.example:{port}{PATH}", limit=100).body == BODY
    assert asked >= 2, "a busy machine may ask once more"


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h/x", "http://", "http:///x", "http://h:99999/", "http://h:x/", "http://[::1/", "//h/x"]
)
def test_what_is_no_address_is_wrong_use(session: requests.Session, url: str) -> None:
    with pytest.raises(UsageError):
        get_bytes(session, url, limit=10)


@pytest.mark.parametrize("url", ["http://" + "a" * 70 + ".example/", "http://a..b/", "http://*/"])
def test_a_host_that_cannot_be_a_name_is_an_error_of_ours(session: requests.Session, url: str) -> None:
    with pytest.raises(NetworkError):
        get_bytes(session, url, limit=10)


# proxies


def test_the_proxy_of_the_environment_is_used(
    session: requests.Session, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY
        assert proxy.asked == [upstream.url + PATH]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        get_bytes(session, upstream.url + PATH, limit=100)
        assert len(proxy.asked) == 1


def test_the_proxy_gets_its_credentials_and_the_server_does_not(
    session: requests.Session, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ForwardProxy("Basic bWU6c2VjcmV0") as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:secret@"))
        assert get_bytes(session, upstream.url + PATH, limit=100).body == BODY


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_credentials_is_told_apart_from_the_server(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with ForwardProxy("Basic bWU6c2VjcmV0") as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        with pytest.raises(AccessDeniedError, match="the proxy") as caught:
            get_bytes(session, f"{scheme}://far.example/", limit=10)
        assert "name:password@proxy" in caught.value.hint
        assert len(proxy.asked) == 1


def test_a_host_the_proxy_cannot_reach_is_named(session: requests.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    with ForwardProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(HostUnreachableError, match=r"the proxy cannot reach 127\.0\.0\.1:1"):
            get_bytes(session, "https://127.0.0.1:1/", limit=10)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_cannot_be_reached_is_named(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme}_proxy", "http://me:secret@127.0.0.1:1")
    with pytest.raises(HostUnreachableError, match=r"proxy 127\.0\.0\.1:1 on the way to far\.example") as caught:
        get_bytes(session, f"{scheme}://far.example/", limit=10)
    assert "secret" not in str(caught.value)


def test_a_proxy_address_that_cannot_be_read_is_wrong_use(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http:///nonsense")
    with pytest.raises(UsageError, match="proxy"):
        get_bytes(session, "http://far.example/", limit=10)


def test_a_socks_proxy_without_its_package_says_what_to_install(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as on a machine without PySocks, also where it is installed
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", _missing_socks)
    monkeypatch.setenv("http_proxy", "socks5h://127.0.0.1:1")
    with pytest.raises(UsageError, match="SOCKS") as caught:
        get_bytes(session, "http://far.example/", limit=10)
    assert "k3s-bundler[socks]" in caught.value.hint


def _missing_socks(*_: object, **__: object) -> None:
    raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")


def test_a_header_that_would_be_two_is_wrong_use(session: requests.Session, upstream: Upstream) -> None:
    with pytest.raises(UsageError, match="header"):
        get_bytes(session, upstream.url + PATH, limit=10, headers={"Authorization": "Bearer a\r\nX-Evil: 1"})
    assert upstream.requests == ()


def test_threads_can_share_a_session(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Status(503), times=4)
    with ThreadPoolExecutor(8) as pool:
        bodies = pool.map(lambda _: get_bytes(session, upstream.url + PATH, limit=100).body, range(64))
    assert set(bodies) == {BODY}


def test_a_connection_is_kept_for_the_next_request(
    session: requests.Session, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted = 0
    process = upstream._server.process_request

    def count(request: Any, client_address: Any) -> None:
        nonlocal accepted
        accepted += 1
        process(request, client_address)

    monkeypatch.setattr(upstream._server, "process_request", count)
    for _ in range(5):
        get_bytes(session, upstream.url + PATH, limit=100)
    assert accepted == 1


def test_a_missing_ca_file_is_an_error_of_this_machine(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(HostError, match="certificates"):
        get_bytes(session, upstream.url.replace("http:", "https:"), limit=10)
