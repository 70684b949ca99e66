"""Every failure a person can meet: what happened, what to do next, and the exit code.

    BundlerError           base
    |- UsageError       2  use        the command line or the recipe is wrong
    |- NetworkError     3  network    a server, registry or daemon did not give what was asked
    |- IntegrityError   4  integrity  bytes are not what they should be
    |- HostError        5  host       this machine lacks a tool, a permission or room
    `- LockError        6  lock       the lock does not fit the recipe

Names end up in messages as `error[name]`. The first paragraph of a docstring says what the error means, the second what
a person can do: docs/errors.md is made of them. Nothing else of this package is imported here, and errors are imported
from here, whatever their module.
"""

from __future__ import annotations

from bundler.errors.base import BundlerError
from bundler.errors.host import (
    CertificateFileError,
    DiskFullError,
    HostError,
    NotWritableError,
    SecretMissingError,
    host_error,
)
from bundler.errors.integrity import (
    ArchiveError,
    BundleDamagedError,
    BundleIncompleteError,
    CacheDamagedError,
    ChecksumFileError,
    ChecksumMissingError,
    DigestMismatchError,
    ImageListError,
    IncompleteImageError,
    IntegrityError,
    MissingPlatformError,
    SizeMismatchError,
    UnsupportedImageError,
    WrongArchitectureError,
)
from bundler.errors.lock import LockError, LockMalformedError
from bundler.errors.network import (
    AccessDeniedError,
    AssetNotFoundError,
    BuildFailedError,
    DaemonFailedError,
    DaemonPermissionError,
    DaemonUnavailableError,
    HostUnreachableError,
    ImageNotFoundError,
    MalformedAnswerError,
    NetworkError,
    RateLimitError,
    ServerError,
    StalledError,
)
from bundler.errors.use import (
    ChartError,
    EngineUnfitError,
    ManifestError,
    NotABundleError,
    OutputExistsError,
    RecipeError,
    RecipeMistake,
    RecipeNotFoundError,
    UnknownReleaseError,
    UnsupportedArchitectureError,
    UsageError,
    mistakes_of_several,
)

__all__ = [
    "AccessDeniedError",
    "ArchiveError",
    "AssetNotFoundError",
    "BuildFailedError",
    "BundleDamagedError",
    "BundleIncompleteError",
    "BundlerError",
    "CacheDamagedError",
    "CertificateFileError",
    "ChartError",
    "ChecksumFileError",
    "ChecksumMissingError",
    "DaemonFailedError",
    "DaemonPermissionError",
    "DaemonUnavailableError",
    "DigestMismatchError",
    "DiskFullError",
    "EngineUnfitError",
    "HostError",
    "HostUnreachableError",
    "ImageListError",
    "ImageNotFoundError",
    "IncompleteImageError",
    "IntegrityError",
    "LockError",
    "LockMalformedError",
    "MalformedAnswerError",
    "ManifestError",
    "MissingPlatformError",
    "NetworkError",
    "NotABundleError",
    "NotWritableError",
    "OutputExistsError",
    "RateLimitError",
    "RecipeError",
    "RecipeMistake",
    "RecipeNotFoundError",
    "SecretMissingError",
    "ServerError",
    "SizeMismatchError",
    "StalledError",
    "UnknownReleaseError",
    "UnsupportedArchitectureError",
    "UnsupportedImageError",
    "UsageError",
    "WrongArchitectureError",
    "host_error",
    "mistakes_of_several",
]
