"""6: the lock does not fit the recipe."""

from __future__ import annotations

from bundler.errors.base import BundlerError


class LockError(BundlerError):
    """The lock is missing or outdated, or it was edited so that it contradicts its recipe.

    It is outdated when the recipe changed, a file that it names (a manifest, a chart, an archive of images, a build's
    context), an image in the Docker engine, or the compressor (libzstd, its level or window). Run
    `k3s-bundler lock --update RECIPE`, look at what moved, and commit the lock.
    """

    name = "lock-outdated"
    exit_code = 6


class LockMalformedError(LockError):
    """The lock file cannot be read.

    Make it again with `k3s-bundler lock --update RECIPE`, or use the version of k3s-bundler that wrote it.
    """

    name = "lock-malformed"
