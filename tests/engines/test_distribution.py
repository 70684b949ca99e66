"""Registries: who gets which credentials, how often they are asked, and in which order they are tried."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.engines.access import Endpoint
from bundler.engines.distribution import Distribution
from bundler.errors import (
    AccessDeniedError,
    BundlerError,
    DigestMismatchError,
    HostUnreachableError,
    ImageNotFoundError,
    MalformedAnswerError,
    NetworkError,
    RateLimitError,
    ServerError,
    SizeMismatchError,
)
from bundler.model.digest import digest_of, parse_digest
from bundler.model.reference import Reference, parse_reference
from bundler.net.session import NetworkSettings, open_session
from bundler.progress import SilentTask
from tests.engines.recorder import Asked, Recorder, Reply, challenge, token
from tests.reach import through
from tests.upstream import (
    BasicAccess,
    BearerAccess,
    Cut,
    Flip,
    Headers,
    PlatformImage,
    Redirect,
    Status,
    Upstream,
    standard_content,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.net.session import Session
    from tests.engines.conftest import DockerConfig
    from tests.upstream.answers import Answer

PAUSE = "docker.io/rancher/mirrored-pause:3.6"
COREDNS = "docker.io/rancher/mirrored-coredns-coredns:1.12.3"


def at(host: str, image: str = PAUSE) -> Reference:
    """Name an image as the registry at `host` serves it."""
    return parse_reference(host + "/" + image.partition("/")[2])


def on_arm64(image: str = PAUSE) -> PlatformImage:
    return standard_content().image(image).on("arm64")


def pull(distribution: Distribution, host: str, folder: Path, image: str = PAUSE) -> None:
    """Bring index, manifest, config and layers of an image, and compare every byte."""
    reference, content = at(host, image), standard_content().image(image)
    assert distribution.manifest(reference, None).body == content.top.data
    part = content.on("arm64")
    manifest = distribution.manifest(reference, parse_digest(part.manifest.digest))
    assert (manifest.body, manifest.media_type) == (part.manifest.data, part.manifest.media_type)
    assert distribution.config(reference, parse_digest(part.config.digest)) == part.config.data
    for number, layer in enumerate(part.layers):
        path = folder / str(number)
        distribution.blob(reference, parse_digest(layer.digest), len(layer.data), path, SilentTask())
        assert path.read_bytes() == layer.data


# Logins


def test_an_open_registry_is_asked_once_for_each_thing(session: Session, tmp_path: Path) -> None:
    with Upstream() as upstream:
        pull(Distribution(session, through()), upstream.host, tmp_path)
        assert len(upstream.requests) == 3 + len(on_arm64().layers)
        assert {request.status for request in upstream.requests} == {200}
        assert not any("authorization" in request.headers for request in upstream.requests)


def test_a_token_is_fetched_once_for_a_repository_and_sent_from_then_on(session: Session, tmp_path: Path) -> None:
    with Upstream(access=BearerAccess()) as upstream:
        distribution = Distribution(session, through())
        pull(distribution, upstream.host, tmp_path)
        assert len(upstream.requests_to("/token")) == 1
        assert [request.status for request in upstream.requests_to("/v2/*")].count(401) == 1
        pull(distribution, upstream.host, tmp_path / "..", COREDNS)
        assert len(upstream.requests_to("/token")) == 2


def test_many_threads_share_one_token(session: Session) -> None:
    with Upstream(access=BearerAccess()) as upstream, ThreadPoolExecutor(8) as pool:
        distribution, reference = Distribution(session, through()), at(upstream.host)
        list(pool.map(lambda _: distribution.manifest(reference, None), range(24)))
        assert len(upstream.requests_to("/token")) == 1


def test_a_token_that_ends_in_mid_work_is_replaced_once(session: Session, tmp_path: Path) -> None:
    access = BearerAccess()
    with Upstream(access=access) as upstream:
        distribution = Distribution(session, through())
        pull(distribution, upstream.host, tmp_path)
        access.expire_tokens()
        upstream.forget_requests()
        (tmp_path / "again").mkdir()
        pull(distribution, upstream.host, tmp_path / "again")
        assert len(upstream.requests_to("/token")) == 1
        assert [request.status for request in upstream.requests_to("/v2/*")].count(401) == 1


def test_a_token_is_not_sent_any_more_when_its_time_is_over(session: Session) -> None:
    with Upstream(access=BearerAccess(lifetime=1)) as upstream:
        distribution = Distribution(session, through())
        distribution.manifest(at(upstream.host), None)
        time.sleep(1)
        upstream.forget_requests()
        distribution.manifest(at(upstream.host), None)
        assert "authorization" not in upstream.requests[0].headers
        assert [request.status for request in upstream.requests] == [401, 200, 200]


@dataclass(frozen=True)
class _CutWhileTheTokenEnds(Cut):
    access: BearerAccess

    def alter(self, answer: Answer, target: str) -> Answer:
        self.access.expire_tokens()
        return answer


def test_a_blob_that_breaks_off_goes_on_under_a_new_token(session: Session, tmp_path: Path) -> None:
    access = BearerAccess()
    layer = on_arm64().layers[0]
    with Upstream(access=access) as upstream:
        distribution, reference = Distribution(session, through()), at(upstream.host)
        distribution.manifest(reference, None)
        upstream.fail("*/blobs/*", _CutWhileTheTokenEnds(100, access))
        upstream.forget_requests()
        distribution.blob(reference, parse_digest(layer.digest), len(layer.data), tmp_path / "part", SilentTask())
        assert (tmp_path / "part").read_bytes() == layer.data
        assert [request.status for request in upstream.requests_to("*/blobs/*")] == [200, 401, 206]
        assert len(upstream.requests_to("/token")) == 1
        assert sum(each.body_bytes for each in upstream.requests_to("*/blobs/*") if each.status < 300) == len(
            layer.data
        )


@pytest.mark.parametrize("access", [BasicAccess("me", "pässwörd €"), BearerAccess("me", "pässwörd €")])
def test_a_login_is_sent_in_utf_8_and_only_when_it_is_asked_for(
    access: BasicAccess | BearerAccess, session: Session, docker_config: DockerConfig, tmp_path: Path
) -> None:
    with Upstream(access=access) as upstream:
        docker_config({upstream.host: "me:pässwörd €"})
        pull(Distribution(session, through()), upstream.host, tmp_path)
        assert "authorization" not in upstream.requests[0].headers
        assert [request.status for request in upstream.requests].count(401) == 1


@pytest.mark.parametrize("access", [BasicAccess("me", "right"), BearerAccess("me", "right")])
def test_a_wrong_password_is_an_error_after_one_try_and_is_not_shown(
    access: BasicAccess | BearerAccess, session: Session, docker_config: DockerConfig
) -> None:
    with Upstream(access=access) as upstream:
        docker_config({upstream.host: "me:wrong-password"})
        with pytest.raises(AccessDeniedError, match=upstream.host) as caught:
            Distribution(session, through()).manifest(at(upstream.host), None)
        assert len(upstream.requests) == 2
        assert "wrong-password" not in str(caught.value)
        assert base64.b64encode(b"me:wrong-password").decode() not in str(caught.value)
        assert f"docker login for {upstream.host}" in caught.value.hint


@pytest.mark.parametrize("access", [BasicAccess("me", "right"), BearerAccess("me", "right")])
def test_a_private_image_without_a_login_is_denied_after_one_round(
    access: BasicAccess | BearerAccess, session: Session
) -> None:
    with Upstream(access=access) as upstream:
        with pytest.raises(AccessDeniedError, match="wants to know who asks"):
            Distribution(session, through()).manifest(at(upstream.host), None)
        assert len(upstream.requests) <= 3


def test_a_registry_that_says_401_for_ever_is_asked_twice(session: Session, docker_config: DockerConfig) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return token()
        return challenge(f'Bearer realm="http://{asked.headers["host"]}/token",service="x"')

    with Recorder(answer) as registry:
        docker_config({registry.host: "me:secret"})
        with pytest.raises(AccessDeniedError):
            Distribution(session, through()).manifest(at(registry.host), None)
        manifest = "GET /v2/rancher/mirrored-pause/manifests/3.6"
        assert registry.paths() == [manifest, "GET /token", manifest]


# Token servers


def guarded(realm: str, registry_token: str = "good", scheme: str = "Bearer") -> Callable[[Asked], Reply]:
    """Answer as a registry that takes one token and gives a manifest for it."""
    body = standard_content().image(PAUSE).top

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("authorization") == f"Bearer {registry_token}":
            return Reply(200, body.data, {"Content-Type": body.media_type})
        return challenge(
            f'{scheme} Realm="{realm}/token",Service="a, b",SCOPE="repository:x:pull,push repository:y:pull"'
        )

    return answer


def test_a_challenge_is_read_with_its_commas_and_whatever_the_case(session: Session) -> None:
    with Recorder(lambda _: token()) as realm, Recorder(guarded(realm.url, scheme="bEARER")) as registry:
        Distribution(session, through()).manifest(at(registry.host), None)
        assert realm.asked[0].query == {"service": ["a, b"], "scope": ["repository:x:pull,push", "repository:y:pull"]}
        assert "authorization" not in realm.asked[0].headers


def test_a_challenge_without_a_scope_is_answered_for_pulling_from_this_repository_alone(session: Session) -> None:
    top = standard_content().image(PAUSE).top

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("authorization") == "Bearer good":
            return Reply(200, top.data, {"Content-Type": top.media_type})
        return challenge(f'Bearer realm="{realm.url}/token",service="x"')

    with Recorder(lambda _: token()) as realm, Recorder(answer) as registry:
        Distribution(session, through()).manifest(at(registry.host), None)
        assert realm.asked[0].query == {"service": ["x"], "scope": ["repository:rancher/mirrored-pause:pull"]}


def test_the_answer_may_call_it_access_token(session: Session) -> None:
    answer = Reply(200, b'{"access_token":"good","expires_in":5}')
    with Recorder(lambda _: answer) as realm, Recorder(guarded(realm.url)) as registry:
        Distribution(session, through()).manifest(at(registry.host), None)


def test_a_login_goes_to_the_realm_and_the_token_to_the_registry(session: Session, docker_config: DockerConfig) -> None:
    with Recorder(lambda _: token()) as realm, Recorder(guarded(realm.url)) as registry:
        docker_config({registry.host: "me:secret"})
        Distribution(session, through()).manifest(at(registry.host), None)
        assert [asked.login for asked in realm.asked] == ["me:secret"]
        assert [asked.login for asked in registry.asked] == ["", "Bearer good"]


IDENTITY = {"auth": base64.b64encode(b"me:").decode(), "identitytoken": "refresh-me"}


def test_an_identity_token_is_posted_to_the_realm(session: Session, docker_config: DockerConfig) -> None:
    with Recorder(lambda _: token()) as realm, Recorder(guarded(realm.url)) as registry:
        docker_config({registry.host: IDENTITY})
        Distribution(session, through()).manifest(at(registry.host), None)
        assert realm.paths() == ["POST /token"]
        assert realm.asked[0].form == {
            "grant_type": ["refresh_token"],
            "service": ["a, b"],
            "client_id": ["k3s-bundler"],
            "scope": ["repository:x:pull,push repository:y:pull"],
            "refresh_token": ["refresh-me"],
        }
        assert "authorization" not in realm.asked[0].headers


@pytest.mark.parametrize("status", [404, 405])
def test_a_realm_that_knows_no_post_is_asked_the_older_way(
    status: int, session: Session, docker_config: DockerConfig
) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(status) if asked.method == "POST" else token()

    with Recorder(answer) as realm, Recorder(guarded(realm.url)) as registry:
        docker_config({registry.host: IDENTITY})
        Distribution(session, through()).manifest(at(registry.host), None)
        assert realm.paths() == ["POST /token", "GET /token"]
        assert realm.asked[1].login.endswith(":refresh-me")
        assert realm.asked[1].query["service"] == ["a, b"]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_an_identity_token_that_is_refused_is_not_tried_in_another_way(
    status: int, session: Session, docker_config: DockerConfig
) -> None:
    with Recorder(lambda _: Reply(status)) as realm, Recorder(guarded(realm.url)) as registry:
        docker_config({registry.host: IDENTITY})
        with pytest.raises(AccessDeniedError, match=rf"{realm.host} refuses a token \(HTTP {status}\)"):
            Distribution(session, through()).manifest(at(registry.host), None)
        assert len(realm.asked) == 1


@pytest.mark.parametrize("login", ["me:secret", IDENTITY], ids=["password", "identity token"])
@pytest.mark.parametrize("realm", ["http", "HTTP", "Http"])
def test_a_login_never_goes_unencrypted_to_the_realm_of_an_encrypted_registry(
    realm: str, login: str | dict[str, str], docker_config: DockerConfig, tmp_path: Path
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Recorder(lambda _: token()) as eavesdropper:
        address = eavesdropper.url.replace("http", realm)
        with (
            Recorder(guarded(address), authority) as registry,
            open_session(NetworkSettings(retries=0, ca_file=tmp_path / "ca.pem")) as session,
        ):
            docker_config({registry.host: login})
            distribution = Distribution(session, through({registry.host: [registry.url]}))
            with pytest.raises(BundlerError, match="is not encrypted"):
                distribution.manifest(at(registry.host), None)
        assert eavesdropper.asked == []


def test_without_a_login_an_unencrypted_realm_may_give_a_token(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with (
        Recorder(lambda _: token()) as realm,
        Recorder(guarded(realm.url), authority) as registry,
        open_session(NetworkSettings(retries=0, ca_file=tmp_path / "ca.pem")) as session,
    ):
        Distribution(session, through({"docker.io": [registry.url]})).manifest(parse_reference(PAUSE), None)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("login", ["me:secret", IDENTITY], ids=["password", "identity token"])
def test_a_realm_that_redirects_elsewhere_takes_no_login_with_it(
    login: str | dict[str, str], status: int, session: Session, docker_config: DockerConfig
) -> None:
    with Recorder(lambda _: token("stolen")) as thief:
        away = Reply(status, b"", {"Location": f"{thief.url}/token"})
        with Recorder(lambda _: away) as realm, Recorder(guarded(realm.url)) as registry:
            docker_config({registry.host: login})
            with pytest.raises(NetworkError):
                Distribution(session, through()).manifest(at(registry.host), None)
        for asked in thief.asked:
            assert "authorization" not in asked.headers
            assert b"refresh-me" not in asked.body


@pytest.mark.parametrize("access", [BasicAccess("me", "secret"), BearerAccess("me", "secret")])
def test_blobs_that_redirect_elsewhere_take_no_credentials_with_them(
    access: BasicAccess | BearerAccess, session: Session, docker_config: DockerConfig, tmp_path: Path
) -> None:
    with Upstream() as cdn, Upstream(access=access) as upstream:
        docker_config({upstream.host: "me:secret", cdn.host: "other:secret"})
        upstream.fail("/v2/*", Redirect(cdn.url), times=None)
        pull(Distribution(session, through()), upstream.host, tmp_path)
        assert len(cdn.requests_to("*/blobs/*")) == 1 + len(on_arm64().layers)
        assert not any("authorization" in request.headers for request in cdn.requests)


def test_a_host_that_is_redirected_to_cannot_ask_for_the_login(session: Session, docker_config: DockerConfig) -> None:
    with Recorder(lambda asked: token() if "/token" in asked.path else challenge('Basic realm="give"')) as thief:
        away = Reply(302, b"", {"Location": f"{thief.url}/v2/x"})
        with Recorder(lambda _: away) as registry:
            docker_config({registry.host: "me:secret", thief.host: "me:secret"})
            with pytest.raises(AccessDeniedError):
                Distribution(session, through()).manifest(at(registry.host), None)
        assert len(thief.asked) == 1
        assert "authorization" not in thief.asked[0].headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer realm",
        "Bearer realm=",
        'Bearer realm="',
        'Bearer realm=""',
        'Bearer realm="http://[bad",service="x"',
        'Bearer realm="file:///etc/passwd"',
        'Bearer realm="/token"',
        "Negotiate",
        'Digest realm="x", nonce="y"',
        "Bearer =,,=",
    ],
)
def test_a_challenge_that_cannot_be_answered_is_a_denial(
    text: str, session: Session, docker_config: DockerConfig
) -> None:
    with Recorder(lambda _: challenge(text)) as registry:
        docker_config({registry.host: "me:secret"})
        with pytest.raises(AccessDeniedError, match="wants to know who asks"):
            Distribution(session, through()).manifest(at(registry.host), None)
        assert len(registry.asked) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(text=st.text(alphabet='Bearbasic =",:/htp[]x\\', max_size=40))
def test_no_challenge_raises_anything_but_our_errors(text: str, session: Session) -> None:
    with Recorder(lambda _: challenge(text.strip())) as registry, pytest.raises(BundlerError):
        Distribution(session, through()).manifest(at(registry.host), None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"null",
        b"[]",
        b"{}",
        b'{"token":""}',
        b'{"token":5}',
        b'{"token":["x"]}',
        b'{"token":"two words"}',
        b'{"token":"line\\nbreak"}',
        b'{"token":"\\u00fc"}',
        b'{"token":"x","expires_in":"soon"}',
        b'{"token":"x","expires_in":[]  ,"access_token":{}',
        b'{"token":"x","expires_in":1' + b"0" * 400 + b"}",
        b"[" * 100_000,
    ],
)
def test_a_token_server_that_gives_no_token_is_at_fault(body: bytes, session: Session) -> None:
    with Recorder(lambda _: Reply(200, body)) as realm, Recorder(guarded(realm.url)) as registry:
        with pytest.raises(MalformedAnswerError, match=f"{realm.host} gave no token"):
            Distribution(session, through()).manifest(at(registry.host), None)
        assert len(realm.asked) == 1


@pytest.mark.parametrize("expires", [0, None, -5, 1e300, 60])
def test_odd_lifetimes_do_no_harm(expires: Any, session: Session) -> None:
    with Recorder(lambda _: token(expires_in=expires)) as realm, Recorder(guarded(realm.url)) as registry:
        distribution = Distribution(session, through())
        for _ in range(2):
            distribution.manifest(at(registry.host), None)
        assert len(realm.asked) <= 2


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (Reply(429, b"", {"Retry-After": "7200"}), RateLimitError, "limits how often"),
        (Reply(500), ServerError, "status 500"),
        (Reply(503), ServerError, "status 503"),
        (Reply(404), MalformedAnswerError, "gave no token: HTTP 404"),
    ],
)
def test_a_failing_token_server_is_named_with_what_it_did(
    reply: Reply, kind: type[BundlerError], text: str, session: Session
) -> None:
    with Recorder(lambda _: reply) as realm, Recorder(guarded(realm.url)) as registry:
        with pytest.raises(kind, match=text) as caught:
            Distribution(session, through()).manifest(at(registry.host), None)
        assert realm.host in caught.value.what
        assert at(registry.host).name in caught.value.what


def test_a_token_server_that_is_not_there_is_named(session: Session) -> None:
    with Recorder(lambda _: token()) as gone:
        address = gone.url
    with Recorder(guarded(address)) as registry, pytest.raises(NetworkError, match="which did not answer") as caught:
        Distribution(session, through()).manifest(at(registry.host), None)
    assert gone.host in caught.value.what


# Mirrors


def test_endpoints_are_the_mirrors_in_their_order_and_then_the_registry() -> None:
    mirrors = {"docker.io": ["https://one.example", "http://two.example:5000/hub/", "https://three.example/v2/x"]}
    assert through(mirrors).endpoints(parse_reference(PAUSE)) == (
        Endpoint("one.example", "https://one.example", "rancher/mirrored-pause"),
        Endpoint("two.example:5000", "http://two.example:5000", "hub/rancher/mirrored-pause"),
        Endpoint("three.example", "https://three.example", "x/rancher/mirrored-pause"),
        Endpoint("docker.io", "https://registry-1.docker.io", "rancher/mirrored-pause"),
    )
    assert through(mirrors).endpoints(parse_reference("quay.io/a/b:1"))[0].origin == "https://quay.io"


@pytest.mark.parametrize(
    ("host", "scheme"),
    [
        ("localhost", "http"),
        ("localhost:5000", "http"),
        ("127.0.0.1:5000", "http"),
        ("127.5.5.5", "http"),
        ("[::1]:5000", "http"),
        ("127.0.0.1.example:5000", "https"),
        ("10.0.0.1:5000", "https"),
        ("localhost.example", "https"),
        ("registry.example", "https"),
    ],
)
def test_only_a_registry_on_this_machine_is_spoken_to_in_the_clear(host: str, scheme: str) -> None:
    assert through().endpoints(parse_reference(f"{host}/a/b:1"))[0].origin == f"{scheme}://{host}"


def test_the_first_mirror_that_has_it_is_the_only_one_asked(session: Session, tmp_path: Path) -> None:
    with Upstream() as one, Upstream() as two, Upstream() as own:
        pull(Distribution(session, through({own.host: [one.url, two.url]})), own.host, tmp_path)
        assert two.requests == own.requests == ()
        assert len(one.requests) == 3 + len(on_arm64().layers)


def test_each_mirror_is_asked_with_its_own_login(session: Session, docker_config: DockerConfig, tmp_path: Path) -> None:
    with (
        Upstream(access=BasicAccess("one", "first")) as one,
        Upstream(access=BearerAccess("two", "second")) as two,
    ):
        docker_config({one.host: "one:first", two.host: "two:second"})
        one.fail("*/blobs/*", Status(404), times=None)
        pull(Distribution(session, through({two.host: [one.url]})), two.host, tmp_path)
        basic = "Basic " + base64.b64encode(b"one:first").decode()
        assert {request.headers.get("authorization") for request in one.requests} == {None, basic}
        assert basic not in {request.headers.get("authorization") for request in two.requests}


def test_what_every_mirror_did_is_in_the_error_in_order(session: Session) -> None:
    with Upstream() as one, Upstream() as two, Upstream() as three, Upstream() as own:
        one.fail("*", Status(404), times=None)
        two.fail("*", Status(500), times=None)
        three.fail("*", Flip(5), times=None)
        own.fail("*", Status(403), times=None)
        distribution = Distribution(session, through({own.host: [one.url, two.url, three.url]}))
        digest = parse_digest(standard_content().image(PAUSE).top.digest)
        with pytest.raises(ServerError) as caught:
            distribution.manifest(at(own.host), digest)
        what = caught.value.what
        assert what.startswith(f"{own.host}/rancher/mirrored-pause:3.6: ")
        places = [
            what.index(f"{one.url}/v2/rancher/mirrored-pause/manifests/{digest} does not exist (status 404)"),
            what.index(f"{two.url}/v2/rancher/mirrored-pause/manifests/{digest}: the server fails (status 500)"),
            what.index(f"{three.host} sent sha256:"),
            what.index(f"{own.url}/v2/rancher/mirrored-pause/manifests/{digest} is refused (status 403)"),
        ]
        assert places == sorted(places)
        assert what.count("; then ") == 3


def test_an_image_that_nobody_has_is_named_with_all_hosts(session: Session) -> None:
    with Upstream() as one, Upstream() as own:
        distribution = Distribution(session, through({own.host: [one.url]}))
        with pytest.raises(ImageNotFoundError, match=f"no such image on {one.host} and {own.host}"):
            distribution.manifest(parse_reference(f"{own.host}/no/such:1"), None)
        assert len(one.requests) == len(own.requests) == 1


def test_a_refusal_anywhere_is_told_as_one_with_the_way_to_log_in(session: Session) -> None:
    with Upstream() as one, Upstream(access=BasicAccess("me", "secret")) as own:
        one.fail("*", Status(404), times=None)
        with pytest.raises(AccessDeniedError) as caught:
            Distribution(session, through({own.host: [one.url]})).manifest(at(own.host), None)
        assert caught.value.hint == (
            f"it does not exist or needs an account: run docker login for {one.host} and {own.host}"
        )


def test_a_mirror_that_changes_bytes_is_passed_over(session: Session, tmp_path: Path) -> None:
    with Upstream() as one, Upstream() as own:
        one.fail("*/manifests/sha256:*", Flip(20), times=None)
        one.fail("*/blobs/*", Flip(20), times=None)
        pull(Distribution(session, through({own.host: [one.url]})), own.host, tmp_path)
        assert len(own.requests_to("*/blobs/*")) == 1 + len(on_arm64().layers)


def test_wrong_bytes_everywhere_are_an_error_and_leave_nothing(session: Session, tmp_path: Path) -> None:
    layer = on_arm64().layers[0]
    with Upstream() as own:
        own.fail("*", Flip(20), times=None)
        distribution, reference = Distribution(session, through()), at(own.host)
        with pytest.raises(DigestMismatchError, match=f"{own.host} sent sha256:"):
            distribution.manifest(reference, parse_digest(on_arm64().manifest.digest))
        with pytest.raises(DigestMismatchError):
            distribution.config(reference, parse_digest(on_arm64().config.digest))
        with pytest.raises(DigestMismatchError):
            distribution.blob(reference, parse_digest(layer.digest), len(layer.data), tmp_path / "part", SilentTask())
        assert list(tmp_path.glob("part*")) == []


def test_a_reference_pinned_to_a_digest_is_asked_for_by_it(session: Session) -> None:
    image = standard_content().image(PAUSE)
    with Upstream() as own:
        pinned = parse_reference(f"{own.host}/rancher/mirrored-pause:3.6@{image.top.digest}")
        assert Distribution(session, through()).manifest(pinned, None).digest == image.top.digest
        assert own.requests[0].path.endswith(image.top.digest)


def test_what_one_mirror_began_the_next_goes_on_with(session: Session, tmp_path: Path) -> None:
    layer = on_arm64().layers[0]
    half = len(layer.data) // 2
    with Upstream() as one, Upstream() as own:
        one.fail("*/blobs/*", Cut(half))
        one.fail("*/blobs/*", Status(404), times=None)
        distribution = Distribution(session, through({own.host: [one.url]}))
        part = tmp_path / "part"
        distribution.blob(at(own.host), parse_digest(layer.digest), len(layer.data), part, SilentTask())
        assert part.read_bytes() == layer.data
        assert own.bytes_sent("*/blobs/*") == len(layer.data) - half


def test_a_blob_of_another_size_than_the_manifest_says_is_refused(session: Session, tmp_path: Path) -> None:
    layer = on_arm64().layers[0]
    with Upstream() as own, pytest.raises(SizeMismatchError):
        Distribution(session, through()).blob(
            at(own.host), parse_digest(layer.digest), len(layer.data) - 1, tmp_path / "part", SilentTask()
        )


def test_a_registry_that_is_not_there_is_named(session: Session) -> None:
    with Upstream() as gone:
        host = gone.host
    with pytest.raises(HostUnreachableError, match=host):
        Distribution(session, through()).manifest(at(host), None)


def test_manifests_may_come_under_any_content_type(session: Session) -> None:
    # Static mirrors call everything application/octet-stream; what it is stands in the bytes.
    with Upstream() as own:
        own.fail("*", Headers({"Content-Type": "application/octet-stream; charset=x", "Docker-Content-Digest": None}))
        raw = Distribution(session, through()).manifest(at(own.host), None)
        assert raw.media_type == "application/octet-stream"
        assert raw.digest == digest_of(raw.body)


def test_a_manifest_that_is_not_what_the_registry_says_it_is_is_refused_and_the_next_mirror_asked(
    session: Session,
) -> None:
    top = standard_content().image(PAUSE).top
    lying = Headers({"Docker-Content-Digest": "sha256:" + "0" * 64})
    with Upstream() as one, Upstream() as own:
        one.fail("*/manifests/3.6", lying, times=None)
        mirrored = Distribution(session, through({own.host: [one.url]}))
        assert mirrored.manifest(at(own.host), None).digest == top.digest
        own.fail("*/manifests/3.6", Flip(len(top.data) - 5), times=None)
        said = f"{own.host} sent sha256:.* for the tag 3.6 and says itself that it is {top.digest}"
        with pytest.raises(DigestMismatchError, match=said) as caught:
            Distribution(session, through()).manifest(at(own.host), None)
        assert "when asked for" not in caught.value.what
        assert "tag@digest" in caught.value.hint


@pytest.mark.parametrize("stated", ["sha512:" + "0" * 128, "sha256:short", ""])
def test_a_digest_that_is_none_is_passed_over(stated: str, session: Session) -> None:
    with Upstream() as own:
        own.fail("*/manifests/3.6", Headers({"Docker-Content-Digest": stated}), times=None)
        assert Distribution(session, through()).manifest(at(own.host), None).body


def test_an_endless_manifest_is_given_up_at_its_limit(session: Session) -> None:
    def answer(_: Asked) -> Reply:
        return Reply(200, json.dumps({"x": "y" * (17 << 20)}).encode(), {"Content-Type": "application/json"})

    with Recorder(answer) as registry, pytest.raises(MalformedAnswerError, match="longer than"):
        Distribution(session, through()).manifest(at(registry.host), None)
