"""Which document lies under which path."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from tests.upstream.answers import Answer, Document, document, error
from tests.upstream.layers import sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.upstream.content import Content
    from tests.upstream.images import Blob, Image, PlatformImage

RELEASES = "/releases"
DASHED_RELEASES = "/releases-dashed"
CHANNELS = "/v1-release/channels"


def documents(content: Content, origin: str) -> dict[str, Document]:
    """Lay everything out by decoded path; `origin` goes into the links of the channel server."""
    return dict((*_releases(content), *_channels(content, origin), *_registry(content)))


def not_found(path: str) -> Answer:
    """Answer 404, as the registry or the release server would."""
    if not path.startswith("/v2/"):
        return Answer(404, {"Content-Type": "text/plain"}, memoryview(b"Not Found"))
    code = "MANIFEST_UNKNOWN" if "/manifests/" in path else "BLOB_UNKNOWN" if "/blobs/" in path else "NAME_UNKNOWN"
    return error(404, code, f"nothing is known under {path}")


def _releases(content: Content) -> Iterator[tuple[str, Document]]:
    for release in content.releases:
        for name, data in release.assets.items():
            asset = document(data, "text/plain" if name.endswith(".txt") else "application/octet-stream")
            yield f"{RELEASES}/{release.tag}/{name}", asset
            # The layout of the mirror for China: `-` for `+` (rancher-mirror.rancher.cn/k3s).
            yield f"{DASHED_RELEASES}/{release.tag.replace('+', '-')}/{name}", asset


def _channels(content: Content, origin: str) -> Iterator[tuple[str, Document]]:
    """Write the channel server's collection, and the redirect of each channel (rancher/channelserver)."""
    entries = []
    for name, tag in content.channels.items():
        path = f"{CHANNELS}/{name}"
        entry = {"id": name, "type": "channel", "links": {"self": origin + path}, "name": name}
        pattern = {"latestRegexp": re.escape(name) + r"\..*"} if name.startswith("v") else {}
        entries.append(entry | ({"latest": tag} if tag else {}) | pattern)
        if tag:
            location = {"Location": f"{origin}{RELEASES}/tag/{tag}"}
            yield path, Document(b"<a href>Found</a>.\n", "text/html; charset=utf-8", headers=location, status=302)
    links = {"self": origin + CHANNELS}
    body = {"type": "collection", "links": links, "actions": {}, "resourceType": "channels", "data": entries}
    yield CHANNELS, _json(body)


def _registry(content: Content) -> Iterator[tuple[str, Document]]:
    yield "/v2/", _json({})
    registries: dict[str, str] = {}
    tags: dict[str, list[str]] = {}
    for image in content.images:
        registry = image.reference.partition("/")[0]
        if registries.setdefault(image.repository, registry) != registry:
            raise ValueError(f"{image.repository} is in two registries: give each an upstream of its own")
        tags.setdefault(image.repository, []).append(image.tag)
        yield from _image(image)
    for repository, names in tags.items():
        yield f"/v2/{repository}/tags/list", _json({"name": repository, "tags": sorted(names)})


def _image(image: Image) -> Iterator[tuple[str, Document]]:
    base = f"/v2/{image.repository}"
    yield f"{base}/manifests/{image.tag}", _manifest(image.top)
    for index in (image.top, *image.inner_indexes):
        yield f"{base}/manifests/{index.digest}", _manifest(index)
    for part in (*image.platforms, *image.attestations):
        yield f"{base}/manifests/{part.manifest.digest}", _manifest(part.manifest)
        for data in _blobs(part):
            yield f"{base}/blobs/{sha256(data)}", _blob(data)


def _blobs(image: PlatformImage) -> Iterator[bytes]:
    yield image.config.data
    for layer in image.layers:
        yield layer.data


def _manifest(blob: Blob) -> Document:
    headers = {"Docker-Content-Digest": blob.digest}
    return Document(blob.data, blob.media_type, f'"{blob.digest}"', headers, by_accept=True)


def _blob(data: bytes) -> Document:
    digest = sha256(data)
    return Document(data, etag=f'"{digest}"', headers={"Docker-Content-Digest": digest})


def _json(content: dict[str, Any]) -> Document:
    return document(json.dumps(content).encode(), "application/json")
