from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import trustme

from bundler.errors import MalformedAnswerError, NetworkError
from bundler.net.answers import get_bytes
from bundler.net.session import open_session
from tests.net.conftest import QUICK, Serve
from tests.net.forward_proxy import ForwardProxy
from tests.net.raw_server import RawServer, saying

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

    from tests.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def context_for(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[RawServer]:
    server = RawServer(saying(OK), context_for(authority, "127.0.0.1"))
    yield server
    server.close()


def test_a_private_authority_is_trusted_when_the_environment_names_it(
    session: requests.Session, secure: RawServer, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    assert get_bytes(session, secure.url, limit=10).body == b"ok"


def test_a_private_authority_is_trusted_when_the_settings_name_it(secure: RawServer, ca_file: Path) -> None:
    with open_session(replace(QUICK, ca_file=ca_file)) as session:
        assert get_bytes(session, secure.url, limit=10).body == b"ok"


def test_an_unknown_authority_is_refused_with_a_way_out(session: requests.Session, secure: RawServer) -> None:
    with pytest.raises(NetworkError, match=r"certificate of 127\.0\.0\.1:\d+ is not trusted") as caught:
        get_bytes(session, secure.url, limit=10)
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint
    assert secure.heads == []


def test_a_certificate_of_another_host_is_refused(
    session: requests.Session, authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    server = RawServer(saying(OK), context_for(authority, "another.example"))
    try:
        with pytest.raises(NetworkError, match="is not trusted"):
            get_bytes(session, server.url, limit=10)
    finally:
        server.close()


def test_a_file_that_is_no_ca_file_is_an_error_of_ours(
    session: requests.Session, secure: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "no.pem"
    path.write_text("no certificate\n")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(NetworkError, match="no secure connection") as caught:
        get_bytes(session, secure.url, limit=10)
    assert "REQUESTS_CA_BUNDLE" in caught.value.hint


def test_https_asked_of_a_plain_server_says_so(session: requests.Session, upstream: Upstream) -> None:
    with pytest.raises(NetworkError, match="no secure connection") as caught:
        get_bytes(session, upstream.url.replace("http:", "https:"), limit=10)
    assert "http://" in caught.value.hint


def test_https_goes_through_the_proxy_in_a_tunnel(
    session: requests.Session, secure: RawServer, ca_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    with ForwardProxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert get_bytes(session, secure.url, limit=10).body == b"ok"
        assert proxy.asked == [f"127.0.0.1:{secure.port}"]


def test_a_redirect_from_https_to_http_is_refused(
    session: requests.Session, authority: trustme.CA, ca_file: Path, monkeypatch: pytest.MonkeyPatch, serve: Serve
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca_file))
    plain = serve(saying(OK))
    location = f"HTTP/1.1 302 Found\r\nLocation: {plain.url}/\r\nContent-Length: 0\r\n\r\n".encode()
    server = RawServer(saying(location), context_for(authority, "127.0.0.1"))
    try:
        with pytest.raises(MalformedAnswerError, match="plain http"):
            get_bytes(session, server.url, limit=10)
    finally:
        server.close()
    assert plain.heads == []
