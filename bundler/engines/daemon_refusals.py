"""What a Docker daemon says when it refuses, as errors of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from bundler.errors import (
    AccessDeniedError,
    DaemonFailedError,
    DiskFullError,
    ImageNotFoundError,
    MissingPlatformError,
    RateLimitError,
)

if TYPE_CHECKING:
    from bundler.errors import BundlerError

_SIGNS: tuple[tuple[str, type[BundlerError], str], ...] = (
    ("no matching manifest", MissingPlatformError, "take the architecture out of the recipe, or use another image"),
    ("no suitable export target", MissingPlatformError, "the engine has another architecture under that name"),
    ("toomanyrequests", RateLimitError, "log in with docker login, wait, or name a mirror in sources.registries"),
    ("rate limit", RateLimitError, "log in with docker login, wait, or name a mirror in sources.registries"),
    ("no space left", DiskFullError, "free room in the engine's data root, for example with: docker system df"),
    ("unauthorized", AccessDeniedError, "run docker login for that registry"),
    ("denied", AccessDeniedError, "run docker login for that registry"),
    ("authentication required", AccessDeniedError, "run docker login for that registry"),
    ("no basic auth credentials", AccessDeniedError, "run docker login for that registry"),
    ("manifest unknown", ImageNotFoundError, "the lock may be older than the registry: k3s-bundler lock --update"),
    ("not found", ImageNotFoundError, "the lock may be older than the registry: k3s-bundler lock --update"),
    (
        "http response to https client",
        DaemonFailedError,
        (
            "the daemon speaks plain http only to hosts it was told: name this one in insecure-registries of its "
            "/etc/docker/daemon.json and restart it, or use --engine registry"
        ),
    ),
    (
        "x509:",
        DaemonFailedError,
        (
            "the daemon has its own trust and cannot be told tls.ca_file: put the authority's certificate into "
            "/etc/docker/certs.d/<host:port>/ca.crt on its machine, or use --engine registry"
        ),
    ),
    (
        "tls: certificate required",
        DaemonFailedError,
        (
            "the daemon cannot be told tls.cert_file: put certificate and key into /etc/docker/certs.d/<host:port>/ as "
            "client.cert and client.key on its machine, or use --engine registry"
        ),
    ),
)
"""How engines word their errors: they have no codes, and the wording has been the same since Docker 1.10."""


def raise_failure(name: str, message: str) -> NoReturn:
    """Raise what the engine's `message` about `name` means to us; DaemonFailedError when its wording is unknown."""
    lowered = message.lower()
    for sign, kind, hint in _SIGNS:
        if sign in lowered:
            raise kind(f"{name}: the Docker daemon says: {message}", hint=hint)
    raise DaemonFailedError(
        f"{name}: the Docker daemon says: {message}", hint="look into the daemon's log, or use --engine registry"
    )
