"""Every failure a person can meet: what happened, what to do next, and the exit code.

    BundlerError
    |- UsageError            2  the command line or the recipe is wrong
    |- NetworkError          3  a server, registry or daemon did not give what was asked
    |- IntegrityError        4  bytes are not what they should be
    |- HostError             5  this machine lacks a tool, a permission or room
    `- LockError             6  the lock does not fit the recipe

Names end up in messages as `error[name]`. The first paragraph of a docstring says what the error means, the second what
a person can do: docs/errors.md is made of them. Nothing of this package is imported here.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class BundlerError(Exception):
    """A failure with a cause a person can understand and a step they can take.

    `what` says what happened, where and why, and names the image, architecture or file. `hint` says what to do.
    """

    name: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"error[{self.name}]: {self.what}\nhint: {self.hint}"


# 2: wrong use or recipe


class UsageError(BundlerError):
    """The command line asks for something that does not exist or does not fit together.

    Correct the command line; `k3s-bundler VERB --help` lists what a verb takes.
    """

    name = "wrong-use"
    exit_code = 2


@dataclass(frozen=True, order=True)
class RecipeMistake:
    """One mistake of a recipe and its place; line and column count from 1, `path` is empty for the file itself.

    `source` names the file where it is not the recipe's own but one that it extends.
    """

    line: int
    column: int
    path: str
    what: str
    source: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (f"{self.line}:{self.column}", self.path, self.what) if part)


class RecipeError(UsageError):
    """The recipe has mistakes; every one is listed, one a line, each with its place.

    Correct them all and run it again. docs/reference/recipe.md has every key with an example, and `k3s-bundler schema`
    prints the JSON Schema that editors complete and check by.

    `mistakes` has all of them in the order of the file, `source` is the file as the person named it.
    """

    name = "recipe-invalid"
    most_shown: ClassVar[int] = 100

    def __init__(self, source: str, mistakes: tuple[RecipeMistake, ...], *, files: int = 1) -> None:
        self.source = source
        self.mistakes = mistakes
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [
            f"{source} has {count}:" if files == 1 else f"{files} recipes have {count}:",
            *(f"{mistake.source or source}:{mistake}" for mistake in mistakes[: self.most_shown]),
        ]
        if len(mistakes) > self.most_shown:
            lines.append(f"... and {len(mistakes) - self.most_shown} more")
        super().__init__(
            "\n".join(lines),
            hint="docs/reference/recipe.md has every key; `k3s-bundler schema` prints the schema editors complete from",
        )


def mistakes_of_several(found: Mapping[str, tuple[RecipeMistake, ...]]) -> RecipeError:
    """Make one error of the mistakes of several recipes, by file."""
    if len(found) == 1:
        return RecipeError(*next(iter(found.items())))
    whole = (replace(each, source=each.source or source) for source, mistakes in found.items() for each in mistakes)
    return RecipeError("", tuple(whole), files=len(found))


class RecipeNotFoundError(UsageError):
    """There is no recipe where the command line says.

    Check the path, which is taken from the folder you are in; files that a recipe names are taken from the
    recipe's own folder. `k3s-bundler recipes` lists the recipes that are shipped.
    """

    name = "recipe-not-found"


class UnknownReleaseError(UsageError):
    """The recipe's release is neither a channel of the channel server nor a tag.

    Name one of the channels that the message lists, or an exact tag such as v1.34.1+k3s1.
    """

    name = "release-unknown"


class UnsupportedArchitectureError(UsageError):
    """The release has no binary or images for an architecture of the recipe.

    Take the architecture out of the recipe's `arch`, or use a release that has it.
    """

    name = "architecture-unsupported"


class EngineUnfitError(UsageError):
    """The engine cannot give what the recipe wants of it.

    Use `--engine registry`, which can do everything, or do what the hint says to the daemon.
    """

    name = "engine-unfit"


class OutputExistsError(UsageError):
    """The place of the new bundle is taken.

    Give `--replace` to replace it, or another place with `--output`.
    """

    name = "output-exists"


class ManifestError(UsageError):
    """A manifest is no manifest, or cannot be deployed by k3s as it is.

    The message names file, line or object. `kubectl apply --dry-run=client -f FILE` finds most mistakes; templates have
    to be rendered before.
    """

    name = "manifest-invalid"


class ChartError(UsageError):
    """A chart is no chart, lacks a dependency, or nobody knows which images it needs.

    `helm dependency build` and `helm package` bring dependencies inside. Install `helm`, so that the chart can be
    rendered, or name its images under the chart's `images`.
    """

    name = "chart-invalid"


class NotABundleError(UsageError):
    """The folder given is not a bundle.

    Give the folder that holds install.sh and bundle.json.
    """

    name = "not-a-bundle"


# 3: network, registry, daemon


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


# 4: integrity


class IntegrityError(BundlerError):
    """Bytes are not what their digest, size or format says.

    Nothing of it was used. Run it again; when it stays, something between you and the server changes what is
    sent.
    """

    name = "integrity"
    exit_code = 4


class DigestMismatchError(IntegrityError):
    """The bytes that arrived have another SHA-256 than the one expected.

    Nothing of it was kept. Run it again; when it stays, the file was replaced or a proxy changes downloads: use
    a mirror that you trust.
    """

    name = "digest-mismatch"


class SizeMismatchError(IntegrityError):
    """More or fewer bytes arrived than were promised.

    Run it again; when it stays, the file was replaced or something cuts it short: use another mirror.
    """

    name = "size-mismatch"


class ChecksumMissingError(IntegrityError):
    """The release's checksum file does not name a file it should.

    Nothing unverified is used: check `sources.releases`, or take another release.
    """

    name = "checksum-missing"


class ChecksumFileError(IntegrityError):
    """The release's checksum file is not in the form of sha256sum.

    Check `sources.releases`: the server gave something else than the release's file.
    """

    name = "checksum-file-malformed"


class ImageListError(IntegrityError):
    """The release's list of images is empty or malformed.

    Check `sources.releases`: the server gave something else than the list.
    """

    name = "image-list-malformed"


class MissingPlatformError(IntegrityError):
    """The image exists, but not for an architecture of the recipe.

    Take the architecture out of the recipe's `arch`, or use an image or tag that is built for it.
    """

    name = "image-without-platform"


class WrongArchitectureError(IntegrityError):
    """A config or a binary is of another architecture than its place says.

    It was published wrongly and would not run on the node: use another tag, or build and push it again.
    """

    name = "wrong-architecture"


class UnsupportedImageError(IntegrityError):
    """The image is of a kind that cannot be carried: schema 1, foreign layers, an artifact that is no image.

    Push the image again with a current tool, or use a newer tag; what is no image of a node does not belong
    into a bundle.
    """

    name = "image-unsupported"


class IncompleteImageError(IntegrityError):
    """An image is there, but not all of its layers.

    Push or save the image again, all of it; when a Docker daemon gave it, remove it there first, or use
    `--engine registry`.
    """

    name = "image-incomplete"


class ArchiveError(IntegrityError):
    """An image archive breaks the rules of its format.

    Save the image again with docker save, podman save or skopeo copy; when it is the bundle's own archive,
    build or copy it again.
    """

    name = "archive-malformed"


class BundleDamagedError(IntegrityError):
    """A bundle is not complete or not as it was made; `what` lists every finding.

    Copy the bundle again from where it was built, or build it again; do not install it.
    """

    name = "bundle-damaged"


class BundleIncompleteError(IntegrityError):
    """A bundle lacks an image or a chart that something in it needs; `what` lists every finding.

    Name the image in `images.extra`, the chart under `charts` or `files`, or take out what needs it; then build again.
    """

    name = "bundle-incomplete"


class CacheDamagedError(IntegrityError):
    """A cached file changed behind our back and could not be replaced.

    Build again: what was damaged is fetched again. Then look after the disk; `k3s-bundler cache verify` reads
    everything.
    """

    name = "cache-damaged"


# 5: this machine


class HostError(BundlerError):
    """This machine lacks a tool, a permission or room.

    Do what the hint says; `k3s-bundler doctor` looks at this machine as a whole.
    """

    name = "host"
    exit_code = 5


class DiskFullError(HostError):
    """No room is left on the file system.

    Free some room (`k3s-bundler cache prune` removes what was not used lately), or choose other places with
    `--cache-dir` and `--output`.
    """

    name = "disk-full"


class NotWritableError(HostError):
    """A file or folder cannot be written by this user.

    Check owner and mode, or choose another place with `--cache-dir` and `--output`.
    """

    name = "not-writable"


class CertificateFileError(HostError):
    """A file of certificates that the recipe names cannot be used.

    Correct `ca_file`, `cert_file` and `key_file` under `sources`; paths are from the recipe's folder, files are PEM.
    """

    name = "certificate-file"


class SecretMissingError(HostError):
    """A secret is not where the recipe says, in an environment variable or a file.

    Set the variable or write the file before the build, or correct `auth` under `sources`.

    `what` names the place, never the secret.
    """

    name = "secret-missing"


def host_error(error: OSError, path: Path) -> HostError:
    """Say in our words why `path` could not be written or read."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFullError(
            f"no room is left for {path}: {error.strerror}",
            hint="free some room, or choose another place with --cache-dir and --output",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return NotWritableError(
            f"{path} cannot be used: {error.strerror}",
            hint="check its owner and mode, or choose another place with --cache-dir and --output",
        )
    remedy = _REMEDIES.get(error.errno or 0, "check the file system and its mount")
    return HostError(f"{path}: {error.strerror or error}", hint=remedy)


_IN_THE_WAY = "a file stands where a folder is needed, or a folder where a file is: move it away, or give another place"
_REMEDIES = {
    errno.ENOENT: "correct the path, or make the folder first",
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ENAMETOOLONG: "give a shorter path",
}


# 6: lock


class LockError(BundlerError):
    """The lock is missing, of another recipe, or made with another compressor.

    Run `k3s-bundler lock --update RECIPE`, look at what moved, and commit the lock.
    """

    name = "lock-outdated"
    exit_code = 6


class LockMalformedError(LockError):
    """The lock file cannot be read.

    Make it again with `k3s-bundler lock --update RECIPE`, or use the version of k3s-bundler that wrote it.
    """

    name = "lock-malformed"
