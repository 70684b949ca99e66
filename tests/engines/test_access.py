"""Single registries: their own authority, client certificate, plain HTTP and account, which hold for no other host."""

from __future__ import annotations

import json
import ssl
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import trustme

from bundler.engines.access import RegistryAccess, certificates_of
from bundler.engines.daemon import connect
from bundler.engines.distribution import Distribution
from bundler.engines.secrets import Secrets
from bundler.errors import (
    AccessDeniedError,
    BundlerError,
    CertificateFileError,
    DaemonFailedError,
    NetworkError,
    SecretMissingError,
)
from bundler.model.digest import digest_of
from bundler.model.reference import parse_reference
from bundler.net.session import NetworkSettings, Session, open_session
from bundler.stages.read import parse_recipe
from tests.engines.recorder import Asked, Recorder, Reply, challenge, token
from tests.net.forward_proxy import ForwardProxy
from tests.recorded_daemon import OVERLAY2, RecordedDaemon
from tests.upstream import BasicAccess, BearerAccess, Upstream, standard_content

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.engines.conftest import DockerConfig

PAUSE = "rancher/mirrored-pause:3.6"
TOP = standard_content().image(f"docker.io/{PAUSE}").top
AUTH = "auth: {username: {env: REGISTRY_USER}, password: {file: ./password}}"
ENVIRONMENT = {"REGISTRY_USER": "robot$k3s"}


def give(asked: Asked) -> Reply:
    """Answer as a registry that has one image."""
    return Reply(200, TOP.data, {"Content-Type": TOP.media_type})


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def reach(
    registries: str, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[Distribution, RegistryAccess, Session]:
    text = f"{{version: 1, name: edge, release: stable, arch: [arm64], sources: {{registries: {registries}}}}}"
    sources = parse_recipe(text.encode(), "edge.yaml").sources
    settings = NetworkSettings(retries=0, read_timeout=5, certificates=certificates_of(sources, folder))
    access = RegistryAccess(sources.registries, Secrets(folder, environment or {}))
    session = open_session(settings)
    return Distribution(session, access), access, session


def manifest(registries: str, host: str, folder: Path, environment: Mapping[str, str] | None = None) -> bytes:
    """Fetch the manifest of the image at `host`, as a recipe in `folder` says."""
    distribution, _, session = reach(registries, folder, environment)
    with session:
        return distribution.manifest(parse_reference(f"{host}/{PAUSE}"), None).body


# A private authority


def test_an_authority_is_trusted_for_its_registry_and_its_mirrors_alone(authority: trustme.CA, tmp_path: Path) -> None:
    with Recorder(give, authority) as one, Recorder(give, authority) as two:
        tls = "tls: {ca_file: ./ca.pem}"
        assert manifest(f"{{'{one.host}': {{{tls}}}}}", one.host, tmp_path) == TOP.data
        mirrored = f"{{quay.io: {{mirrors: ['{two.url}'], {tls}}}}}"
        assert manifest(mirrored, "quay.io", tmp_path) == TOP.data
        asked = len(two.asked)
        with pytest.raises(NetworkError, match=f"{two.host} is not trusted") as caught:
            manifest(f"{{'{one.host}': {{{tls}}}, 'ghcr.io': ['{two.url}']}}", "ghcr.io", tmp_path)
        assert "tls.ca_file" in caught.value.hint
        assert len(two.asked) == asked


def test_a_redirect_to_another_host_is_not_trusted_by_that_authority(authority: trustme.CA, tmp_path: Path) -> None:
    with Recorder(give, authority) as other:
        away = Reply(307, b"", {"Location": f"{other.url}/v2/x"})
        with Recorder(lambda _: away, authority) as one:
            with pytest.raises(NetworkError, match=f"{other.host} is not trusted"):
                manifest(f"{{'{one.host}': {{tls: {{ca_file: ./ca.pem}}}}}}", one.host, tmp_path)
            both = f"{{'{one.host}': {{tls: {{ca_file: ./ca.pem}}}}, '{other.host}': {{tls: {{ca_file: ./ca.pem}}}}}}"
            assert manifest(both, one.host, tmp_path) == TOP.data


def test_what_is_trusted_anyway_is_trusted_beside_the_authority(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with Recorder(give, authority) as one:
        assert manifest(f"{{'{one.host}': {{tls: {{ca_file: another.pem}}}}}}", one.host, tmp_path) == TOP.data


def test_a_mirror_with_an_entry_of_its_own_keeps_to_it(authority: trustme.CA, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "another.pem"))
    with Recorder(give, authority) as one:
        registries = (
            f"{{quay.io: {{mirrors: ['{one.url}'], tls: {{ca_file: another.pem}}}}, "
            f"'{one.host}': {{tls: {{ca_file: ca.pem}}}}}}"
        )
        assert manifest(registries, "quay.io", tmp_path) == TOP.data


def test_the_authority_holds_through_a_proxy_and_no_proxy_goes_past_it(
    authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Recorder(give, authority) as one, ForwardProxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        registries = f"{{'{one.host}': {{tls: {{ca_file: ./ca.pem}}}}}}"
        assert manifest(registries, one.host, tmp_path) == TOP.data
        assert proxy.asked == [], "NO_PROXY names 127.0.0.1"
        monkeypatch.delenv("no_proxy")
        monkeypatch.setenv("NO_PROXY", "elsewhere.example")
        assert manifest(registries, one.host, tmp_path) == TOP.data
        assert proxy.asked == [one.host]
        with pytest.raises(NetworkError, match="is not trusted"):
            manifest(f"{{quay.io: ['{one.url}']}}", "quay.io", tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_that_is_no_authority_is_named(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(CertificateFileError, match=rf"{tmp_path}/\./ca\.pem|{tmp_path}/ca\.pem") as caught:
        manifest("{quay.io: {tls: {ca_file: ./ca.pem}}}", "quay.io", tmp_path)
    assert caught.value.exit_code == 5


# Client certificates


def test_a_client_certificate_is_shown_to_its_registry_alone(authority: trustme.CA, tmp_path: Path) -> None:
    client = authority.issue_cert("builder.example")
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    with Recorder(give, authority, client_authority=authority) as strict, Recorder(give, authority) as other:
        ca, own = "ca_file: ca.pem", "cert_file: cert.pem, key_file: key.pem"
        assert manifest(f"{{'{strict.host}': {{tls: {{{ca}, {own}}}}}}}", strict.host, tmp_path) == TOP.data
        with pytest.raises(NetworkError):
            manifest(f"{{'{strict.host}': {{tls: {{{ca}}}}}}}", strict.host, tmp_path)
        both = f"{{'{strict.host}': {{tls: {{{ca}, {own}}}}}, '{other.host}': {{tls: {{{ca}}}}}}}"
        assert manifest(both, other.host, tmp_path) == TOP.data


def test_a_key_with_a_password_or_of_another_certificate_is_an_error_and_asks_nobody(
    authority: trustme.CA, tmp_path: Path
) -> None:
    client, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    tls = "{quay.io: {tls: {cert_file: cert.pem, key_file: key.pem}}}"
    with pytest.raises(CertificateFileError, match="key"):
        manifest(tls, "quay.io", tmp_path)
    (tmp_path / "key.pem").write_bytes(_encrypted(client.private_key_pem.bytes()))
    with pytest.raises(CertificateFileError, match="without password"):
        manifest(tls, "quay.io", tmp_path)


def _encrypted(key: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization as forms

    return forms.load_pem_private_key(key, None).private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"secret")
    )


# Plain HTTP


def test_plain_http_is_spoken_only_where_it_is_written(tmp_path: Path) -> None:
    _, access, session = reach(
        "{'a.example:5000': {plain_http: true}, quay.io: ['http://a.example:5000/hub']}", tmp_path
    )
    session.close()
    origins = [
        [endpoint.origin for endpoint in access.endpoints(parse_reference(f"{host}/x/y:1"))]
        for host in ("a.example:5000", "a.example", "quay.io")
    ]
    assert origins == [
        ["http://a.example:5000"],
        ["https://a.example"],
        ["http://a.example:5000", "https://quay.io"],
    ]


def test_a_registry_here_with_certificates_is_spoken_to_over_tls(authority: trustme.CA, tmp_path: Path) -> None:
    with Recorder(give, authority) as one:
        with pytest.raises(NetworkError):
            manifest("{}", one.host, tmp_path)
        assert manifest(f"{{'{one.host}': {{tls: {{ca_file: ca.pem}}}}}}", one.host, tmp_path) == TOP.data


# Accounts


@pytest.mark.parametrize("access", [BasicAccess("robot$k3s", "pässwörd €"), BearerAccess("robot$k3s", "pässwörd €")])
def test_the_account_of_the_recipe_comes_before_that_of_docker(
    access: BasicAccess | BearerAccess, docker_config: DockerConfig, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("pässwörd €\n", encoding="utf-8")
    with Upstream(access=access) as upstream:
        docker_config({upstream.host: "me:wrong"})
        body = manifest(f"{{'{upstream.host}': {{{AUTH}}}}}", upstream.host, tmp_path, ENVIRONMENT)
        assert digest_of(body) == TOP.digest


def test_an_account_goes_to_its_own_host_and_not_to_mirrors(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    with (
        Recorder(lambda _: challenge('Basic realm="give"')) as mirror,
        Upstream(access=BasicAccess("robot$k3s", "s3cret")) as upstream,
    ):
        registries = f"{{'{upstream.host}': {{mirrors: ['{mirror.url}'], {AUTH}}}}}"
        assert manifest(registries, upstream.host, tmp_path, ENVIRONMENT) == TOP.data
        assert [asked.login for asked in mirror.asked] == [""]


def test_a_mirror_with_an_entry_of_its_own_gets_its_own_account(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    with Upstream(access=BearerAccess("robot$k3s", "s3cret")) as mirror:
        registries = f"{{docker.io: ['{mirror.url}'], '{mirror.host}': {{{AUTH}}}}}"
        assert manifest(registries, "docker.io", tmp_path, ENVIRONMENT) == TOP.data


def test_a_secret_is_read_when_it_is_asked_for_and_not_before(tmp_path: Path) -> None:
    with Upstream() as open_registry, Upstream(access=BasicAccess("x", "y")) as closed:
        assert manifest(f"{{'{open_registry.host}': {{{AUTH}}}}}", open_registry.host, tmp_path) == TOP.data
        with pytest.raises(SecretMissingError, match="REGISTRY_USER"):
            manifest(f"{{'{closed.host}': {{{AUTH}}}}}", closed.host, tmp_path)


def test_a_wrong_account_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret-wrong")
    with Upstream(access=BasicAccess("robot$k3s", "right")) as upstream:
        with pytest.raises(AccessDeniedError) as caught:
            manifest(f"{{'{upstream.host}': {{{AUTH}}}}}", upstream.host, tmp_path, ENVIRONMENT)
        assert "s3cret" not in str(caught.value)


def test_an_account_never_goes_unencrypted_to_a_realm(authority: trustme.CA, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret")
    with (
        Recorder(lambda _: token()) as realm,
        Recorder(lambda _: challenge(f'Bearer realm="{realm.url}/token"'), authority) as one,
    ):
        registries = f"{{'{one.host}': {{tls: {{ca_file: ca.pem}}, {AUTH}}}}}"
        with pytest.raises(AccessDeniedError, match="not encrypted"):
            manifest(registries, one.host, tmp_path, ENVIRONMENT)
        assert realm.asked == []


# Docker, which trusts on its own


def test_the_daemon_gets_the_account_with_the_pull(
    docker_config: DockerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("s3cret")
    docker_config({"quay.io": "me:docker", "ghcr.io": "me:docker"})
    _, access, session = reach(f"{{quay.io: {{{AUTH}}}}}", tmp_path, ENVIRONMENT)
    with RecordedDaemon(OVERLAY2, b"") as engine, session:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        with closing(connect()) as daemon:
            for host in ("quay.io", "ghcr.io", "other.example"):
                list(daemon.pull(f"{host}/a/b", TOP.digest, access.own_credentials(host)))
        logins = [json.loads(login) if login else {} for login in engine.logins]
    assert logins[0] == {"username": "robot$k3s", "password": "s3cret", "serveraddress": "quay.io"}
    assert (logins[1]["username"], logins[1]["password"]) == ("me", "docker")
    assert not logins[2].get("password")


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        ('Get "https://a:5000/v2/": x509: certificate signed by unknown authority', "/etc/docker/certs.d/"),
        (
            'Get "https://a/v2/": tls: failed to verify certificate: x509: certificate signed by unknown authority',
            "/etc/docker/certs.d/",
        ),
        ('Get "https://a:5000/v2/": remote error: tls: certificate required', "client.cert"),
        ("http: server gave HTTP response to HTTPS client", "insecure-registries"),
    ],
)
def test_what_the_daemon_cannot_be_told_is_said(
    refusal: str, hint: str, monkeypatch: pytest.MonkeyPatch, docker_config: DockerConfig
) -> None:
    with RecordedDaemon(OVERLAY2, b"", refusal=refusal) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        with closing(connect()) as daemon, pytest.raises(DaemonFailedError) as caught:
            list(daemon.pull("a:5000/x", TOP.digest, None))
    assert hint in caught.value.hint
    assert "--engine registry" in caught.value.hint


def test_no_error_of_certificates_is_anything_but_ours(authority: trustme.CA, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("another.example").configure_cert(context)
    with Recorder(give, context=context) as one, pytest.raises(BundlerError, match="is not trusted"):
        manifest(f"{{'{one.host}': {{tls: {{ca_file: ca.pem}}}}}}", one.host, tmp_path)
