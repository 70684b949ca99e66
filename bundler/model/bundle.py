"""What a bundle says of itself: `bundle.json`, and the names of its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from bundler.errors import NotABundleError, host_error
from bundler.model.carried import CarriedFile
from bundler.model.digest import DigestField
from bundler.model.frozen import Frozen, Size
from bundler.model.lock import LayerForm, Lock
from bundler.model.platform import Architecture
from bundler.model.release import parse_release

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MANIFEST = "bundle.json"
LOCK = "lock.json"
FACTS = "bundle.facts"
INSTALLER = "install.sh"
README = "README.txt"
IMAGE_LIST = "k3s-images.txt"  # not below images/: k3s would pull what such a file there names
REGISTRIES = "etc/registries.yaml"
CONFIG = "etc/config.yaml"
CONFIG_SERVER = "etc/config-server.yaml"
CONFIG_FIRST_SERVER = "etc/config-first-server.yaml"
CONFIG_AGENT = "etc/config-agent.yaml"
ARCHIVES = "images/"
"""What the paths of all image archives begin with."""

_MOST_BYTES = 64 << 20


class BundledImage(Frozen):
    """An image in an archive. `size` is bytes of its blobs there, shared layers included."""

    name: str
    platform: str
    index: DigestField
    manifest: DigestField
    config: DigestField
    layers: int
    size: Size


class BundledArchive(Frozen):
    """An image archive by its path in the bundle; `unpacked` is bytes of its distinct layers on a node."""

    path: str
    arch: Architecture
    unpacked: Size
    images: tuple[BundledImage, ...]


class BundledBinary(Frozen):
    """The k3s binary of one architecture."""

    path: str
    arch: Architecture
    digest: DigestField
    size: Size


class Bundle(Frozen):
    """The content of `bundle.json`. `digest_names` says that nodes have to know images by `repository@digest` too."""

    format_version: Literal[1] = 1
    name: str
    release: str
    layers: LayerForm
    binaries: tuple[BundledBinary, ...]
    archives: tuple[BundledArchive, ...]
    files: tuple[CarriedFile, ...] = ()
    digest_names: bool = False
    asked: tuple[str, ...] = ()
    """What the operator has to fill in in registries.yaml: registry and key, with a blank between."""


def parse_bundle(data: bytes, source: str) -> Bundle:
    """Read `bundle.json`; raises NotABundleError."""
    try:
        return Bundle.model_validate_json(data, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise NotABundleError(
            f"{source} is not of bundle format 1: {place}: {first['msg']}",
            hint="it was made by another version of k3s-bundler, or damaged",
        ) from None


def read_bundle(folder: Path) -> Bundle:
    """Read what the bundle in `folder` says of itself; raises NotABundleError."""
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise no_bundle(folder, MANIFEST) from None
    except OSError as error:
        raise host_error(error, path) from error
    return parse_bundle(data, str(path))


def no_bundle(folder: Path, name: str) -> NotABundleError:
    """Say that `folder` is no bundle, because it has no `name`."""
    packed = f"unpack it first: tar -xf {folder}; then give the folder" if folder.suffix == ".tar" else None
    return NotABundleError(
        f"{folder} is no bundle: it has no {name}",
        hint=packed or "give the folder that holds install.sh and bundle.json",
    )


def bundle_name(lock: Lock) -> str:
    """Name the bundle's folder: letters, digits, dots and dashes, which survive FAT32 and release assets."""
    architectures = [each.arch for each in lock.architectures]
    suffix = architectures[0] if len(architectures) == 1 else "multi"
    return f"{lock.name}-{parse_release(lock.release).path_name}-{suffix}"


def binary_path(arch: Architecture) -> str:
    """Say where the binary lies; always with its architecture, unlike the release's own names."""
    return f"bin/k3s-{arch}"


def archive_path(stem: str, arch: Architecture, suffix: str) -> str:
    """Say where an image archive lies."""
    return f"{ARCHIVES}{stem}-images-{arch}{suffix}"


def facts_text(bundle: Bundle) -> bytes:
    """Write `bundle.facts`: `key=value` lines for a shell that reads and never sources them; keys may repeat."""
    lines = ["format=1", f"recipe={bundle.name}", f"release={bundle.release}"]
    lines += [f"arch={binary.arch}" for binary in bundle.binaries]
    lines += [f"layers={bundle.layers}"]
    for binary in bundle.binaries:
        own = [archive for archive in bundle.archives if archive.arch == binary.arch]
        lines += [f"binary.{binary.arch}={binary.path}"]
        lines += [f"archive.{binary.arch}={archive.path}" for archive in own]
        lines += [f"image.{binary.arch}={image.name}" for archive in own for image in archive.images]
        lines += [
            f"digest.{binary.arch}={name}" for archive in own for image in archive.images for name in _pins(image)
        ]
        lines += [f"unpacked.{binary.arch}={_total(own)}"]
    lines += ["digest-names=yes"] if bundle.digest_names else []
    lines += [f"file={file.mode} {file.role} {file.path} {file.target}" for file in bundle.files if file.target]
    lines += [f"asked={each}" for each in bundle.asked]
    return "".join(f"{line}\n" for line in lines).encode()


def _total(archives: Sequence[BundledArchive]) -> int:
    return sum(archive.unpacked for archive in archives)


def _pins(image: BundledImage) -> list[str]:
    """Give the names that pods may pin an image by, each with the name it has in the archive."""
    repository = image.name.rpartition(":")[0]
    return [f"{image.name} {repository}@{digest}" for digest in dict.fromkeys((image.index, image.manifest))]
