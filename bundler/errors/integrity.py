"""4: bytes are not what they should be."""

from __future__ import annotations

from bundler.errors.base import BundlerError


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
