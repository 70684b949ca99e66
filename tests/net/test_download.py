from __future__ import annotations

import gzip
import json
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest
from requests.auth import HTTPBasicAuth

from bundler.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    BundlerError,
    DigestMismatchError,
    MalformedAnswerError,
    NetworkError,
    ServerError,
    SizeMismatchError,
    StalledError,
    UsageError,
)
from bundler.model.digest import digest_of
from bundler.net.download import Download, download
from bundler.net.part import sidecar_of
from bundler.net.session import NetworkSettings, open_session
from tests.net.conftest import QUICK, Serve, Watched
from tests.net.raw_server import header, saying
from tests.upstream import (
    Cut,
    Drip,
    Flip,
    Headers,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Status,
    Upstream,
    WrongLength,
)
from tests.upstream.answers import Document

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    import requests

CONTENT = random.Random(7).randbytes(1_000_000)
SIZE = len(CONTENT)
DIGEST = digest_of(CONTENT)
PATH = "/files/k3s"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def wanted(*servers: Upstream, size: int | None = SIZE) -> Download:
    return Download(tuple(server.url + PATH for server in servers), DIGEST, size)


def check_whole(part: Path, task: Watched) -> None:
    assert part.read_bytes() == CONTENT
    assert not sidecar_of(part).exists()
    assert task.total == SIZE


@pytest.fixture(autouse=True)
def _content(request: pytest.FixtureRequest) -> None:
    for name in ("upstream", "other"):
        if name in request.fixturenames:
            request.getfixturevalue(name).put(PATH, CONTENT)


def interrupt(session: requests.Session, order: Download, part: Path, after: int) -> None:
    """Begin a download and press Ctrl-C when `after` bytes are there."""

    class Impatient(Watched):
        def advance(self, count: int) -> None:
            super().advance(count)
            if self.total >= after:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(session, order, part, task=Impatient())


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_file_comes_whole_in_one_request(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, size: int | None
) -> None:
    download(session, wanted(upstream, size=size), part, task=task)
    check_whole(part, task)
    assert len(upstream.requests) == 1


def test_an_empty_file_needs_no_request(session: requests.Session, upstream: Upstream, part: Path) -> None:
    upstream.put(PATH, b"")
    download(session, Download((upstream.url + PATH,), digest_of(b""), 0), part, task=Watched())
    assert part.read_bytes() == b""
    assert upstream.requests == ()


def test_an_empty_file_of_unknown_size_comes_too(session: requests.Session, upstream: Upstream, part: Path) -> None:
    upstream.put(PATH, b"")
    download(session, Download((upstream.url + PATH,), digest_of(b""), None), part, task=Watched())
    assert part.read_bytes() == b""


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize("fault", [Cut(400_000), Reset(400_000), Stall(400_000)])
def test_a_body_that_breaks_off_is_gone_on_with_at_the_byte(
    session: requests.Session,
    upstream: Upstream,
    part: Path,
    task: Watched,
    size: int | None,
    fault: Cut | Reset | Stall,
) -> None:
    upstream.fail(PATH, fault)
    download(session, wanted(upstream, size=size), part, task=task)
    check_whole(part, task)
    first, second = upstream.requests
    assert "range" not in first.headers
    assert second.status == 206
    assert second.headers["if-range"] == upstream.document(PATH).etag
    if isinstance(fault, Cut):
        assert second.headers["range"] == "bytes=400000-"
        assert upstream.bytes_sent() == SIZE


def test_ten_cuts_are_survived_while_there_is_progress(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Cut(90_000), times=10)
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert upstream.bytes_sent() == SIZE
    assert len(upstream.requests) == 11


def test_a_server_that_breaks_off_without_progress_is_given_up_after_the_retries(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Cut(10), times=None)
    with pytest.raises(NetworkError) as caught:
        download(session, wanted(upstream), part, task=task)
    assert caught.value.name == "network"
    assert len(upstream.requests) == 1 + QUICK.retries
    assert part.stat().st_size == 10 * len(upstream.requests)


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, serve: Serve
) -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (SIZE, CONTENT[: SIZE // 2])
    server = serve(saying(half))
    with pytest.raises(NetworkError):
        download(session, Download((server.url,), DIGEST, SIZE), part, task=task)
    assert len(server.heads) == 1 + QUICK.retries  # half the file again and again is no progress


def test_after_an_interrupt_the_rest_comes_and_nothing_twice(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Cut(600_000))
    interrupt(session, wanted(upstream), part, 500_000)
    kept = part.stat().st_size
    assert kept >= 500_000
    upstream.heal()
    upstream.forget_requests()
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert upstream.bytes_sent() == SIZE - kept


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_part_that_is_complete_already_is_not_fetched_again(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, size: int | None
) -> None:
    part.write_bytes(CONTENT)
    download(session, wanted(upstream, size=size), part, task=task)
    check_whole(part, task)
    assert upstream.bytes_sent() == 0
    assert [request.status for request in upstream.requests] == ([] if size else [416])


def test_a_part_longer_than_the_file_is_begun_anew(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT + b"more")
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [200]


def test_a_part_longer_than_a_file_of_unknown_size_is_begun_anew(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT + b"more")
    download(session, wanted(upstream, size=None), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [416, 200]


@pytest.mark.parametrize("size", [SIZE, None])
def test_a_flipped_byte_in_the_part_is_healed_by_fetching_all_again(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, size: int | None
) -> None:
    part.write_bytes(b"\0" + CONTENT[1:300_000])
    download(session, wanted(upstream, size=size), part, task=task)
    check_whole(part, task)
    assert upstream.bytes_sent() == SIZE - 300_000 + SIZE


def test_a_flipped_byte_in_a_complete_part_is_healed(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT[:-1] + b"\0")
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert upstream.bytes_sent() == SIZE


def test_wrong_bytes_leave_no_file_and_the_error_names_all(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Flip(123_456), times=None)
    with pytest.raises(DigestMismatchError) as caught:
        download(session, wanted(upstream), part, task=task)
    wrong = bytearray(CONTENT)
    wrong[123_456] ^= 1
    assert upstream.url + PATH in caught.value.what
    assert DIGEST in caught.value.what
    assert digest_of(bytes(wrong)) in caught.value.what
    assert list(part.parent.glob("part*")) == []
    assert len(upstream.requests) == 1  # asking the same server the same thing again would not help
    assert task.total == 0


def test_wrong_bytes_after_resuming_are_tried_once_from_the_beginning_and_no_more(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT[:500_000])
    upstream.fail(PATH, Flip(900_000), times=None)
    with pytest.raises(DigestMismatchError):
        download(session, wanted(upstream), part, task=task)
    assert [request.status for request in upstream.requests] == [206, 200]
    assert not part.exists()


def test_a_file_that_changes_unnoticed_in_the_middle_is_fetched_again(
    session: requests.Session, upstream: Upstream, part: Path
) -> None:
    upstream.put_document(PATH, Document(bytes(SIZE)))  # no ETag to notice it by
    upstream.fail(PATH, Cut(400_000))

    class Replacing(Watched):
        def advance(self, count: int) -> None:
            super().advance(count)
            upstream.put_document(PATH, Document(CONTENT))

    download(session, wanted(upstream), part, task=Replacing())
    assert part.read_bytes() == CONTENT
    assert [request.status for request in upstream.requests] == [200, 206, 200]


def test_a_file_that_changed_into_a_wrong_one_is_fetched_once(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    interrupt(session, wanted(upstream), part, 200_000)
    upstream.put(PATH, bytes(SIZE))
    upstream.forget_requests()
    with pytest.raises(DigestMismatchError):
        download(session, wanted(upstream), part, task=task)
    assert [request.status for request in upstream.requests] == [200]


def test_a_changed_file_is_begun_anew(session: requests.Session, upstream: Upstream, part: Path, task: Watched) -> None:
    upstream.put(PATH, bytes(SIZE))
    interrupt(session, wanted(upstream), part, 200_000)
    upstream.put(PATH, CONTENT)
    upstream.forget_requests()
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [200]


def test_a_piece_with_another_etag_is_not_appended(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    interrupt(session, wanted(upstream), part, 200_000)
    upstream.fail(PATH, Headers({"ETag": '"another"'}))
    upstream.forget_requests()
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [206, 200]


@pytest.mark.parametrize(
    "lie",
    ["bytes 0-999999/1000000", "bytes 299999-999999/1000000", "bytes 300000-999999/1000001", "bytes 1-2", None],
)
def test_a_piece_with_a_wrong_content_range_is_not_appended(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, lie: str | None
) -> None:
    part.write_bytes(CONTENT[:300_000])
    upstream.fail(PATH, Headers({"Content-Range": lie}))
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [206, 200]


def test_a_piece_nobody_asked_for_is_not_taken_for_the_file(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    piece = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nabcde"
    with pytest.raises(MalformedAnswerError, match="a piece when asked for all"):
        download(session, Download((serve(saying(piece)).url,), digest_of(b"abcde"), 5), part, task=task)


def test_a_file_that_became_shorter_than_the_part_is_asked_for_from_the_beginning(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT[:900_000])
    upstream.put(PATH, CONTENT[:500_000])
    with pytest.raises(SizeMismatchError, match="500000 bytes"):
        download(session, wanted(upstream), part, task=task)
    assert [request.status for request in upstream.requests] == [416, 200]
    assert not part.exists()


def test_a_server_without_ranges_sends_all_again(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    part.write_bytes(CONTENT[:300_000])
    upstream.fail(PATH, IgnoreRange())
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [200]


def test_pieces_shorter_than_asked_for_are_put_together(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    def pieces(head: str, connection: socket.socket) -> None:
        asked = header(head, "Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = CONTENT[start : start + 300_000]
        if asked:
            place = f"Content-Range: bytes {start}-{start + len(body) - 1}/{SIZE}\r\n"
            top = f"HTTP/1.1 206 Partial Content\r\n{place}Content-Length: {len(body)}\r\n\r\n"
        else:
            top = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"
        connection.sendall(top.encode() + body)

    server = serve(pieces)
    download(session, Download((server.url,), DIGEST, None), part, task=task)
    check_whole(part, task)
    assert len(server.heads) == 4


def test_a_chunked_body_that_breaks_off_is_noticed(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    top = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    broken = top + b"%x\r\n%s\r\n" % (300_000, CONTENT[:300_000])
    whole = top + b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, CONTENT)
    server = serve(saying(broken, whole))
    download(session, Download((server.url,), DIGEST, None), part, task=task)
    check_whole(part, task)
    assert header(server.heads[1], "Range") == "bytes=300000-"


def test_a_body_without_length_that_ends_early_is_gone_on_with(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    def answer(head: str, connection: socket.socket) -> None:
        if header(head, "Range"):
            rest = CONTENT[250_000:]
            place = b"Content-Range: bytes 250000-%d/%d" % (SIZE - 1, SIZE)
            connection.sendall(b"HTTP/1.1 206 Partial Content\r\n%s\r\n\r\n%s" % (place, rest))
        else:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + CONTENT[:250_000])

    server = serve(answer)
    download(session, Download((server.url,), DIGEST, SIZE), part, task=task)
    check_whole(part, task)


def test_a_content_length_that_is_not_the_size_is_refused_before_any_byte_is_taken(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, WrongLength(-5), times=None)
    with pytest.raises(SizeMismatchError, match=f"{SIZE - 5} bytes, {SIZE} are expected"):
        download(session, wanted(upstream), part, task=task)
    assert not part.exists()


def test_a_content_length_too_long_for_the_body_is_noticed_although_the_size_is_unknown(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, WrongLength(5))
    download(session, wanted(upstream, size=None), part, task=task)
    check_whole(part, task)


def test_a_content_length_too_short_is_caught_by_the_digest_when_the_size_is_unknown(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, WrongLength(-5))
    with pytest.raises(DigestMismatchError):
        download(session, wanted(upstream, size=None), part, task=task)
    assert not part.exists()


def test_more_bytes_than_the_size_stop_the_transfer_at_once(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    sent = 0

    def endless(head: str, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT)
        while True:
            connection.sendall(CONTENT)
            sent += SIZE

    with pytest.raises(SizeMismatchError, match=f"more than {SIZE}"):
        download(session, Download((serve(endless).url,), DIGEST, SIZE), part, task=task)
    assert not part.exists()
    assert sent <= 20 * SIZE  # what the buffers of the kernel hold


def test_a_file_of_unknown_size_is_not_taken_without_end(serve: Serve, part: Path) -> None:
    def endless(head: str, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(CONTENT)

    with open_session(NetworkSettings(largest_download=3_000_000)) as session, pytest.raises(SizeMismatchError):
        download(session, Download((serve(endless).url,), DIGEST, None), part, task=Watched())
    assert not part.exists()


def test_a_stall_is_given_up_at_last_and_the_part_stays(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Cut(100_000))
    upstream.fail(PATH, Stall(1), times=None)
    with pytest.raises(StalledError, match="stopped sending"):
        download(session, wanted(upstream), part, task=task)
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert part.stat().st_size > 100_000


def test_a_drip_counts_as_a_stall(session: requests.Session, upstream: Upstream, part: Path, task: Watched) -> None:
    upstream.fail(PATH, Drip(100), times=None)
    with pytest.raises(StalledError, match="less than 1024 bytes a second"):
        download(session, wanted(upstream), part, task=task)


def test_a_drip_is_left_for_the_same_server_in_a_better_mood(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Drip(100))
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert [request.status for request in upstream.requests] == [200, 206]


def test_time_the_disk_takes_is_not_held_against_the_server(upstream: Upstream, part: Path) -> None:
    class Slow(Watched):
        def advance(self, count: int) -> None:
            super().advance(count)
            time.sleep(0.3)

    content = CONTENT[:2000]
    upstream.put(PATH, content)
    upstream.fail(PATH, Drip(5000))
    settings = NetworkSettings(slowest=3000, slow_window=0.2)
    with open_session(settings) as session:
        download(session, Download((upstream.url + PATH,), digest_of(content), 2000), part, task=Slow())
    assert len(upstream.requests) == 1


def test_compression_nobody_asked_for_is_refused(
    session: requests.Session, serve: Serve, part: Path, task: Watched
) -> None:
    packed = gzip.compress(CONTENT)
    server = serve(
        saying(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(packed), packed),
        )
    )
    with pytest.raises(MalformedAnswerError, match="Content-Encoding gzip"):
        download(session, Download((server.url,), DIGEST, SIZE), part, task=task)
    assert header(server.heads[0], "Accept-Encoding") == "identity"
    assert not part.exists()


@pytest.mark.parametrize("known", [True, False])
def test_a_compressed_file_that_is_labelled_as_encoded_is_taken_as_it_is(
    session: requests.Session,
    serve: Serve,
    part: Path,
    known: bool,  # noqa: FBT001
) -> None:
    packed = gzip.compress(CONTENT)
    top = b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server = serve(saying(top + packed))
    order = Download((server.url,), digest_of(packed), len(packed) if known else None)
    download(session, order, part, task=Watched())
    assert part.read_bytes() == packed


def test_the_next_mirror_goes_on_where_the_first_one_died(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Cut(700_000))
    upstream.fail(PATH, Status(404), times=None)
    download(session, wanted(upstream, other), part, task=task)
    check_whole(part, task)
    (request,) = other.requests
    assert request.headers["range"] == "bytes=700000-"
    assert "if-range" not in request.headers  # another server's ETag says nothing
    assert other.bytes_sent() == 300_000


def test_a_mirror_with_wrong_bytes_does_not_spoil_the_next(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Flip(0), times=None)
    download(session, wanted(upstream, other), part, task=task)
    check_whole(part, task)


def test_wrong_bytes_of_a_dead_mirror_are_replaced_by_the_next(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.put(PATH, bytes(SIZE))
    upstream.fail(PATH, Cut(400_000))
    upstream.fail(PATH, Status(403), times=None)
    download(session, wanted(upstream, other), part, task=task)
    check_whole(part, task)
    assert [request.status for request in other.requests] == [206, 200]


def test_when_every_mirror_fails_the_error_tells_of_each(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.remove(PATH)
    other.fail(PATH, Flip(1), times=None)
    gone = "http://127.0.0.1:1"
    order = Download((upstream.url + PATH, gone + PATH, other.url + PATH), DIGEST, SIZE)
    with pytest.raises(DigestMismatchError) as caught:
        download(session, order, part, task=task)
    for server in (upstream.url, "127.0.0.1:1", other.url):
        assert server in caught.value.what


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, AccessDeniedError), (403, AccessDeniedError), (404, AssetNotFoundError), (500, ServerError)],
)
def test_a_refusal_is_an_error_of_its_kind_and_keeps_the_part(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, status: int, kind: type[BundlerError]
) -> None:
    part.write_bytes(CONTENT[:1000])
    upstream.fail(PATH, Status(status), times=None)
    with pytest.raises(kind):
        download(session, wanted(upstream), part, task=task)
    assert part.read_bytes() == CONTENT[:1000]


def test_no_address_and_no_http_address_are_errors(session: requests.Session, part: Path, task: Watched) -> None:
    with pytest.raises(NetworkError):
        download(session, Download((), DIGEST, SIZE), part, task=task)
    with pytest.raises(UsageError):
        download(session, Download(("file:///etc/passwd",), DIGEST, SIZE), part, task=task)
    assert not part.exists()


def test_resuming_goes_back_to_the_first_address_and_not_to_where_it_led(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Redirect(other.url), times=None)
    other.fail(PATH, Cut(400_000))
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    assert len(upstream.requests) == len(other.requests) == 2
    assert other.requests[1].headers["range"] == "bytes=400000-"


def test_credentials_are_sent_with_every_request_to_the_host_and_to_no_other(
    session: requests.Session, upstream: Upstream, other: Upstream, part: Path, task: Watched
) -> None:
    upstream.fail(PATH, Redirect(other.url), times=None)
    other.fail(PATH, Cut(400_000))
    download(session, wanted(upstream), part, task=task, auth=HTTPBasicAuth("me", "secret"))
    assert all("authorization" in request.headers for request in upstream.requests)
    assert not any("authorization" in request.headers for request in other.requests)


def test_the_sidecar_holds_no_secret(session: requests.Session, upstream: Upstream, part: Path) -> None:
    address = upstream.url.replace("//", "//me:password@") + PATH + "?signature=secret"
    interrupt(session, Download((address,), DIGEST, SIZE), part, 100_000)
    text = sidecar_of(part).read_text()
    assert json.loads(text)["url"] == upstream.url + PATH
    assert "password" not in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "\0",
        '{"url": 1, "etag": null, "lastModified": null}',
        '{"url": "URL", "etag": "\\r\\nX-Evil: 1", "lastModified": null}',
        '{"url": "URL", "etag": null, "lastModified": 5}',
        "[" * 20_000,
    ],
)
def test_a_damaged_sidecar_does_no_harm(
    session: requests.Session, upstream: Upstream, part: Path, task: Watched, text: str
) -> None:
    part.write_bytes(CONTENT[:1000])
    sidecar_of(part).write_text(text.replace("URL", upstream.url + PATH))
    download(session, wanted(upstream), part, task=task)
    check_whole(part, task)
    (request,) = upstream.requests
    assert request.status == 206
    assert "if-range" not in request.headers


def test_a_server_that_restarts_in_the_middle_is_waited_for(part: Path) -> None:
    with Upstream() as upstream:
        upstream.put(PATH, CONTENT)
        restart_in_the_middle(upstream, part)
    assert part.read_bytes() == CONTENT


def restart_in_the_middle(upstream: Upstream, part: Path) -> None:
    upstream.fail(PATH, Cut(500_000))
    settings = NetworkSettings(connect_timeout=0.3, read_timeout=2, backoff=0.1)
    later: list[Upstream] = []
    port = int(upstream.url.rpartition(":")[2])

    class Restarting(Watched):
        def advance(self, count: int) -> None:
            super().advance(count)
            if self.total == 500_000 and not later:
                threading.Thread(target=restart).start()
                time.sleep(0.2)

    def restart() -> None:
        upstream._server.close()
        time.sleep(0.8)
        again = Upstream(port=port)
        again.put(PATH, CONTENT)
        later.append(again.__enter__())

    with open_session(settings) as session:
        try:
            download(session, wanted(upstream), part, task=Restarting())
        finally:
            for again in later:
                again.__exit__(None, None, None)
