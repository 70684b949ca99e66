"""Documents and the HTTP answers that carry them: ranges, validators, error documents (RFC 9110, distribution-spec)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.upstream.layers import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

OCTETS = "application/octet-stream"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Document:
    """What lies under a path. `by_accept`: given only to a client whose Accept names the type, as manifests are."""

    body: bytes
    content_type: str = OCTETS
    etag: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    by_accept: bool = False


@dataclass(frozen=True)
class Answer:
    """A status, headers without Content-Length, and a body that starts at `start` of the whole `document`."""

    status: int
    headers: Mapping[str, str]
    body: memoryview
    start: int = 0
    document: Document | None = None


def document(body: bytes, content_type: str = OCTETS) -> Document:
    """Make a document whose ETag follows from its bytes."""
    return Document(body, content_type, f'"{sha256(body)}"')


def negotiated(found: Document, method: str, headers: Mapping[str, str]) -> Answer:
    """Answer a GET or HEAD as its headers ask; header names are lower case.

    `Accept: */*` does not name a type: real registries answer it with 404 or an old schema (distribution, ghcr.io).
    """
    accepted = {part.partition(";")[0].strip().lower() for part in headers.get("accept", "").split(",")}
    if found.by_accept and found.content_type not in accepted:
        return error(404, "MANIFEST_UNKNOWN", f"the manifest is {found.content_type}, which Accept does not name")
    if method == "HEAD":
        return whole(found)
    return ranged(found, headers.get("range", ""), headers.get("if-range", ""))


def whole(found: Document) -> Answer:
    """Answer with all of a document."""
    headers = {"Content-Type": found.content_type, "Accept-Ranges": "bytes"}
    validator = {"ETag": found.etag} if found.etag else {}
    return Answer(found.status, headers | validator | dict(found.headers), memoryview(found.body), document=found)


def ranged(found: Document, wanted: str, if_range: str) -> Answer:
    """Answer with the one range that `wanted` asks for, when `if_range` still holds (RFC 9110, 13.1.5 and 14.2)."""
    full = whole(found)
    match = _RANGE.fullmatch(wanted)
    if found.status != 200 or not match or not any(match.groups()) or (if_range and if_range != found.etag):
        return full
    size = len(found.body)
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last) + 1, size) if first and last else size
    if start >= size or (first and last and int(last) < int(first)):
        return Answer(416, {"Content-Range": f"bytes */{size}"}, memoryview(b""), document=found)
    headers = {**full.headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return Answer(206, headers, full.body[start:end], start, found)


def error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with an error document of the distribution-spec ("Error Codes")."""
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, memoryview(body))
