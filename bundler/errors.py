"""Every failure a person can meet: what happened, what to do next, and the exit code.

    BundlerError
    |- UsageError            2  the command line or the recipe is wrong
    |- NetworkError          3  a server, registry or daemon did not give what was asked
    |- IntegrityError        4  bytes are not what they should be
    |- HostError             5  this machine lacks a tool, a permission or room
    `- LockError             6  the lock does not fit the recipe

Names end up in messages as `error[name]`. Nothing of this package is imported here.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
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
    """The command line asks for something that does not exist or does not fit together."""

    name = "wrong-use"
    exit_code = 2


@dataclass(frozen=True, order=True)
class RecipeMistake:
    """One mistake of a recipe and its place; line and column count from 1, `path` is empty for the file itself."""

    line: int
    column: int
    path: str
    what: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"{self.line}:{self.column}", self.path, self.what) if part)


class RecipeError(UsageError):
    """The recipe has mistakes; `what` lists them, one a line, each with its place.

    `mistakes` has all of them in the order of the file, `source` is the file as the person named it.
    """

    name = "recipe-invalid"
    most_shown: ClassVar[int] = 100

    def __init__(self, source: str, mistakes: tuple[RecipeMistake, ...]) -> None:
        self.source = source
        self.mistakes = mistakes
        count = "one mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        lines = [f"{source} has {count}:", *(f"{source}:{mistake}" for mistake in mistakes[: self.most_shown])]
        if len(mistakes) > self.most_shown:
            lines.append(f"... and {len(mistakes) - self.most_shown} more")
        super().__init__(
            "\n".join(lines),
            hint="docs/recipe.md explains every key; `k3s-bundler schema` prints the schema editors complete from",
        )


class RecipeNotFoundError(UsageError):
    """There is no recipe where the command line says."""

    name = "recipe-not-found"


class UnknownReleaseError(UsageError):
    """The recipe's release is neither a channel of the channel server nor a tag."""

    name = "release-unknown"


class UnsupportedArchitectureError(UsageError):
    """The release has no binary or images for an architecture of the recipe."""

    name = "architecture-unsupported"


class EngineUnfitError(UsageError):
    """The engine cannot give what the recipe wants of it."""

    name = "engine-unfit"


class OutputExistsError(UsageError):
    """The place of the new bundle is taken."""

    name = "output-exists"


class NotABundleError(UsageError):
    """The folder given is not a bundle."""

    name = "not-a-bundle"


# 3: network, registry, daemon


class NetworkError(BundlerError):
    """A server did not answer, or broke off more often than retries allow."""

    name = "network"
    exit_code = 3


class HostUnreachableError(NetworkError):
    """The host's name does not resolve or nothing accepts the connection."""

    name = "host-unreachable"


class AssetNotFoundError(NetworkError):
    """The release server has no such file."""

    name = "asset-not-found"


class ImageNotFoundError(NetworkError):
    """The registry has no such repository or tag, or shows it to nobody without an account."""

    name = "image-not-found"


class AccessDeniedError(NetworkError):
    """The server knows who asks and refuses, or wants to know who asks."""

    name = "access-denied"


class RateLimitError(NetworkError):
    """The server limits how often may be asked, and the limit is used up."""

    name = "rate-limited"


class ServerError(NetworkError):
    """The server failed (5xx) more often than retries allow."""

    name = "server-error"


class MalformedAnswerError(NetworkError):
    """The answer is not what the protocol says: no JSON, too long, the wrong kind."""

    name = "answer-malformed"


class StalledError(NetworkError):
    """Nothing arrived for so long that the transfer was given up."""

    name = "stalled"


class DaemonUnavailableError(NetworkError):
    """No Docker daemon answers."""

    name = "daemon-unavailable"


class DaemonPermissionError(NetworkError):
    """The Docker socket is there, but not for this user."""

    name = "daemon-permission"


class DaemonFailedError(NetworkError):
    """The Docker daemon answered with an error or went away in the middle."""

    name = "daemon-failed"


# 4: integrity


class IntegrityError(BundlerError):
    """Bytes are not what their digest, size or format says."""

    name = "integrity"
    exit_code = 4


class DigestMismatchError(IntegrityError):
    """The bytes that arrived have another SHA-256 than the one expected."""

    name = "digest-mismatch"


class SizeMismatchError(IntegrityError):
    """More or fewer bytes arrived than were promised."""

    name = "size-mismatch"


class ChecksumMissingError(IntegrityError):
    """The release's checksum file does not name a file it should."""

    name = "checksum-missing"


class ChecksumFileError(IntegrityError):
    """The release's checksum file is not in the form of sha256sum."""

    name = "checksum-file-malformed"


class ImageListError(IntegrityError):
    """The release's list of images is empty or malformed."""

    name = "image-list-malformed"


class MissingPlatformError(IntegrityError):
    """The image exists, but not for an architecture of the recipe."""

    name = "image-without-platform"


class WrongArchitectureError(IntegrityError):
    """A config or a binary is of another architecture than its place says."""

    name = "wrong-architecture"


class UnsupportedImageError(IntegrityError):
    """The image is of a kind that cannot be carried: schema 1, foreign layers, an artifact that is no image."""

    name = "image-unsupported"


class IncompleteImageError(IntegrityError):
    """An image is there, but not all of its layers."""

    name = "image-incomplete"


class ArchiveError(IntegrityError):
    """An image archive breaks the rules of its format."""

    name = "archive-malformed"


class BundleDamagedError(IntegrityError):
    """A bundle is not complete or not as it was made; `what` lists every finding."""

    name = "bundle-damaged"


class CacheDamagedError(IntegrityError):
    """A cached file changed behind our back and could not be replaced."""

    name = "cache-damaged"


# 5: this machine


class HostError(BundlerError):
    """This machine lacks a tool, a permission or room."""

    name = "host"
    exit_code = 5


class DiskFullError(HostError):
    """No room is left on the file system."""

    name = "disk-full"


class NotWritableError(HostError):
    """A file or folder cannot be written by this user."""

    name = "not-writable"


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
    return HostError(f"{path}: {error.strerror or error}", hint="check the file system and its mount")


# 6: lock


class LockError(BundlerError):
    """The lock is missing, of another recipe, or made with another compressor."""

    name = "lock-outdated"
    exit_code = 6


class LockMalformedError(LockError):
    """The lock file cannot be read."""

    name = "lock-malformed"
