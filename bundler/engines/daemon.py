"""The few calls made to a Docker daemon, with its errors turned into ours and a limit on its silence.

The SDK finds the daemon (DOCKER_HOST, contexts, TLS) and speaks its transport; its `images.pull` hides errors and
may return a stale image of another architecture, and its `get_image` knows no limit, so the requests are made here.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import requests
import urllib3

from bundler.engines.daemon_refusals import raise_failure
from bundler.errors import (
    BundlerError,
    DaemonFailedError,
    DaemonPermissionError,
    DaemonUnavailableError,
)
from bundler.model.digest import parse_digest
from bundler.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping, Sequence

    from docker.api.client import APIClient

    from bundler.engines.credentials import Credentials
    from bundler.model.digest import Digest
    from bundler.model.platform import Architecture

PULL_SILENCE = 300
"""Seconds without an event after which a pull is given up; extracting a big layer sends events too."""

SAVE_SILENCE = 1800
"""Seconds without a byte: the engine copies all that is saved to its own disk before it sends the first one."""

BUILD_SILENCE = 3600
"""Seconds without a line after which a build is given up; compilers can be silent for long."""

_EVENT_LIMIT = 1 << 20  # bytes of one event
_KNOCK = 10  # seconds for a Unix socket to accept
_FIRST_ANSWER = 30  # seconds for a daemon to say what it is: one that hangs is none


@dataclass(frozen=True)
class PullEvent:
    """How far one layer is. `layer` is the short digest (12 hex digits), bytes are as downloaded."""

    layer: str
    status: str
    current: int


@dataclass(frozen=True)
class BuildEvent:
    """One thing a build says: a piece of its log, or the id of an image it made; `error` ends it."""

    text: str
    image: str | None
    error: str | None


@dataclass(frozen=True)
class EngineImage:
    """An image of the engine. `id` is the digest of its config, or of a manifest in a containerd image store."""

    id: Digest
    platform: Platform
    named: bool


@dataclass(frozen=True)
class DaemonFacts:
    """What a daemon says of itself. `proxies` may hold passwords."""

    address: str
    version: str
    api_version: str
    storage: str
    keeps_registry_bytes: bool
    proxies: tuple[str, ...]


class Daemon:
    """A Docker daemon that answers. Make it with `connect`."""

    def __init__(self, client: APIClient, api_version: str) -> None:
        self._client, self._api_version = client, api_version
        self._base = f"{client.base_url}/v{api_version}"

    @property
    def address(self) -> str:
        """Where the daemon is reached, as DOCKER_HOST has it; the SDK calls every Unix socket and SSH host the same."""
        if path := _socket_of(self._client):
            return f"unix://{path}"
        host = getattr(_adapter_of(self._client), "ssh_host", "")
        return f"ssh://{host}" if host else str(self._client.base_url)

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def facts(self) -> DaemonFacts:
        """Ask for version and image store; raises DaemonFailedError.

        Only the containerd image store keeps manifests and layers as the registry has them; its storage driver is a
        snapshotter (moby daemon/containerd, `DriverStatus`).
        """
        with self._call("GET", "/info", timeout=60) as response:
            try:
                info = response.json() if response.status_code == 200 else {}
                status = dict(pair for pair in info.get("DriverStatus") or () if len(pair) == 2)
                return DaemonFacts(
                    address=self.address,
                    version=str(info["ServerVersion"]),
                    api_version=self._api_version,
                    storage=str(info["Driver"]),
                    keeps_registry_bytes="snapshotter" in str(status.get("driver-type", "")),
                    proxies=tuple(str(info[key]) for key in ("HttpProxy", "HttpsProxy") if info.get(key)),
                )
            except (ValueError, KeyError, TypeError, AttributeError, requests.RequestException) as error:
                raise _went_away("being asked what it is", error) from None

    def present(self, name: str) -> bool:
        """Say whether the daemon has an image of this name, digest or id."""
        return self.image(name) is not None

    def image(self, name: str) -> EngineImage | None:
        """Find an image by name, digest or id."""
        with self._call("GET", f"/images/{name}/json", timeout=60) as response:
            if response.status_code == 404:
                return None
            if response.status_code != 200:
                raise_failure(name, _message(response))
            try:
                found = response.json()
                platform = Platform(str(found["Os"]), str(found["Architecture"]), str(found.get("Variant") or ""))
                named = bool(found.get("RepoTags") or found.get("RepoDigests"))
                return EngineImage(parse_digest(found["Id"]), platform, named)
            except (ValueError, KeyError, TypeError, AttributeError, requests.RequestException) as error:
                raise _went_away(f"telling of {name}", error) from None

    def image_ids(self) -> frozenset[str]:
        """List the ids of all images, those without a name and those that builds left in between too."""
        with self._call("GET", "/images/json", params={"all": "1"}, timeout=60) as response:
            if response.status_code != 200:
                raise_failure("its images", _message(response))
            try:
                return frozenset(str(image["Id"]) for image in response.json())
            except (ValueError, KeyError, TypeError, requests.RequestException) as error:
                raise _went_away("listing its images", error) from None

    def load(self, archive: bytes, name: str) -> None:
        """Give the daemon an image, as `docker load` does; `name` is what it is called in errors."""
        with self._call("POST", "/images/load", params={"quiet": "1"}, data=archive, timeout=120) as response:
            if response.status_code != 200:
                raise_failure(name, _message(response))
            for event in _events(response, f"loading {name}"):
                if "error" in event:
                    raise_failure(name, str(event["error"]))

    def build(
        self, context: Iterator[bytes], options: Mapping[str, str], name: str
    ) -> Generator[BuildEvent, None, None]:
        """Build with the classic builder, the only one this interface has, from a tar that comes as a stream.

        Closing the generator cancels the build. Errors of the build are events; raises DaemonFailedError.
        """
        headers = {"Content-Type": "application/x-tar"}
        response = self._call("POST", "/build", params=options, headers=headers, data=context, timeout=BUILD_SILENCE)
        with response:
            if response.status_code != 200:
                yield BuildEvent("", None, _message(response))
                return
            for event in _events(response, f"building {name}"):
                made = event.get("aux")
                yield BuildEvent(
                    str(event.get("stream") or event.get("status") or ""),
                    str(made["ID"]) if isinstance(made, dict) and "ID" in made else None,
                    str(event["error"]) if "error" in event else None,
                )

    def pull(self, repository: str, digest: str, credentials: Credentials | None) -> Iterator[PullEvent]:
        """Pull by digest, which moves no tag; raises for every error the event stream tells.

        Without `credentials` the daemon gets what `docker login` left for that registry.
        """
        headers = self._login(repository, credentials)
        query = {"fromImage": repository, "tag": digest}
        response = self._call("POST", "/images/create", params=query, headers=headers, timeout=PULL_SILENCE)
        name = f"{repository}@{digest}"
        with response:
            if response.status_code != 200:
                raise_failure(name, _message(response))
            for event in _events(response, f"pulling {name}"):
                if "error" in event:
                    raise_failure(name, str(event["error"]))
                detail = event.get("progressDetail") or {}
                yield PullEvent(str(event.get("id", "")), str(event.get("status", "")), int(detail.get("current") or 0))

    def _login(self, repository: str, credentials: Credentials | None) -> dict[str, str]:
        from docker import auth  # noqa: PLC0415  importing docker costs 0.1 s

        registry, _ = auth.resolve_repository_name(repository)
        if credentials:
            known = {"username": credentials.username, "password": credentials.password, "serveraddress": registry}
            return {"X-Registry-Auth": auth.encode_header(known).decode()}
        login = auth.get_config_header(self._client, registry)
        return {"X-Registry-Auth": login.decode()} if login else {}

    def save(self, names: Sequence[str], architecture: Architecture | None = None) -> BinaryIO:
        """Open the stream of one `docker save`; the caller closes it. Reading raises DaemonFailedError.

        With an `architecture`, a containerd image store saves that of several; older Dockers have only one to save.
        """
        from docker.utils import version_gte  # noqa: PLC0415  importing docker costs 0.1 s

        query: dict[str, Any] = {"names": list(names)}
        if architecture and version_gte(self._api_version, "1.48"):
            query["platform"] = json.dumps({"os": "linux", "architecture": architecture})
        response = self._call("GET", "/images/get", params=query, timeout=SAVE_SILENCE)
        if response.status_code != 200:
            with response:
                raise_failure(", ".join(names), _message(response))
        return cast("BinaryIO", _SaveStream(response, ", ".join(names)))

    def remove(self, name: str) -> bool:
        """Take a name away; the image goes with its last name. Gives False when a container or image uses it still."""
        with self._call("DELETE", f"/images/{name}", params={"noprune": "1"}, timeout=120) as response:
            if response.status_code not in {200, 404, 409}:
                raise_failure(name, _message(response))
            return response.status_code != 409

    def _call(self, method: str, path: str, *, timeout: float, **options: Any) -> requests.Response:
        try:
            return self._client.request(method, self._base + path, stream=True, timeout=(10, timeout), **options)
        except requests.RequestException as error:
            raise _went_away(path, error) from None


class _SaveStream:
    """Bytes of a save, with the transport's errors turned into ours."""

    def __init__(self, response: requests.Response, name: str) -> None:
        self._response, self._name = response, name

    def read(self, size: int) -> bytes:
        try:
            return cast("bytes", self._response.raw.read(size))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _went_away(f"saving {self._name}", error) from None

    def close(self) -> None:
        self._response.close()


def connect() -> Daemon:
    """Find the daemon as the docker command would; raises DaemonUnavailableError or DaemonPermissionError."""
    from docker import DockerClient, constants, errors  # noqa: PLC0415  importing docker costs 0.1 s

    try:
        # With a version it makes the client without a question, so that one nobody answers can be closed.
        client = DockerClient.from_env(version=constants.MINIMUM_DOCKER_API_VERSION, timeout=_FIRST_ANSWER).api
    except errors.DockerException as error:
        raise _not_connected(error) from None
    try:
        _knock(client)
        return Daemon(client, _api_version(client))
    except (errors.DockerException, OSError, ValueError) as error:
        client.close()
        raise _not_connected(error) from None


def _knock(client: APIClient) -> None:
    """Connect to a Unix socket once: the SDK's own attempt leaves its socket open when nobody listens."""
    if path := _socket_of(client):
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.settimeout(_KNOCK)
            attempt.connect(path)


def _api_version(client: APIClient) -> str:
    """Ask for the newest version of the API; raises ValueError when what answers is no daemon."""
    answer: Any = client.version(api_version=False)
    version = answer.get("ApiVersion") if isinstance(answer, dict) else None
    if not isinstance(version, str) or not version:
        raise ValueError("what answers there says no version of Docker's API")
    return version


def _adapter_of(client: APIClient) -> object:
    return client.get_adapter(client.base_url)


def _socket_of(client: APIClient) -> str:
    return str(getattr(_adapter_of(client), "socket_path", ""))


def _not_connected(error: Exception) -> BundlerError:
    causes = list(_causes(error))
    if any(isinstance(cause, PermissionError) for cause in causes):
        return DaemonPermissionError(
            "this user may not use the Docker socket",
            hint="join the group docker and log in again, run as root, or use --engine registry",
        )
    return DaemonUnavailableError(
        f"no Docker daemon answers: {causes[-1]}",
        hint="start it (systemctl start docker), check DOCKER_HOST and the context, or use --engine registry",
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = [part for part in error.args if isinstance(part, BaseException)]
        error = error.__cause__ or error.__context__ or (inner[0] if inner else None)


def _events(response: requests.Response, doing: str) -> Iterator[dict[str, Any]]:
    try:
        for line in response.iter_lines(chunk_size=None):
            if not line:
                continue
            event = json.loads(line[:_EVENT_LIMIT])
            if isinstance(event, dict):
                yield event
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise _went_away(doing, error) from None


def _message(response: requests.Response) -> str:
    body = response.raw.read(4096, decode_content=True)
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"


def _went_away(doing: str, error: Exception) -> DaemonFailedError:
    return DaemonFailedError(
        f"the Docker daemon broke off while {doing}: {type(error).__name__}",
        hint="look into its log (journalctl -u docker) and build again; what arrived is kept",
    )
