"""3: a server, registry or daemon did not give what was asked."""

from __future__ import annotations

from bundler.errors.base import BundlerError


class NetworkError(BundlerError):
    """A server did not answer, or broke off more often than retries allow.

    Run the same command again: what has arrived is kept. `k3s-bundler doctor` says which servers can be
    reached, and through which proxy.
    """

    name = "network"
    exit_code = 3


class HostUnreachableError(NetworkError):
    """The host's name does not resolve or nothing accepts the connection.

    Check the name, the network and the proxy variables with `k3s-bundler doctor`; name a mirror under
    `sources`.
    """

    name = "host-unreachable"


class AssetNotFoundError(NetworkError):
    """The release server has no such file.

    Check `release` and `sources.releases`; a mirror may not have the release yet.
    """

    name = "asset-not-found"


class ImageNotFoundError(NetworkError):
    """The registry has no such repository or tag, or shows it to nobody without an account.

    Check the spelling of repository and tag; run `docker login` when the repository is private.
    """

    name = "image-not-found"


class AccessDeniedError(NetworkError):
    """The server knows who asks and refuses, or wants to know who asks.

    Log in with `docker login`; when you are logged in, the account may not read this, or the password has
    expired.
    """

    name = "access-denied"


class RateLimitError(NetworkError):
    """The server limits how often may be asked, and the limit is used up.

    Wait, log in to have a higher limit, or name a mirror under `sources.registries`.
    """

    name = "rate-limited"


class ServerError(NetworkError):
    """The server failed (5xx) more often than retries allow.

    Try again later, or name a mirror under `sources`.
    """

    name = "server-error"


class MalformedAnswerError(NetworkError):
    """The answer is not what the protocol says: no JSON, too long, the wrong kind.

    Check the address under `sources`: often a login page or a proxy answers in the server's place.
    """

    name = "answer-malformed"


class StalledError(NetworkError):
    """Nothing arrived for so long that the transfer was given up.

    Run it again: it goes on at the byte where it stopped. Name a mirror under `sources` when it stays slow.
    """

    name = "stalled"


class DaemonUnavailableError(NetworkError):
    """No Docker daemon answers.

    Start Docker, point DOCKER_HOST to it, or use `--engine registry`, which needs none.
    """

    name = "daemon-unavailable"


class DaemonPermissionError(NetworkError):
    """The Docker socket is there, but not for this user.

    Add yourself to the group that owns the socket (usually docker) and log in again, or use `--engine
    registry`.
    """

    name = "daemon-permission"


class DaemonFailedError(NetworkError):
    """The Docker daemon answered with an error or went away in the middle.

    Look into the daemon's log (`journalctl -u docker`) and build again, or use `--engine registry`.
    """

    name = "daemon-failed"


class BuildFailedError(NetworkError):
    """The Docker daemon could not build an image; the message ends with the last lines of the log.

    Correct the Dockerfile or its context; `docker build` fails alike. What only BuildKit can build, and what needs
    secrets, is built with `docker buildx build` and carried as an archive.
    """

    name = "build-failed"
