"""5: this machine lacks a tool, a permission or room."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bundler.errors.base import BundlerError

if TYPE_CHECKING:
    from pathlib import Path


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


def host_error(error: OSError, path: Path, *, hint: str | None = None) -> HostError:
    """Say in our words why `path` could not be written or read; `hint` is for a place that no option names."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return DiskFullError(
            f"no room is left for {path}: {error.strerror}",
            hint=hint or "free some room, or choose another place with --cache-dir and --output",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return NotWritableError(
            f"{path} cannot be used: {error.strerror}",
            hint=hint or "check its owner and mode, or choose another place with --cache-dir and --output",
        )
    remedy = _REMEDIES.get(error.errno or 0, "check the file system and its mount")
    return HostError(f"{path}: {error.strerror or error}", hint=hint or remedy)


_IN_THE_WAY = "a file stands where a folder is needed, or a folder where a file is: move it away, or give another place"
_REMEDIES = {
    errno.ENOENT: "correct the path, or make the folder first",
    errno.EEXIST: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ENAMETOOLONG: "give a shorter path",
}
