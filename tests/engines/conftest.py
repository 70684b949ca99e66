from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from bundler.net.session import NetworkSettings, Session, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUICK = NetworkSettings(retries=1, backoff=0.01, backoff_max=0.02, read_timeout=5)


class DockerConfig(Protocol):
    """Writes what `docker login` leaves: `docker_config({host: "name:password"}, credsStore=...)`."""

    def __call__(self, logins: dict[str, str | dict[str, str]] | None = None, **more: Any) -> Path: ...


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerConfig:
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    # Whatever would leave this machine ends at once, at a proxy that is not there.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def write(logins: dict[str, str | dict[str, str]] | None = None, **more: Any) -> Path:
        auths = {
            host: login if isinstance(login, dict) else {"auth": base64.b64encode(login.encode()).decode()}
            for host, login in (logins or {}).items()
        }
        path = folder / "config.json"
        path.write_text(json.dumps({"auths": auths, **more}))
        return path

    return write


@pytest.fixture
def session() -> Iterator[Session]:
    with open_session(QUICK) as opened:
        yield opened
