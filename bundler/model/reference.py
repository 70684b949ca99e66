"""Image references, by the grammar of the distribution spec, with Docker's short names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from bundler.model.digest import Digest, parse_digest

DOCKER_HUB = "docker.io"

_DOMAIN = re.compile(
    r"(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_PORT = re.compile(r":([0-9]{1,5})\Z")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LONGEST_NAME = 255  # host and repository together (distribution-spec, "Pulling manifests")


@dataclass(frozen=True, order=True)
class Reference:
    """A full image name: registry, repository, tag, and the digest it is pinned to, if any.

    `registry` is `docker.io` for Docker Hub, whatever host serves it.
    """

    registry: str
    repository: str
    tag: str
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Registry, repository and tag: what the kubelet asks containerd for."""
        return f"{self.registry}/{self.repository}:{self.tag}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


def parse_reference(text: str) -> Reference:
    """Read `[registry/]repository[:tag][@digest]`; raises ValueError that says which part is wrong.

    Short names mean Docker Hub (`busybox` is `docker.io/library/busybox`) and no tag means `latest`, as with every
    Docker client. A digest alone is refused: the kubelet looks images up by tagged names.
    """
    rest, at, pinned = text.partition("@")
    digest = parse_digest(pinned) if at else None
    path, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        path, tag = rest, ""
    if at and not tag:
        raise ValueError(f"{text!r} has a digest but no tag: write repository:tag@digest, nodes look images up by tag")
    if colon and path != rest and not _TAG.fullmatch(tag):
        raise ValueError(f"{text!r}: {tag!r} is not a tag")
    registry, repository = _split_registry(path)
    if not _DOMAIN.fullmatch(registry):
        raise ValueError(f"{text!r}: {registry!r} is not a registry host")
    if not _REPOSITORY.fullmatch(repository):
        why = "it has upper-case letters" if repository.lower() != repository else "see the distribution spec"
        raise ValueError(f"{text!r}: {repository!r} is not a repository name ({why})")
    if len(registry) + 1 + len(repository) > _LONGEST_NAME:
        raise ValueError(f"{text!r}: the name is longer than {_LONGEST_NAME} characters")
    return Reference(registry, repository, tag or "latest", digest)


def _written_out(text: str) -> str:
    if str(parse_reference(text)) != text:
        raise ValueError(f"{text!r} is not written out: {parse_reference(text)} is expected")
    return text


def _name(text: str) -> str:
    if parse_reference(text).digest:
        raise ValueError(f"{text!r} has a digest, and a name alone is expected")
    return _written_out(text)


FullReference = Annotated[str, AfterValidator(_written_out)]
"""A reference with all its parts, as text inside a pydantic model."""

FullName = Annotated[str, AfterValidator(_name)]
"""Registry, repository and tag, as text inside a pydantic model."""


def is_registry_host(text: str) -> bool:
    """Say whether `text` is a host with an optional port, as in front of an image name."""
    port = _PORT.search(text)
    return _DOMAIN.fullmatch(text) is not None and (port is None or 0 < int(port.group(1)) < 65536)


def _split_registry(path: str) -> tuple[str, str]:
    first, slash, rest = path.partition("/")
    # The rule of every Docker client: the first part is a host when it looks like one.
    if not slash or not ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return DOCKER_HUB, path if slash else f"library/{path}"
    if first in {DOCKER_HUB, "index.docker.io", "registry-1.docker.io"}:
        return DOCKER_HUB, rest if "/" in rest else f"library/{rest}"
    return first, rest
