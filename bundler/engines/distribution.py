"""Pulling by the OCI distribution spec v1.1: manifests, configs and blobs, through mirrors and with credentials."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from bundler.archive.layout import MANIFEST_TYPES
from bundler.engines.authorization import RegistryAuthorization
from bundler.engines.manifest import INDEX_TYPES
from bundler.errors import (
    AccessDeniedError,
    AssetNotFoundError,
    BundlerError,
    DigestMismatchError,
    ImageNotFoundError,
    IntegrityError,
    NetworkError,
)
from bundler.model.digest import Digest, digest_of, parse_digest
from bundler.net.answers import get_bytes, head
from bundler.net.download import Download, download

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from requests import Session

    from bundler.engines.access import Endpoint, RegistryAccess
    from bundler.model.reference import Reference
    from bundler.progress import Task

MANIFEST_LIMIT = 16 << 20
"""Bytes; the spec asks clients to take at least 4 MiB."""

CONFIG_LIMIT = 16 << 20
"""Bytes of an image config."""

T = TypeVar("T")


@dataclass(frozen=True)
class RawManifest:
    """A manifest or index as the registry sent it, byte for byte."""

    body: bytes
    media_type: str
    digest: Digest


class Distribution:
    """A client for all registries that a recipe needs. Safe to use from several threads."""

    def __init__(self, session: Session, access: RegistryAccess) -> None:
        self._session = session
        self._access = access
        self._authorizations: dict[str, RegistryAuthorization] = {}
        self._lock = threading.Lock()

    def manifest(self, reference: Reference, wanted: Digest | None) -> RawManifest:
        """Fetch the manifest `wanted`, or the one that the reference's digest or tag points to.

        Raises ImageNotFoundError, AccessDeniedError, RateLimitError, DigestMismatchError and other network errors.
        """
        digest = wanted or reference.digest
        accept = {"Accept": ", ".join(INDEX_TYPES + MANIFEST_TYPES)}

        def fetch(endpoint: Endpoint) -> RawManifest:
            url = endpoint.url("manifests", digest or reference.tag)
            answer = get_bytes(
                self._session, url, limit=MANIFEST_LIMIT, headers=accept, auth=self._authorization(endpoint)
            )
            found = digest_of(answer.body)
            if digest and found != digest:
                raise _wrong_bytes(endpoint, digest, found)
            # Of a tag only the registry knows the digest; some say it wrongly written or not at all.
            stated = None if digest else _digest_in(answer.docker_content_digest)
            if stated and found != stated:
                raise _wrong_statement(endpoint, reference.tag, stated, found)
            return RawManifest(answer.body, answer.content_type, found)

        return self._first(reference, fetch)

    def points_to(self, reference: Reference) -> Digest | None:
        """Ask what a tag points to, by HEAD: Docker Hub counts no HEAD against its limit.

        None when the registry does not say, or fails; then `manifest` has the answer or the error.
        """
        if reference.digest:
            return reference.digest
        accept = {"Accept": ", ".join(INDEX_TYPES + MANIFEST_TYPES)}

        def ask(endpoint: Endpoint) -> Digest | None:
            url = endpoint.url("manifests", reference.tag)
            answer = head(self._session, url, headers=accept, auth=self._authorization(endpoint))
            return _digest_in(answer.docker_content_digest)

        try:
            return self._first(reference, ask)
        except (NetworkError, IntegrityError):
            return None

    def config(self, reference: Reference, digest: Digest) -> bytes:
        """Fetch a config whole; raises as `manifest` does."""

        def fetch(endpoint: Endpoint) -> bytes:
            url = endpoint.url("blobs", digest)
            body = get_bytes(self._session, url, limit=CONFIG_LIMIT, auth=self._authorization(endpoint)).body
            if digest_of(body) != digest:
                raise _wrong_bytes(endpoint, digest, digest_of(body))
            return body

        return self._first(reference, fetch)

    def blob(self, reference: Reference, digest: Digest, size: int, part: Path, task: Task) -> None:
        """Bring a blob of `size` bytes into the file `part`, going on where an earlier run stopped.

        Raises as `manifest` does, and StalledError.
        """

        def fetch(endpoint: Endpoint) -> None:
            wanted = Download(urls=(endpoint.url("blobs", digest),), digest=digest, size=size)
            download(self._session, wanted, part, task=task, auth=self._authorization(endpoint))

        self._first(reference, fetch)

    def _first(self, reference: Reference, fetch: Callable[[Endpoint], T]) -> T:
        """Ask the mirrors in their order, then the registry itself; what one got wrong the next may have right."""
        failures = []
        for endpoint in self._access.endpoints(reference):
            try:
                return fetch(endpoint)
            except (NetworkError, IntegrityError) as error:
                failures.append((endpoint, error))
        raise _verdict(reference, failures)

    def _authorization(self, endpoint: Endpoint) -> RegistryAuthorization:
        with self._lock:
            known = self._authorizations.get(endpoint.base)
            if known is None:
                scope, find = (
                    f"repository:{endpoint.repository}:pull",
                    partial(self._access.credentials, endpoint.registry),
                )
                known = RegistryAuthorization(self._session, endpoint.origin, scope, find)
                self._authorizations[endpoint.base] = known
            return known


def _digest_in(header: str | None) -> Digest | None:
    try:
        return parse_digest(header) if header else None
    except ValueError:
        return None


def _verdict(reference: Reference, failures: Sequence[tuple[Endpoint, BundlerError]]) -> BundlerError:
    """Put the failures of all endpoints into one; its kind is that of the first that is more than "not there"."""
    hosts = " and ".join(urlsplit(endpoint.origin).netloc for endpoint, _ in failures)
    telling = next((error for _, error in failures if not isinstance(error, AssetNotFoundError)), None)
    if telling is None:
        return ImageNotFoundError(
            f"{reference}: no such image on {hosts}",
            hint="check the spelling of repository and tag; a mirror may not carry it yet",
        )
    what = f"{reference}: " + "; then ".join(error.what for _, error in failures)
    if isinstance(telling, AccessDeniedError):
        return AccessDeniedError(what, hint=f"it does not exist or needs an account: run docker login for {hosts}")
    lacking = [urlsplit(each.origin).netloc for each, error in failures if isinstance(error, AssetNotFoundError)]
    mirrored = f"{' and '.join(lacking)} answers and lacks it: have it mirrored there, or " if lacking else ""
    return type(telling)(what, hint=mirrored + telling.hint)


def _wrong_bytes(endpoint: Endpoint, wanted: Digest, found: Digest) -> DigestMismatchError:
    return DigestMismatchError(
        f"{urlsplit(endpoint.origin).netloc} sent {found} when asked for {wanted}",
        hint="something between here and the registry changes what it sends; try another mirror",
    )


def _wrong_statement(endpoint: Endpoint, tag: str, stated: Digest, found: Digest) -> DigestMismatchError:
    return DigestMismatchError(
        f"{urlsplit(endpoint.origin).netloc} sent {found} for the tag {tag} and says itself that it is {stated}",
        hint="the registry is broken, or something before it changes what it sends: try another mirror, or pin the "
        "image as repository:tag@digest",
    )
