"""The server keeps to HTTP and to the distribution-spec, fails as it is told to, and counts right."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.upstream import (
    EXTRA_IMAGE,
    Abreast,
    BasicAccess,
    BearerAccess,
    Cut,
    Drip,
    Filler,
    Flip,
    Headers,
    IgnoreRange,
    Redirect,
    Reset,
    Stall,
    Status,
    Upstream,
    WrongLength,
    standard_content,
)
from tests.upstream.conftest import absent
from tests.upstream.layers import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.upstream.conftest import Ask

BINARY = "/releases/v1.34.1%2Bk3s1/k3s-arm64"
PAUSE = "/v2/rancher/mirrored-pause/manifests/3.6"
BODY = bytes(range(256)) * 1000


@pytest.mark.parametrize(
    "path", [BINARY, "/releases/v1.34.1+k3s1/k3s-arm64", "/releases-dashed/v1.34.1-k3s1/k3s-arm64"]
)
def test_assets_are_served_under_every_spelling_of_the_tag(upstream: Upstream, ask: Ask, path: str) -> None:
    reply = ask(path)
    assert reply.status == 200
    assert reply.body == upstream.content.release("v1.34.1+k3s1").assets["k3s-arm64"]
    assert [request.path for request in upstream.requests] == [path]


@pytest.mark.parametrize("path", ["/", "/releases/v1.34.1%2Bk3s1/k3s-s390x", "/releases/v9.9.9%2Bk3s1/k3s"])
def test_what_does_not_exist_is_404(ask: Ask, path: str) -> None:
    assert ask(path).status == 404


def test_channels_have_the_shape_of_the_channel_server_and_testing_has_no_latest(upstream: Upstream, ask: Ask) -> None:
    collection = json.loads(ask("/v1-release/channels").body)
    assert (collection["type"], collection["resourceType"]) == ("collection", "channels")
    latest = {entry["id"]: entry.get("latest") for entry in collection["data"]}
    assert latest == dict(upstream.content.channels)
    assert latest["testing"] is None
    assert {entry["links"]["self"] for entry in collection["data"]} == {
        f"{upstream.channels_url}/{name}" for name in latest
    }


def test_a_single_channel_redirects_with_a_literal_plus_and_to_a_page_that_is_not_there(ask: Ask) -> None:
    reply = ask("/v1-release/channels/stable")
    assert reply.status == 302
    assert reply.headers["Location"].endswith("/releases/tag/v1.34.1+k3s1")
    assert ask("/v1-release/channels/testing").status == 404


def test_every_manifest_and_blob_of_every_image_comes_with_its_bytes_type_and_digest(
    upstream: Upstream, ask: Ask
) -> None:
    for image in upstream.content.images:
        base = f"/v2/{image.repository}"
        assert ask(f"{base}/manifests/{image.tag}").body == image.top.data
        for blob in (image.top, *(part.manifest for part in image.platforms)):
            reply = ask(f"{base}/manifests/{blob.digest}")
            assert (reply.headers["Content-Type"], reply.headers["Docker-Content-Digest"]) == (
                blob.media_type,
                blob.digest,
            )
            assert sha256(reply.body) == blob.digest
        for part in image.platforms[:1]:
            for digest in (part.config.digest, *(layer.digest for layer in part.layers)):
                assert sha256(ask(f"{base}/blobs/{digest}").body) == digest


def test_head_gives_the_headers_of_get_and_no_body(upstream: Upstream, ask: Ask) -> None:
    for path in (BINARY, PAUSE, "/v1-release/channels"):
        got, headed = ask(path), ask(path, "HEAD")
        assert headed.body == b""
        assert headed.status == 200
        assert {**headed.headers, "Date": ""} == {**got.headers, "Date": ""}
    assert sum(request.body_bytes for request in upstream.requests_to("*", "HEAD")) == 0


@pytest.mark.parametrize("accept", ["*/*", "application/vnd.docker.distribution.manifest.v2+json", "application/json"])
def test_a_manifest_is_not_given_to_a_client_that_does_not_accept_its_type(ask: Ask, accept: str) -> None:
    reply = ask(PAUSE, Accept=accept)
    assert reply.status == 404
    assert json.loads(reply.body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v2/rancher/mirrored-pause/manifests/9.9", "MANIFEST_UNKNOWN"),
        (f"/v2/rancher/mirrored-pause/blobs/sha256:{'0' * 64}", "BLOB_UNKNOWN"),
        ("/v2/rancher/nothing/tags/list", "NAME_UNKNOWN"),
    ],
)
def test_registry_errors_are_error_documents(ask: Ask, path: str, code: str) -> None:
    reply = ask(path)
    assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (404, code)


def test_a_blob_is_found_only_in_a_repository_that_has_it(upstream: Upstream, ask: Ask) -> None:
    digest = upstream.content.image(EXTRA_IMAGE).on("amd64").config.digest
    assert ask(f"/v2/example/hello/blobs/{digest}").status == 200
    assert ask(f"/v2/rancher/mirrored-pause/blobs/{digest}").status == 404


def test_everything_is_read_only(ask: Ask) -> None:
    assert ask("/v2/example/hello/blobs/uploads/", "POST").status == 405
    assert ask(PAUSE, "DELETE").status == 405


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(first=st.none() | st.integers(0, 40), last=st.none() | st.integers(0, 40), size=st.integers(0, 30))
def test_ranges_follow_rfc_9110(upstream: Upstream, ask: Ask, first: int | None, last: int | None, size: int) -> None:
    body = BODY[:size]
    upstream.put("/range", body)
    wanted = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    reply = ask("/range", Range=wanted)
    if first is None and last is None:
        expected = body
    elif first is None:
        expected = body[-last:] if last else b""
    else:
        expected = body[first : last + 1] if last is not None else body[first:]
    if reply.status == 416:
        assert expected == b""
        assert reply.headers["Content-Range"] == f"bytes */{size}"
    else:
        assert reply.body == expected
        if reply.status == 206:
            start = first if first is not None else max(0, size - (last or 0))
            assert reply.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{size}"
        else:
            assert first is None
            assert last is None


@pytest.mark.parametrize("wanted", ["bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-"])
def test_a_range_that_is_not_understood_is_ignored(upstream: Upstream, ask: Ask, wanted: str) -> None:
    upstream.put("/range", BODY)
    reply = ask("/range", Range=wanted)
    assert (reply.status, reply.body) == (200, BODY)


def test_if_range_gives_the_range_of_the_same_thing_and_the_whole_of_another(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    etag = ask("/file").headers["ETag"]
    assert ask("/file", Range="bytes=5-", If_Range=etag).body == BODY[5:]
    upstream.put("/file", BODY[::-1])
    changed = ask("/file", Range="bytes=5-", If_Range=etag)
    assert (changed.status, changed.body) == (200, BODY[::-1])


def test_a_path_can_be_taken_away(upstream: Upstream, ask: Ask) -> None:
    upstream.remove("/releases/v1.34.1+k3s1/k3s-arm64")
    assert ask(BINARY).status == 404


def test_basic_access_wants_the_password_for_the_registry_alone(ask: Ask) -> None:
    with Upstream(access=BasicAccess("ann", "secret")) as guarded:
        right, wrong = (base64.b64encode(pair).decode() for pair in (b"ann:secret", b"ann:Secret"))
        refused = ask(PAUSE, host=guarded.host)
        assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, 'Basic realm="upstream"')
        assert ask(PAUSE, host=guarded.host, Authorization=f"Basic {wrong}").status == 401
        assert ask(PAUSE, host=guarded.host, Authorization=f"Basic {right}").status == 200
        assert ask(BINARY, host=guarded.host).status == 200


def test_bearer_tokens_open_the_repository_they_were_asked_for_until_they_expire(ask: Ask) -> None:
    access = BearerAccess(lifetime=300)
    with Upstream(access=access) as guarded:
        host = guarded.host
        challenge = ask(PAUSE, host=host).headers["WWW-Authenticate"]
        scope = "repository:rancher/mirrored-pause:pull"
        assert challenge == f'Bearer realm="{guarded.url}/token",service="upstream",scope="{scope}"'
        answer = json.loads(ask(f"/token?service=upstream&scope={quote(scope)}", host=host).body)
        assert answer["expires_in"] == 300
        bearer = f"Bearer {answer['token']}"
        assert ask(PAUSE, host=host, Authorization=bearer).status == 200
        other = ask("/v2/rancher/klipper-lb/manifests/v0.4.13", host=host, Authorization=bearer)
        assert other.status == 401
        assert 'error="insufficient_scope"' in other.headers["WWW-Authenticate"]
        access.expire_tokens()
        late = ask(PAUSE, host=host, Authorization=bearer)
        assert late.status == 401
        assert 'error="invalid_token"' in late.headers["WWW-Authenticate"]


def test_a_token_ends_by_itself_after_its_lifetime(ask: Ask) -> None:
    with Upstream(access=BearerAccess(lifetime=0.05)) as guarded:
        token = json.loads(ask("/token?service=upstream", host=guarded.host).body)["token"]
        time.sleep(0.06)
        assert ask("/v2/", host=guarded.host, Authorization=f"Bearer {token}").status == 401


def test_private_repositories_give_anonymous_clients_a_token_that_opens_nothing(ask: Ask) -> None:
    scope = "scope=repository:rancher/mirrored-pause:pull"
    with Upstream(access=BearerAccess("ann", "secret")) as guarded:
        host = guarded.host
        statuses = {}
        for name, pair in {"nobody": b"", "ann": b"ann:secret"}.items():
            credentials = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"} if pair else {}
            token = json.loads(ask(f"/token?service=upstream&{scope}", host=host, **credentials).body)["token"]
            statuses[name] = ask(PAUSE, host=host, Authorization=f"Bearer {token}").status
        assert statuses == {"nobody": 401, "ann": 200}
        wrong = base64.b64encode(b"ann:Secret").decode()
        assert ask(f"/token?service=upstream&{scope}", host=host, Authorization=f"Basic {wrong}").status == 401


def test_a_status_comes_as_often_as_asked_with_its_headers(upstream: Upstream, ask: Ask) -> None:
    upstream.fail("/v2/*", Status(429, {"Retry-After": "3"}), times=2)
    replies = [ask(PAUSE) for _ in range(3)]
    assert [(reply.status, reply.headers["Retry-After"]) for reply in replies] == [(429, "3"), (429, "3"), (200, None)]
    assert [request.status for request in upstream.requests] == [429, 429, 200]


def test_faults_without_a_count_last_until_healed_and_only_where_the_pattern_matches(
    upstream: Upstream, ask: Ask
) -> None:
    upstream.fail("*/k3s-arm64", Status(500), times=None)
    assert [ask(BINARY).status for _ in range(3)] == [500] * 3
    assert ask(BINARY.replace("arm64", "armhf")).status == 200
    upstream.heal()
    assert ask(BINARY).status == 200


def test_faults_of_one_path_meet_one_answer_each_in_order(upstream: Upstream, ask: Ask) -> None:
    upstream.fail(unescaped(BINARY), Status(503))
    upstream.fail(unescaped(BINARY), Cut(10))
    assert [(reply.status, reply.broken) for reply in (ask(BINARY), ask(BINARY), ask(BINARY))] == [
        (503, False),
        (200, True),
        (200, False),
    ]


@pytest.mark.parametrize("after", [0, 1, 20000, len(BODY) - 1])
def test_a_cut_body_has_its_full_length_in_the_header_and_so_many_bytes(
    upstream: Upstream, ask: Ask, after: int
) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", Cut(after))
    reply = ask("/file")
    assert (reply.broken, reply.body) == (True, BODY[:after])
    assert reply.headers["Content-Length"] == str(len(BODY))
    assert [request.body_bytes for request in upstream.requests] == [after]


def test_a_resumed_download_is_counted_byte_for_byte(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", Cut(70000), times=2)
    got = b""
    while len(got) < len(BODY):
        got += ask("/file", Range=f"bytes={len(got)}-").body
    assert got == BODY
    assert upstream.bytes_sent("/file") == len(BODY)
    assert [request.body_bytes for request in upstream.requests] == [70000, 70000, len(BODY) - 140000]


def test_a_cut_waits_for_a_get_that_would_succeed(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/*", Cut(5))
    assert ask("/missing").status == 404
    assert ask("/file", "HEAD").status == 200
    assert ask("/file").broken


def test_a_reset_breaks_the_connection_in_the_middle(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", Reset(50000))
    with pytest.raises(ConnectionResetError):
        ask("/file")
    assert ask("/file").body == BODY


def test_a_flipped_byte_shows_in_every_range_that_holds_it_and_in_no_other(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", Flip(1000), times=2)
    assert ask("/file", Range="bytes=1001-").body == BODY[1001:]
    assert ask("/file", Range="bytes=1000-1001").body == bytes([BODY[1000] ^ 1, BODY[1001]])
    assert ask("/file").body == BODY[:1000] + bytes([BODY[1000] ^ 1]) + BODY[1001:]
    assert ask("/file").body == BODY


@pytest.mark.parametrize("difference", [-7, 7])
def test_a_wrong_length_stands_over_the_whole_body(upstream: Upstream, ask: Ask, difference: int) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", WrongLength(difference))
    reply = ask("/file")
    assert reply.headers["Content-Length"] == str(len(BODY) + difference)
    assert (reply.broken, reply.body) == (difference > 0, BODY[: len(BODY) + min(0, difference)])


def test_wrong_headers_stand_over_the_right_body(upstream: Upstream, ask: Ask) -> None:
    upstream.fail(PAUSE, Headers({"Docker-Content-Digest": None, "Content-Type": "text/html", "X-New": "1"}))
    reply, right = ask(PAUSE), ask(PAUSE)
    assert reply.body == right.body
    wrong = [reply.headers[name] for name in ("Docker-Content-Digest", "Content-Type", "X-New", "ETag")]
    assert wrong == [None, "text/html", "1", right.headers["ETag"]]


def test_a_range_can_be_ignored(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", IgnoreRange())
    reply = ask("/file", Range="bytes=1000-")
    assert (reply.status, reply.body) == (200, BODY)


def test_a_redirect_leads_to_another_origin_with_path_and_query(upstream: Upstream, ask: Ask) -> None:
    with Upstream() as other:
        upstream.fail("/releases/*", Redirect(other.url))
        reply = ask(f"{BINARY}?a=b")
        assert (reply.status, reply.headers["Location"]) == (302, f"{other.url}{BINARY}?a=b")
        assert ask(f"{BINARY}?a=b", host=other.host).status == 200


def test_a_drip_takes_its_time(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", b"x" * 500)
    upstream.fail("/file", Drip(bytes_per_second=1000))
    began = time.monotonic()
    assert ask("/file").body == b"x" * 500
    assert 0.4 < time.monotonic() - began < 5


def test_a_body_abreast_of_its_reader_waits_for_it_and_ends_with_it(upstream: Upstream) -> None:
    upstream.put("/file", bytes(1 << 20))
    read = 0
    upstream.fail("/file", Abreast(lambda: read, lead=20_000))
    host, port = upstream.host.split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        for read in (0, 30_000):
            _settled(lambda: upstream.bytes_sent("/file"), least=read + 20_000)
            assert upstream.bytes_sent("/file") < read + 40_000
    time.sleep(0.1)
    read = 1 << 20
    time.sleep(0.1)
    assert upstream.bytes_sent("/file") < 70_000, "nothing is sent to nobody"


def _settled(count: Callable[[], int], least: int) -> None:
    patience = time.monotonic() + 10
    while count() < least:
        assert time.monotonic() < patience
        time.sleep(0.01)
    time.sleep(0.1)


@pytest.mark.parametrize("after", [0, 20000])
def test_a_stall_sends_so_many_bytes_then_nothing_then_the_rest(upstream: Upstream, after: int) -> None:
    upstream.put("/file", BODY)
    upstream.fail("/file", Stall(after, seconds=0.6))
    host, port = upstream.host.split(":")
    with socket.create_connection((host, int(port)), timeout=0.3) as connection:
        connection.sendall(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        got = bytearray()
        while (head := got.partition(b"\r\n\r\n"))[1] == b"" or len(head[2]) < after:
            got += connection.recv(1 << 16)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert got.partition(b"\r\n\r\n")[2] == BODY[:after]
        connection.settimeout(5)
        while len(got.partition(b"\r\n\r\n")[2]) < len(BODY):
            got += connection.recv(1 << 16)
        assert got.endswith(b"\r\n\r\n" + BODY)


def test_closing_ends_stalls_idle_connections_and_threads_at_once() -> None:
    before = threading.active_count()
    with Upstream() as closing:
        closing.fail("/v2/", Stall())
        host, port = closing.host.split(":")
        stalled, idle = (socket.create_connection((host, int(port))) for _ in range(2))
        stalled.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.sendall(b"GET /missing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404" in idle.recv(100)
        assert b"200" in stalled.recv(100)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert threading.active_count() == before
    stalled.close()
    idle.close()


def test_a_failure_of_the_double_itself_is_told() -> None:
    def ask_and_leave() -> None:
        with Upstream() as broken, socket.create_connection(("127.0.0.1", int(broken.host[10:]))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n")
            assert connection.recv(100) == b""

    with pytest.raises(ExceptionGroup, match="the upstream double failed"):
        ask_and_leave()


def test_a_client_that_goes_away_is_counted_for_not_much_more_than_it_read() -> None:
    content = standard_content(Filler(16))
    image = next(image for image in content.images if image.repository == "rancher/klipper-helm")
    with Upstream(content) as serving:
        host, port = serving.host.split(":")
        path = f"/v2/rancher/klipper-helm/blobs/{image.on('arm64').layers[-1].digest}"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            read = 0
            while read < 4 << 20:
                read += len(connection.recv(1 << 16))
    assert read - 1000 <= serving.bytes_sent(path) <= read + (4 << 20)


def test_many_clients_at_once_are_all_served_and_all_counted(upstream: Upstream, ask: Ask) -> None:
    upstream.put("/file", BODY)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: ask("/file"), range(100)))
    assert all(reply.body == BODY for reply in replies)
    assert len(upstream.requests) == 100
    assert upstream.bytes_sent("/file") == 100 * len(BODY)


def test_the_log_has_the_headers_and_can_be_emptied(upstream: Upstream, ask: Ask) -> None:
    ask(PAUSE, Range="bytes=1-2", X_Mine="yes")
    (request,) = upstream.requests_to("*/manifests/*", "GET")
    assert (request.headers["range"], request.headers["x-mine"], request.status, request.body_bytes) == (
        "bytes=1-2",
        "yes",
        206,
        2,
    )
    upstream.forget_requests()
    assert upstream.requests == ()


def test_the_command_line_serves_while_a_command_runs_and_gives_its_exit_code(tmp_path: Path) -> None:
    recipe = str(tmp_path / "demo.yaml")
    look = (
        "import sys, urllib.request as u; text = open(sys.argv[1]).read();"
        "url = text.split('channels: ')[1].split()[0]; assert b'v1.34.1+k3s1' in u.urlopen(url).read(); sys.exit(7)"
    )
    serve = [sys.executable, "-m", "tests.upstream", "--write-recipe", recipe]
    command = [*serve, "--", sys.executable, "-W", "ignore", "-c", look, recipe]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (7, "")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["releases", "channels", "registry"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    recipe = tmp_path / "demo.yaml"
    command = [sys.executable, "-m", "tests.upstream", "--write-recipe", str(recipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        patience = time.monotonic() + 30
        while not recipe.exists() and time.monotonic() < patience:
            time.sleep(0.02)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


def test_skopeo_inspects_and_copies_every_good_image(upstream: Upstream, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        absent("skopeo", "that another client understands the registry")
    for reference in (*upstream.content.release("v1.34.1+k3s1").images, EXTRA_IMAGE):
        image = upstream.content.image(reference)
        source = f"docker://{upstream.host}/{image.repository}:{image.tag}"
        raw = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", "--raw", source], capture_output=True, timeout=60, check=True
        )
        assert raw.stdout == image.top.data
        target = f"dir:{tmp_path / image.repository.replace('/', '-')}"
        subprocess.run(
            [
                "skopeo",
                "--insecure-policy",
                "--override-arch",
                "arm64",
                "copy",
                "--src-tls-verify=false",
                source,
                target,
            ],
            capture_output=True,
            timeout=60,
            check=True,
        )
        for layer in image.on("arm64").layers:
            copied = tmp_path / image.repository.replace("/", "-") / layer.digest.removeprefix("sha256:")
            assert copied.read_bytes() == layer.data


def unescaped(path: str) -> str:
    return path.replace("%2B", "+")
