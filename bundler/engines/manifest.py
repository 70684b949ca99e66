"""What registries say about images: indexes, manifests and configs, decoded and checked.

OCI image-spec (image-index.md, manifest.md, config.md) and Docker's schema 2, which differ only in media types.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from bundler.archive.layout import LAYER_TYPES, MANIFEST_TYPES
from bundler.errors import MalformedAnswerError, MissingPlatformError, UnsupportedImageError, WrongArchitectureError
from bundler.model.digest import Digest, parse_digest
from bundler.model.frozen import LARGEST
from bundler.model.platform import Architecture, Platform, rank

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_WORD = re.compile(r"[!-~]{0,200}")
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1"


@dataclass(frozen=True)
class Descriptor:
    """What something else is, by digest, size in bytes and media type; `platform` stands only in an index."""

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None


@dataclass(frozen=True)
class Index:
    """A choice of manifests, one for each platform; an entry may be an index again."""

    entries: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Manifest:
    """One image: its config and its layers, lowest first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Config:
    """The part of an image's config that matters here: what it runs on and what its layers unpack to."""

    platform: Platform
    diff_ids: tuple[Digest, ...]


def parse_manifest(body: bytes, media_type: str, name: str) -> Index | Manifest:
    """Decode an index or manifest; `name` is the image in errors.

    Raises UnsupportedImageError for schema 1, foreign layers and artifacts, MalformedAnswerError for what is no
    manifest at all.
    """
    if media_type.startswith(_SCHEMA_1):
        raise UnsupportedImageError(
            f"{name} is stored in Docker's schema 1, which carries no config",
            hint="push the image again with a Docker newer than 1.10, or use a newer tag",
        )
    try:
        data = json.loads(body)
        _require_one_type(media_type, data)
        if "manifests" in data:
            return Index(tuple(_descriptor(entry) for entry in data["manifests"]))
        manifest = Manifest(_descriptor(data["config"]), tuple(_descriptor(layer) for layer in data["layers"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedAnswerError(
            f"the registry's manifest of {name} cannot be read: {_short(error)}",
            hint="look at it with: skopeo inspect --raw docker://" + name,
        ) from None
    _refuse_odd_layers(manifest, name)
    return manifest


def parse_config(body: bytes, name: str) -> Config:
    """Decode an image config; raises MalformedAnswerError."""
    try:
        data = json.loads(body)
        return Config(_platform(data), tuple(parse_digest(diff_id) for diff_id in data["rootfs"]["diff_ids"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedAnswerError(
            f"the config of {name} cannot be read: {_short(error)}",
            hint="the image was pushed by something that breaks the image spec; build and push it again",
        ) from None


def choose(index: Index, wanted: Architecture, name: str) -> Descriptor:
    """Take the entry that runs best on `wanted`; nested indexes and entries without a platform come last.

    Raises MissingPlatformError that names what there is.
    """
    ranked = [(rank(entry.platform, wanted), entry) for entry in index.entries if entry.platform]
    fitting = [(number, entry) for number, entry in ranked if number is not None]
    if fitting:
        return min(fitting, key=lambda pair: pair[0])[1]
    unlabelled = [entry for entry in index.entries if entry.platform is None]
    if len(unlabelled) == 1:
        return unlabelled[0]
    present = sorted({str(entry.platform) for entry in index.entries if entry.platform and _is_real(entry.platform)})
    raise MissingPlatformError(
        f"{name} is not there for linux/{wanted}; it is there for {', '.join(present) or 'nothing'}",
        hint=f"take {wanted} out of the recipe's arch, or use an image that is built for it",
    )


def require_platform(config: Config, wanted: Architecture, name: str) -> None:
    """Let the config have the last word on what an image runs on; raises WrongArchitectureError."""
    if rank(config.platform, wanted) is None:
        raise WrongArchitectureError(
            f"{name}: its index offers it for linux/{wanted}, but its config says {config.platform}",
            hint="the image was published wrongly and would end in an exec format error on the node; use another tag",
        )


def _require_one_type(served: str, data: dict[str, Any]) -> None:
    """Refuse what one reader may take for an index and another for a manifest (CVE-2021-41190)."""
    stated = data.get("mediaType", "")
    if stated and served in INDEX_TYPES + MANIFEST_TYPES and stated != served:
        raise ValueError(f"the server calls it {served}, it calls itself {stated!r}")
    is_index = "manifests" in data
    if is_index and ("config" in data or "layers" in data):
        raise ValueError("it is an index and a manifest at once")
    if {served, stated} & set(MANIFEST_TYPES if is_index else INDEX_TYPES):
        raise ValueError(f"it is called {served or stated}, which it is not")


def parse_size(value: object) -> int:
    """Check what a descriptor says of its size in bytes; raises ValueError."""
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"{value!r:.40} is not a size")
    return value


def _descriptor(data: dict[str, Any]) -> Descriptor:
    stated = data.get("platform")
    platform = _platform(stated) if stated else None
    return Descriptor(_word(data["mediaType"]), parse_digest(data["digest"]), parse_size(data["size"]), platform)


def _platform(data: dict[str, Any]) -> Platform:
    return Platform(_word(data["os"]), _word(data["architecture"]), _word(data.get("variant") or ""))


def _word(value: object) -> str:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise ValueError(f"{value!r} is not a platform or media type")
    return value


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _is_real(platform: Platform) -> bool:
    # BuildKit's attestations stand in the index as unknown/unknown.
    return platform.os != "unknown"


def _refuse_odd_layers(manifest: Manifest, name: str) -> None:
    for layer in manifest.layers:
        if layer.media_type in LAYER_TYPES:
            continue
        foreign = "foreign" in layer.media_type or "nondistributable" in layer.media_type
        why = "its publisher does not let registries hand it out" if foreign else "it is no file system layer"
        raise UnsupportedImageError(
            f"{name} has a layer of the kind {layer.media_type}: {why}",
            hint="only images that a node can run belong into a bundle; leave this one out",
        )
