"""A private Docker Engine: its own containerd, folders and socket, no network; never the engine of the machine."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import docker
import docker.errors
import urllib3.exceptions

from tests.real.containerd import Containerd
from tests.real.packages import program
from tests.real.process import ComponentError, Process, socket_directory, unmount_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_NOBODY = "http://127.0.0.1:9"
# An engine that every mirror refuses goes on to Docker Hub, and online it would hand a test the real image. As its
# proxy nobody listens; Go takes none for 127.0.0.1. Both spellings, because the machine may have set either.
_NO_WAY_OUT = {
    **dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), _NOBODY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}


@dataclass(frozen=True, order=True)
class EngineImage:
    """One image as the engine lists it."""

    identifier: str
    tags: tuple[str, ...]
    repository_digests: tuple[str, ...]


class DockerEngine:
    """`with DockerEngine(directory) as engine: engine.host` is `unix:///…`.

    `snapshot()` before and after proves that a build left the user's images alone. `kill()` ends the daemon with
    SIGKILL at once, `start()` brings it up again on the same data and the same host. It reaches no registry
    but those on 127.0.0.1, also when a mirror fails.
    """

    PACKAGES: ClassVar = ("docker.io", *Containerd.PACKAGES)

    def __init__(
        self, directory: Path, *, registry_mirrors: Sequence[str] = (), trusted_ca: Path | None = None
    ) -> None:
        """Keep everything below `directory`, which must exist.

        `registry_mirrors` are base URLs asked before Docker Hub. `trusted_ca` is a PEM file that replaces the
        system's authorities; registries on 127.0.0.0/8 are trusted without it.
        """
        self.directory = directory
        self.log = directory / "dockerd.log"
        self._mirrors = tuple(registry_mirrors)
        self._environment = {**_NO_WAY_OUT, **({"SSL_CERT_FILE": str(trusted_ca)} if trusted_ca else {})}
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start it; raises ComponentError, or PackagesUnavailableError when Docker is not installed."""
        with contextlib.ExitStack() as started:
            self._sockets = started.enter_context(socket_directory())
            self.host = f"unix://{self._sockets}/docker.sock"
            containerd_directory = self.directory / "containerd"
            containerd_directory.mkdir(exist_ok=True)
            # Left alone, dockerd would take the containerd of the machine when there is one.
            self._containerd = started.enter_context(Containerd(containerd_directory))
            started.callback(unmount_below, self.directory)
            started.callback(self.stop)
            self.start()
            self._cleanup = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and leave no mount behind."""
        self._cleanup.close()

    @property
    def socket(self) -> Path:
        """The Unix socket of `host`."""
        return self._sockets / "docker.sock"

    def start(self) -> None:
        """Start the daemon (again); returns when it answers."""
        pid_file = self.directory / "dockerd.pid"
        pid_file.unlink(missing_ok=True)
        configuration = self.directory / "daemon.json"
        configuration.write_text(json.dumps(self._configuration()))
        self.process = Process(
            [
                "dockerd",
                f"--config-file={configuration}",
                f"--host={self.host}",
                f"--data-root={self.directory / 'data'}",
                f"--exec-root={self._sockets / 'exec'}",
                f"--pidfile={pid_file}",
                f"--containerd={self._containerd.address}",
                "--bridge=none",
                "--iptables=false",
                "--ip6tables=false",
            ],
            self.log,
            self._environment,
        )
        self.process.wait_ready(self._answers)

    def _configuration(self) -> dict[str, object]:
        configuration: dict[str, object] = {"registry-mirrors": self._mirrors}
        version = subprocess.run([program("dockerd"), "--version"], capture_output=True, text=True, check=True).stdout
        if version.startswith("Docker version 20."):
            # This one writes its identity into /etc/docker, which belongs to the machine; later ones have none.
            configuration["deprecated-key-path"] = str(self.directory / "key.json")
        return configuration

    def stop(self) -> None:
        """Stop the daemon in order; its data stays until the folder goes."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL the daemon, as a crash or the kernel would."""
        self.process.kill()

    def client(self, timeout: float = 120) -> docker.DockerClient:
        """A new SDK client of this engine; `timeout` in seconds. Close it."""
        return docker.DockerClient(base_url=self.host, timeout=int(timeout))

    def pull(self, name: str, platform: str | None = None) -> None:
        """Pull as a user would, e.g. to give the engine images before a build; raises ComponentError."""
        with contextlib.closing(self.client()) as client:
            try:
                for event in client.api.pull(name, stream=True, decode=True, platform=platform):
                    if "error" in event:
                        raise ComponentError(f"pull of {name}: {event['error']}")
            except (docker.errors.APIError, urllib3.exceptions.HTTPError) as error:
                raise ComponentError(f"pull of {name}: {error}") from error

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of one image; raises docker.errors.ImageNotFound."""
        with contextlib.closing(self.client()) as client:
            found: dict[str, Any] = client.images.get(name).attrs
            return found

    def snapshot(self) -> frozenset[EngineImage]:
        """Every image, tag and digest the engine has, intermediate and untagged ones too."""
        with contextlib.closing(self.client()) as client:
            return frozenset(
                EngineImage(
                    image["Id"],
                    tuple(sorted(image["RepoTags"] or ())),
                    tuple(sorted(image["RepoDigests"] or ())),
                )
                for image in client.api.images(all=True)
            )

    def _answers(self) -> bool:
        # Not through the SDK: a client that cannot connect leaves its socket open.
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(str(self.socket))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
                return b" 200 OK" in connection.recv(64)
        except OSError:
            return False
