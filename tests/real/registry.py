"""A real registry (distribution) on 127.0.0.1: open, with a password, or with TLS under a private authority."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from tests.real.packages import program
from tests.real.process import Process, loopback_opener, start_on_free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.authority import Authority


@dataclass(frozen=True)
class Login:
    """A user of a registry."""

    username: str
    password: str


@dataclass(frozen=True)
class Realm:
    """Who gives tokens for a registry: its URL, its names in tokens, and the authority of what it signs with."""

    url: str
    issuer: str
    service: str
    ca: Path


class Registry:
    """`with Registry(directory) as registry: registry.url` is `http://127.0.0.1:PORT`, `registry.host` without scheme.

    Deleting is enabled. The content lies in plain files: see `blob_path`.
    """

    PACKAGES: ClassVar = ("docker-registry", "apache2-utils")

    def __init__(
        self,
        directory: Path,
        *,
        login: Login | None = None,
        authority: Authority | None = None,
        realm: Realm | None = None,
    ) -> None:
        """Keep everything below `directory`, which must exist; what an earlier registry left there it serves too.

        With `login` everybody needs it, for reading too (Basic); with `realm` everybody needs a token from there. With
        `authority` it speaks TLS.
        """
        self.directory = directory
        self.log = directory / "registry.log"
        self.login = login
        self.authority = authority
        self.realm = realm
        self._data = directory / "data"

    def __enter__(self) -> Self:
        """Start it; raises ComponentError, or PackagesUnavailableError when it is not installed."""
        self.process = start_on_free_port(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.process.stop()

    @property
    def host(self) -> str:
        """`127.0.0.1:PORT`, as in an image reference."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base URL without a final slash."""
        return f"{'https' if self.authority else 'http'}://{self.host}"

    def blob_path(self, digest: str) -> Path:
        """File that holds a blob or manifest, to damage or remove it behind the registry's back."""
        algorithm, _, encoded = digest.partition(":")
        return self._data / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"

    def remove_repository(self, repository: str) -> None:
        """Forget a repository with its tags and links."""
        shutil.rmtree(self._data / "docker/registry/v2/repositories" / repository)

    def _start(self, port: int) -> Process:
        self.port = port
        configuration = self.directory / "registry.json"
        configuration.write_text(json.dumps(self._configuration()))  # JSON is YAML
        process = Process(["docker-registry", "serve", str(configuration)], self.log)
        with contextlib.ExitStack() as failed:
            failed.callback(process.stop)
            process.wait_ready(self._answers)
            failed.pop_all()
        return process

    def _configuration(self) -> dict[str, object]:
        http: dict[str, object] = {"addr": self.host, "secret": "only for tests"}
        configuration: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._data)},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": http,
        }
        if self.authority:
            http["tls"] = {"certificate": str(self.authority.certificate), "key": str(self.authority.key)}
        if self.login:
            configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(self._write_htpasswd(self.login))}}
        if realm := self.realm:
            names = {"realm": realm.url, "issuer": realm.issuer, "service": realm.service}
            configuration["auth"] = {"token": {**names, "rootcertbundle": str(realm.ca)}}
        return configuration

    def _write_htpasswd(self, login: Login) -> Path:
        path = self.directory / "htpasswd"
        subprocess.run(
            [program("htpasswd"), "-c", "-B", "-C", "4", "-i", str(path), login.username],
            input=login.password,
            text=True,
            capture_output=True,
            check=True,
        )
        return path

    def _answers(self) -> bool:
        opener = loopback_opener(self.authority.ca if self.authority else None)
        try:
            with opener.open(f"{self.url}/v2/", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        except OSError:
            return False
