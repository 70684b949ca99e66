from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest
from requests.auth import HTTPBasicAuth

from bundler.errors import AccessDeniedError, AssetNotFoundError, BundlerError, MalformedAnswerError, RateLimitError
from bundler.net.answers import exchange, get_bytes, head, head_size
from tests.net.raw_server import RawServer, header, saying
from tests.upstream import Cut, Headers, Status, Upstream

if TYPE_CHECKING:
    import socket

    import requests

    from tests.net.conftest import Serve

PATH = "/files/list"
BODY = b"rancher/mirrored-pause:3.6\n" * 100


@pytest.fixture(autouse=True)
def _content(request: pytest.FixtureRequest) -> None:
    if "upstream" in request.fixturenames:
        request.getfixturevalue("upstream").put(PATH, BODY, "text/plain; charset=UTF-8")


def framed(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


# get_bytes


def test_an_answer_says_what_came_and_from_where(session: requests.Session, serve: Serve) -> None:
    server = serve(
        saying(
            framed(b"", "Location: /there?signature=1", status="307 Temporary Redirect"),
            framed(b"{}", 'ETag: "e"', "Content-Type: Application/JSON; q=1", "Docker-Content-Digest: sha256:d"),
        )
    )
    answer = get_bytes(session, server.url + "/here", limit=10, headers={"Accept": "x/y"})
    assert answer.url == server.url + "/there?signature=1"
    assert (answer.body, answer.content_type, answer.length, answer.etag) == (b"{}", "application/json", 2, '"e"')
    assert answer.docker_content_digest == "sha256:d"
    assert [header(each, "Accept") for each in server.heads] == ["x/y", "x/y"]


def test_a_body_as_long_as_the_limit_is_taken_and_one_byte_more_is_not(
    session: requests.Session, upstream: Upstream
) -> None:
    assert get_bytes(session, upstream.url + PATH, limit=len(BODY)).body == BODY
    with pytest.raises(MalformedAnswerError, match=f"longer than the {len(BODY) - 1} bytes"):
        get_bytes(session, upstream.url + PATH, limit=len(BODY) - 1)


def test_an_endless_body_is_not_read_to_the_end(session: requests.Session, serve: Serve) -> None:
    sent = 0

    def endless(head: str, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(100_000))
            sent += 100_000

    server = serve(endless)
    with pytest.raises(MalformedAnswerError, match="longer"):
        get_bytes(session, server.url, limit=1000)
    assert sent < 20 << 20  # what the buffers of the kernel hold
    assert len(server.heads) == 1


def test_a_body_promised_too_long_is_refused_before_it_is_read(session: requests.Session, serve: Serve) -> None:
    def promise(head: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        connection.recv(1)

    with pytest.raises(MalformedAnswerError, match="longer"):
        get_bytes(session, serve(promise).url, limit=1000)


def test_compression_nobody_asked_for_is_undone_within_the_limit(session: requests.Session, serve: Serve) -> None:
    server = serve(saying(framed(gzip.compress(BODY), "Content-Encoding: gzip")))
    assert get_bytes(session, server.url, limit=len(BODY)).body == BODY
    bomb = serve(saying(framed(gzip.compress(bytes(200_000_000)), "Content-Encoding: gzip")))
    with pytest.raises(MalformedAnswerError, match="longer"):
        get_bytes(session, bomb.url, limit=500_000)


def test_damaged_compression_is_an_error_of_ours(session: requests.Session, serve: Serve) -> None:
    server = serve(saying(framed(b"this is no gzip", "Content-Encoding: gzip")))
    with pytest.raises(MalformedAnswerError, match="Content-Encoding"):
        get_bytes(session, server.url, limit=100)


def test_a_body_that_breaks_off_is_asked_for_again(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Cut(10), times=2)
    assert get_bytes(session, upstream.url + PATH, limit=10_000).body == BODY


@pytest.mark.parametrize("end", ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: y\r\nContent-Le"])
def test_an_answer_that_breaks_off_in_its_head_is_asked_for_again(
    session: requests.Session, serve: Serve, end: str
) -> None:
    server = serve(saying(end.encode(), framed(b"ok")))
    assert get_bytes(session, server.url, limit=10).body == b"ok"
    assert len(server.heads) == 2


def test_an_empty_answer_is_empty(session: requests.Session, serve: Serve) -> None:
    assert get_bytes(session, serve(saying(framed(b""))).url, limit=10).body == b""


def test_a_body_that_always_breaks_off_is_an_error(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Cut(10), times=None)
    with pytest.raises(BundlerError, match="broke off"):
        get_bytes(session, upstream.url + PATH, limit=10_000)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500,
        b"HTTP/1.1 200 OK\r\n" + b"X" * 100_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_an_error_of_ours(session: requests.Session, serve: Serve, answer: bytes) -> None:
    with pytest.raises(BundlerError) as caught:
        get_bytes(session, serve(saying(answer)).url, limit=100)
    assert caught.value.exit_code == 3


def test_an_answer_with_any_status_can_be_looked_at(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Status(401, {"WWW-Authenticate": 'Bearer realm="http://r/"'}))
    with exchange(session, "GET", upstream.url + PATH) as response:
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="http://r/"'


# head and head_size


def test_the_headers_can_be_had_alone(session: requests.Session, upstream: Upstream) -> None:
    answer = head(session, upstream.url + PATH)
    assert (answer.body, answer.length, answer.etag) == (b"", len(BODY), upstream.document(PATH).etag)
    with pytest.raises(AssetNotFoundError):
        head(session, upstream.url + "/nothing")


def test_a_size_is_learnt_without_the_file(session: requests.Session, upstream: Upstream) -> None:
    assert head_size(session, upstream.url + PATH) == len(BODY)
    assert upstream.bytes_sent() == 0


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_size_is_learnt_from_one_byte_when_head_is_refused(
    session: requests.Session, upstream: Upstream, status: int
) -> None:
    upstream.fail(PATH, Status(status))
    assert head_size(session, upstream.url + PATH) == len(BODY)
    assert [request.headers.get("range") for request in upstream.requests] == [None, "bytes=0-0"]
    assert upstream.bytes_sent() <= 1


def test_a_size_is_learnt_without_ranges_and_without_the_body(session: requests.Session, serve: Serve) -> None:
    def answer(head: str, connection: socket.socket) -> None:
        if head.startswith("HEAD"):
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n")
            connection.recv(1)

    assert head_size(session, serve(answer).url) == 5_000_000_000


def test_the_size_of_an_empty_file_is_learnt_where_head_is_refused(
    session: requests.Session, upstream: Upstream
) -> None:
    upstream.put(PATH, b"")
    upstream.fail(PATH, Status(405))
    assert head_size(session, upstream.url + PATH) == 0


def test_the_length_of_a_compressed_answer_is_not_the_size(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Headers({"Content-Encoding": "gzip"}))
    assert head_size(session, upstream.url + PATH) == len(BODY)
    assert [request.method for request in upstream.requests] == ["HEAD", "GET"]


@pytest.mark.parametrize("place", ["bytes 0-0/*", "nonsense", ""])
def test_a_server_that_does_not_say_the_size_is_an_error(session: requests.Session, serve: Serve, place: str) -> None:
    piece = framed(b"x", f"Content-Range: {place}", status="206 Partial Content")
    server = serve(saying(b"HTTP/1.1 405 No\r\n\r\n", piece))
    with pytest.raises(MalformedAnswerError, match="does not say its size"):
        head_size(session, server.url)


@pytest.mark.parametrize("length", [(1 << 53) + 1, 1 << 59])
def test_a_length_that_no_file_has_is_no_size(session: requests.Session, serve: Serve, length: int) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n".encode()
    with pytest.raises(MalformedAnswerError, match="does not say its size"):
        head_size(session, serve(saying(head, head)).url)


def test_a_missing_file_has_no_size(session: requests.Session, upstream: Upstream) -> None:
    with pytest.raises(AssetNotFoundError, match="/nothing does not exist"):
        head_size(session, upstream.url + "/nothing")
    assert len(upstream.requests) == 1


# refusals


def refused(session: requests.Session, serve: Serve, answer: bytes, auth: HTTPBasicAuth | None = None) -> BundlerError:
    server: RawServer = serve(saying(answer))
    with pytest.raises(BundlerError) as caught:
        get_bytes(session, server.url.replace("//", "//me:password@") + "/v2/x?signature=secret", limit=10, auth=auth)
    assert f"127.0.0.1:{server.port}" in caught.value.what
    return caught.value


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (401, "access-denied"),
        (403, "access-denied"),
        (404, "asset-not-found"),
        (410, "asset-not-found"),
        (418, "answer-malformed"),
        (204, "answer-malformed"),
        (304, "answer-malformed"),
        (501, "server-error"),
    ],
)
def test_every_status_has_its_error_with_host_and_hint_and_without_secrets(
    session: requests.Session, serve: Serve, status: int, name: str
) -> None:
    error = refused(session, serve, f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    assert error.name == name
    assert f"status {status}" in error.what
    assert error.hint
    for secret in ("password", "secret"):
        assert secret not in error.what


def test_what_a_registry_says_is_passed_on(session: requests.Session, serve: Serve) -> None:
    body = json.dumps({"errors": [{"code": "DENIED", "message": "no pull\u001b[31m\n for you"}, "odd"]}).encode()
    error = refused(session, serve, framed(body, status="403 Forbidden"))
    assert "'DENIED no pull [31m for you'" in error.what


@pytest.mark.parametrize(
    "said",
    [
        "bad token eyJhbGciOiJSUzI1NiJ9-mine",
        "you sent Authorization: Bearer eyJhbGciOiJSUzI1NiJ9-mine",
        "see https://me:hunter22@bucket.example/x?X-Amz-Signature=deadbeef",
        '{"access_token": "eyJhbGciOiJSUzI1NiJ9-other", "password":"hunter22"}',
        "AWSSecret=deadbeef&sig=deadbeef",
        "the password hunter22 is wrong",
        "got Bearer eyJhbGciOiJSUzI1NiJ9-another",
    ],
)
def test_secrets_in_what_the_server_says_are_not_passed_on(session: requests.Session, serve: Serve, said: str) -> None:
    error = refused(
        session,
        serve,
        framed(said.encode(), status="403 Forbidden"),
        auth=HTTPBasicAuth("eyJhbGciOiJSUzI1NiJ9-mine", "hunter22") if "hunter22" in said else _Bearer(),
    )
    assert "it says" in error.what
    for secret in ("eyJhbGciOiJSUzI1NiJ9", "hunter22", "deadbeef"):
        assert secret not in str(error)


class _Bearer(HTTPBasicAuth):
    def __init__(self) -> None:
        super().__init__("", "")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = "Bearer eyJhbGciOiJSUzI1NiJ9-mine"
        return request


@pytest.mark.parametrize("body", [b"<html>Login</html>", b"\xff\xfe\0", b"[" * 4000, b""])
def test_pages_and_rubbish_do_no_harm(session: requests.Session, serve: Serve, body: bytes) -> None:
    error = refused(session, serve, framed(body, status="404 Not Found"))
    assert "does not exist" in error.what
    assert len(error.what) < 500
    assert "\n" not in error.what


def test_an_endless_explanation_is_cut_off(session: requests.Session, serve: Serve) -> None:
    def endless(head: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 No\r\n\r\n")
        while True:
            connection.sendall(b"no " * 10_000)

    with pytest.raises(AssetNotFoundError) as caught:
        get_bytes(session, serve(endless).url, limit=10)
    assert len(caught.value.what) < 500


def test_an_explanation_that_breaks_off_is_left_out(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Status(404, {"Content-Length": "500"}))
    with pytest.raises(AssetNotFoundError) as caught:
        get_bytes(session, upstream.url + PATH, limit=10)
    assert "it says" not in caught.value.what


def test_a_limit_without_an_end_is_told_after_the_retries(session: requests.Session, upstream: Upstream) -> None:
    upstream.fail(PATH, Status(429, body=b'"toomanyrequests"'), times=None)
    with pytest.raises(RateLimitError, match=r"used up: it says .*toomanyrequests"):
        get_bytes(session, upstream.url + PATH, limit=10)


def test_the_limit_of_github_is_told_with_its_end(session: requests.Session, serve: Serve) -> None:
    error = refused(
        session,
        serve,
        framed(b"", "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: 1795435200", status="403 Forbidden"),
    )
    assert isinstance(error, RateLimitError)
    assert "renewed at 2026-11-23 12:00 UTC" in error.what


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (("RateLimit-Limit: 100;w=21600", "RateLimit-Remaining: 0;w=21600"),
         "100 requests in 6 h 0 min are used up; it is renewed bit by bit, the whole of it within 6 h 0 min"),
        (("RateLimit-Limit: 200;w=21600", "Retry-After: 90"),
         "200 requests in 6 h 0 min are used up; it says to wait 90 s (0 h 1 min)"),
        (("RateLimit-Limit: 10, 10;w=1, 1000;w=3600", "RateLimit-Reset: 45"),
         "10 requests are used up; it is renewed in 45 s"),
        (("X-RateLimit-Limit: 60", "X-RateLimit-Reset: 1795435200"),
         "60 requests are used up; it is renewed at 2026-11-23 12:00 UTC"),
        (("RateLimit-Limit: a lot",), "asked: used up"),
        (("RateLimit-Limit: 100;w=21600000000000000",), "asked: 100 requests are used up"),
    ],
)  # fmt: skip
def test_a_used_up_limit_says_what_it_is_and_when_it_ends(
    session: requests.Session, serve: Serve, headers: tuple[str, ...], told: str
) -> None:
    error = refused(session, serve, framed(b"", *headers, status="429 Too Many Requests"))
    assert isinstance(error, RateLimitError)
    assert error.what.endswith(told)
    assert "docker login" in error.hint


def test_a_refused_login_says_how_to_log_in(session: requests.Session, serve: Serve) -> None:
    error = refused(session, serve, framed(b"", status="401 Unauthorized"))
    assert isinstance(error, AccessDeniedError)
    assert "docker login 127.0.0.1:" in error.hint
