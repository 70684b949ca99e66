"""How registries are reached: through which mirrors, in the clear or not, and as whom."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from requests.auth import AuthBase

from bundler.engines.authorization import RegistryAuthorization
from bundler.engines.credentials import Credentials, find_credentials
from bundler.model.reference import DOCKER_HUB
from bundler.net.certificates import Certificates
from bundler.net.session import AddressAuth

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from requests import PreparedRequest, Session

    from bundler.engines.secrets import Secrets
    from bundler.model.recipe_sources import RegistrySource, Sources
    from bundler.model.reference import Reference


@dataclass(frozen=True)
class Endpoint:
    """Where a repository is served. `registry` is the host as logins and daemons know it, `origin` scheme and host."""

    registry: str
    origin: str
    repository: str

    @property
    def base(self) -> str:
        """What URLs of the repository begin with."""
        return f"{self.origin}/v2/{self.repository}"

    def url(self, kind: str, name: str) -> str:
        """Address a manifest or blob of the repository."""
        return f"{self.base}/{kind}/{name}"


@dataclass(frozen=True)
class RegistryAccess:
    """What a recipe says of registries, by registry, and where its secrets are read."""

    registries: Mapping[str, RegistrySource]
    secrets: Secrets

    def endpoints(self, reference: Reference) -> tuple[Endpoint, ...]:
        """List where a repository may be asked for: the mirrors of its registry, then the registry itself.

        A mirror's path stands before the repository, as `https://mirror.corp/hub` serving `/v2/hub/rancher/…`.
        """
        found = []
        source = self.registries.get(reference.registry)
        for mirror in source.mirrors if source else ():
            parts = urlsplit(mirror)
            origin = f"{parts.scheme}://{parts.netloc}"
            prefix = parts.path.strip("/").removeprefix("v2").strip("/")
            repository = "/".join(part for part in (prefix, reference.repository) if part)
            found.append(Endpoint(parts.netloc, origin, repository))
        found.append(Endpoint(reference.registry, self._own_origin(reference.registry), reference.repository))
        return tuple(found)

    def credentials(self, registry: str) -> Credentials | None:
        """Say who we are to a registry: what the recipe says of this very host, else what `docker login` left.

        Raises SecretMissingError, and AccessDeniedError as `find_credentials` does.
        """
        return self.own_credentials(registry) or find_credentials(registry)

    def own_credentials(self, registry: str) -> Credentials | None:
        """Give what the recipe says alone; raises SecretMissingError."""
        source = self.registries.get(registry)
        if source is None or source.auth is None:
            return None
        username, password = self.secrets.read(source.auth.username), self.secrets.read(source.auth.password)
        return Credentials(username, password, "")

    def has_account(self, origin: str) -> bool:
        """Say whether the recipe has an account for what is spoken to at `origin`, as the registry there is."""
        host = origin.partition("://")[2]
        source = self.registries.get(host)
        return source is not None and source.auth is not None and origin == self._own_origin(host)

    def _own_origin(self, registry: str) -> str:
        if registry == DOCKER_HUB:
            return "https://registry-1.docker.io"
        source = self.registries.get(registry)
        if source and source.tls:
            return f"https://{registry}"
        # As every Docker client does: a registry on this very machine is spoken to in the clear.
        in_the_clear = (source and source.plain_http) or _is_here(urlsplit(f"//{registry}").hostname or "")
        return f"http://{registry}" if in_the_clear else f"https://{registry}"


class FileAuthorization(AuthBase):
    """Answers a server that asks who fetches a file, as charts are, by what the recipe says of the registry there.

    Nothing is sent before it asks, and nothing to another host.
    """

    def __init__(self, session: Session, access: RegistryAccess) -> None:
        self._session, self._access = session, access

    def __call__(self, request: PreparedRequest) -> PreparedRequest:  # noqa: D102  by requests
        parts = urlsplit(request.url or "")
        origin = f"{parts.scheme}://{parts.netloc}"
        if not self._access.has_account(origin):
            return AddressAuth()(request)
        find = partial(self._access.own_credentials, parts.netloc)
        return RegistryAuthorization(self._session, origin, "", find)(request)


def certificates_of(sources: Sources, folder: Path) -> dict[str, Certificates]:
    """Give the files of certificates by host, for a session; `folder` is that of the recipe."""

    def path(name: str | None) -> Path | None:
        return folder / name if name else None

    return {
        host: Certificates(path(tls.ca_file), path(tls.cert_file), path(tls.key_file))
        for host, tls in sources.tls.items()
    }


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False  # a name, even one that begins with 127.
