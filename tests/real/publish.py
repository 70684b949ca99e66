"""Put images into a registry over HTTP, as `docker push` does (distribution-spec v1.1, "Push")."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin

import requests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.model.platform import Architecture
    from tests.real.images import Document, Image, PlatformImage
    from tests.real.registry import Registry


def publish(registry: Registry, images: Iterable[Image]) -> None:
    """Push every blob, manifest and index; raises requests.HTTPError. What is there already is not sent again."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no netrc: the registry is on loopback
        if registry.authority:
            session.verify = str(registry.authority.ca)
        if registry.login:
            session.auth = (registry.login.username, registry.login.password)
        for image in images:
            repository = f"{registry.url}/v2/{image.repository}"
            for part in (*image.platforms, *image.attestations):
                _publish_platform(session, repository, part)
            _put_manifest(session, f"{repository}/manifests/{image.tag}", image.top)


def publish_missing_layer(registry: Registry, image: Image, architecture: Architecture) -> str:
    """Push `image`, then take the last layer of one architecture out of the registry; returns the digest of it."""
    publish(registry, [image])
    digest = image.on(architecture).layers[-1].digest
    registry.blob_path(digest).unlink()
    return digest


def _publish_platform(session: requests.Session, repository: str, image: PlatformImage) -> None:
    for blob, digest in [*((layer.blob, layer.digest) for layer in image.layers), (image.config, image.config_digest)]:
        _put_blob(session, repository, blob, digest)
    _put_manifest(session, f"{repository}/manifests/{image.manifest.digest}", image.manifest)


def _put_blob(session: requests.Session, repository: str, blob: bytes, digest: str) -> None:
    if session.head(f"{repository}/blobs/{digest}", timeout=30).status_code == 200:
        return
    begun = session.post(f"{repository}/blobs/uploads/", timeout=30)
    begun.raise_for_status()
    session.put(
        urljoin(begun.url, begun.headers["Location"]),
        params={"digest": digest},
        data=blob,
        headers={"Content-Type": "application/octet-stream"},
        timeout=60,
    ).raise_for_status()


def _put_manifest(session: requests.Session, url: str, document: Document) -> None:
    answer = session.put(url, data=document.content, headers={"Content-Type": document.media_type}, timeout=30)
    answer.raise_for_status()
    if answer.headers["Docker-Content-Digest"] != document.digest:
        raise AssertionError(f"the registry calls {url} {answer.headers['Docker-Content-Digest']}")
