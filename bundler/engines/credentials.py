"""Who we are to a registry: read from Docker's own config.json and credential helpers, as `docker login` left it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from bundler.errors import AccessDeniedError
from bundler.model.reference import DOCKER_HUB


@dataclass(frozen=True)
class Credentials:
    """A name and password, or an identity token. Never printed: `repr` hides them."""

    username: str
    password: str
    identity_token: str

    def __repr__(self) -> str:
        return "Credentials(…)"


def find_credentials(registry: str) -> Credentials | None:
    """Look up `registry` (`docker.io` or host[:port]); None when nobody has logged in.

    Raises AccessDeniedError when the config or its helper fails. `docker.auth` does it without a daemon, but its
    answer has different keys for each source.
    """
    from docker import auth, errors  # noqa: PLC0415  importing docker costs 0.1 s

    wanted = auth.INDEX_NAME if registry == DOCKER_HUB else registry
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: dict[str, Any] | None = auth.load_config().resolve_authconfig(wanted)
    except (errors.DockerException, ValueError, KeyError, TypeError, AttributeError) as error:
        why = str(error) if isinstance(error, errors.DockerException) else f"unexpected form, {type(error).__name__}"
        raise AccessDeniedError(
            f"the credentials for {registry} in Docker's config.json cannot be read: {why}",
            hint=f"check credsStore and credHelpers there, or run: docker login {registry}",
        ) from None
    if not found:
        return None
    lowered = {key.lower(): value for key, value in found.items()}
    credentials = Credentials(
        lowered.get("username") or "", lowered.get("password") or "", lowered.get("identitytoken") or ""
    )
    has_secret = credentials.identity_token or (credentials.username and credentials.password)
    return credentials if has_secret else None
