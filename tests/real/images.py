"""Multi-architecture images under k3s's real names, described by every digest they have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bundler.model.platform import ARCHITECTURES, Platform
from tests.real.layers import (
    Layer,
    awkward_layer,
    base_layer,
    digest_of,
    incompressible_layer,
    text_layer,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.model.platform import Architecture

Style = Literal["docker", "oci"]

K3S_IMAGE_LIST: tuple[str, ...] = (
    "docker.io/rancher/klipper-helm:v0.9.8-build20250709",
    "docker.io/rancher/klipper-lb:v0.4.13",
    "docker.io/rancher/local-path-provisioner:v0.0.32",
    "docker.io/rancher/mirrored-coredns-coredns:1.12.3",
    "docker.io/rancher/mirrored-library-busybox:1.36.1",
    "docker.io/rancher/mirrored-library-traefik:3.3.6",
    "docker.io/rancher/mirrored-metrics-server:v0.8.0",
    "docker.io/rancher/mirrored-pause:3.6",
)
"""The lines of k3s-images.txt of v1.34.1+k3s1 (k3s-io/k3s@24fc436e scripts/airgap/image-list.txt)."""

PLATFORMS: dict[Architecture, Platform] = {
    "amd64": Platform("linux", "amd64"),
    "arm64": Platform("linux", "arm64", "v8"),
    "arm": Platform("linux", "arm", "v7"),
}

_CREATED = "2025-09-15T00:00:00Z"
_DOCKER = "application/vnd.docker"
_OCI = "application/vnd.oci.image"
_INDEX_TYPE: dict[Style, str] = {
    "docker": f"{_DOCKER}.distribution.manifest.list.v2+json",
    "oci": f"{_OCI}.index.v1+json",
}
_MANIFEST_TYPE: dict[Style, str] = {
    "docker": f"{_DOCKER}.distribution.manifest.v2+json",
    "oci": f"{_OCI}.manifest.v1+json",
}
_CONFIG_TYPE: dict[Style, str] = {
    "docker": f"{_DOCKER}.container.image.v1+json",
    "oci": f"{_OCI}.config.v1+json",
}
_LAYER_TYPE: dict[Style, str] = {"docker": f"{_DOCKER}.image.rootfs.diff.tar", "oci": f"{_OCI}.layer.v1.tar"}
_INDENT: dict[Style, int] = {"docker": 3, "oci": 2}  # as Docker and BuildKit write them: digests are over these bytes


@dataclass(frozen=True)
class Document:
    """A manifest or index as a registry serves it."""

    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        """Digest of the very bytes."""
        return digest_of(self.content)


@dataclass(frozen=True)
class PlatformImage:
    """What an image is on one platform."""

    platform: Platform
    """What the index says; the config says the same but in `ImageSet.lying`."""
    manifest: Document
    config: bytes
    layers: tuple[Layer, ...]

    @property
    def config_digest(self) -> str:
        """Image ID in classic engines."""
        return digest_of(self.config)

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """Digests of the uncompressed layers, in order; one can stand twice."""
        return tuple(layer.diff_id for layer in self.layers)


@dataclass(frozen=True)
class Image:
    """One tagged image with all its platforms."""

    reference: str
    """Full name, e.g. `docker.io/rancher/mirrored-pause:3.6`."""
    top: Document
    """What the tag names: an index, or the manifest of an image without one."""
    platforms: tuple[PlatformImage, ...]
    attestations: tuple[PlatformImage, ...] = ()

    @property
    def repository(self) -> str:
        """Path in a registry: `rancher/mirrored-pause`."""
        return self.reference.partition("/")[2].rpartition(":")[0]

    @property
    def tag(self) -> str:
        """Text after the last colon."""
        return self.reference.rpartition(":")[2]

    def on(self, architecture: Architecture) -> PlatformImage:
        """The image of one architecture; raises LookupError when it has none."""
        for image in self.platforms:
            if image.platform.architecture == architecture:
                return image
        raise LookupError(f"{self.reference} has no {architecture}")


@dataclass(frozen=True)
class ImageSet:
    """Every image the tests use."""

    k3s: tuple[Image, ...]
    """The images of `K3S_IMAGE_LIST`, in its order: docker lists and OCI indexes with attestations by turns, all
    layers gzip; traefik has arm/v6 only; local-path-provisioner uses one layer twice."""
    zstd_layers: Image
    """Good, with zstd layers, which Docker before 23.0 cannot pull."""
    single_platform: Image
    """amd64 only, its tag names a manifest and no index."""
    without_arm64: Image
    """Its index has amd64 and arm."""
    lying: Image
    """The arm64 entry of its index leads to a config and layers of amd64."""
    missing_layer: Image
    """Complete here; `publish_missing_layer` takes its last arm64 layer out of the registry."""


def build_images(programs: Mapping[Architecture, Path]) -> ImageSet:
    """Build all of them from the busybox programs of each architecture."""
    bases = {name: base_layer(programs[name].read_bytes()) for name in ARCHITECTURES}
    return ImageSet(
        k3s=tuple(_k3s_image(reference, position, bases) for position, reference in enumerate(K3S_IMAGE_LIST)),
        zstd_layers=_image(
            "docker.io/tests/zstd-layers:1.0",
            "oci",
            {name: (bases[name], text_layer("etc/zstd", f"zstd on {name}\n", "zstd")) for name in ARCHITECTURES},
        ),
        single_platform=_single("docker.io/tests/single-platform:1.0", (bases["amd64"], _own("single", "amd64"))),
        without_arm64=_image(
            "docker.io/tests/without-arm64:1.0",
            "docker",
            {name: (bases[name], _own("without-arm64", name)) for name in ("amd64", "arm")},
        ),
        lying=_lying("docker.io/tests/lying:1.0", bases),
        missing_layer=_image(
            "docker.io/tests/missing-layer:1.0",
            "oci",
            {name: (bases[name], _own("missing-layer", name)) for name in ARCHITECTURES},
        ),
    )


def big_image(reference: str, size: int) -> Image:
    """An image whose only layer has `size` incompressible bytes on each architecture."""
    layers = {name: (incompressible_layer(f"{reference} {name}", size),) for name in ARCHITECTURES}
    return _image(reference, "oci", layers)


def amd64_image(reference: str, layers: tuple[Layer, ...]) -> Image:
    """An image of these layers for amd64, behind a manifest list."""
    return _image(reference, "docker", {"amd64": layers})


def _k3s_image(reference: str, position: int, bases: Mapping[Architecture, Layer]) -> Image:
    style: Style = "docker" if position % 2 else "oci"
    name = reference.rpartition("/")[2].partition(":")[0]
    layers: dict[Architecture, tuple[Layer, ...]] = {}
    for architecture in ARCHITECTURES:
        base, own = bases[architecture], _own(name, architecture)
        layers[architecture] = {
            "local-path-provisioner": (base, own, text_layer("etc/between", "between the same layer twice\n"), own),
            "mirrored-metrics-server": (base, awkward_layer(f"{name} {architecture}\n"), own),
            "mirrored-pause": (own,),
        }.get(name, (base, own))
    platforms = dict(PLATFORMS)
    if name == "mirrored-library-traefik":
        platforms["arm"] = Platform("linux", "arm", "v6")  # upstream publishes no v7 (k3s-io/k3s#13330)
    if name == "klipper-lb":
        platforms["arm64"] = Platform("linux", "arm64")  # as valid as v8, and as common
    return _image(reference, style, layers, platforms)


def _own(name: str, architecture: Architecture) -> Layer:
    return text_layer(f"etc/{name}", f"{name} for {architecture}\n" * 50)


def _image(
    reference: str,
    style: Style,
    layers: Mapping[Architecture, tuple[Layer, ...]],
    platforms: Mapping[Architecture, Platform] = PLATFORMS,
) -> Image:
    images = tuple(_platform_image(style, platforms[name], layers[name]) for name in layers)
    return _indexed(reference, style, images)


def _indexed(reference: str, style: Style, images: tuple[PlatformImage, ...]) -> Image:
    attestations = tuple(_attestation(image) for image in images) if style == "oci" else ()
    entries = [
        {**_descriptor(image.manifest.media_type, image.manifest.content), "platform": _platform(image.platform)}
        for image in images
    ]
    entries += [
        {
            **_descriptor(proof.manifest.media_type, proof.manifest.content),
            "annotations": {
                "vnd.docker.reference.digest": image.manifest.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            "platform": {"architecture": "unknown", "os": "unknown"},
        }
        for image, proof in zip(images, attestations, strict=bool(attestations))
    ]
    index = _document(style, _INDEX_TYPE[style], {"manifests": entries})
    return Image(reference, index, images, attestations)


def _single(reference: str, layers: tuple[Layer, ...]) -> Image:
    image = _platform_image("oci", PLATFORMS["amd64"], layers)
    return Image(reference, image.manifest, (image,))


def _lying(reference: str, bases: Mapping[Architecture, Layer]) -> Image:
    true = _platform_image("docker", PLATFORMS["amd64"], (bases["amd64"], _own("lying", "amd64")))
    false = PlatformImage(PLATFORMS["arm64"], true.manifest, true.config, true.layers)
    return _indexed(reference, "docker", (true, false))


def _platform_image(style: Style, platform: Platform, layers: tuple[Layer, ...]) -> PlatformImage:
    config = json.dumps(
        {
            **_platform(platform),
            "created": _CREATED,
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": _CREATED, "created_by": f"layer {number}"} for number in range(len(layers))],
        },
        separators=(",", ":"),
    ).encode()
    entries = [_descriptor(f"{_LAYER_TYPE[style]}{_suffix(style, layer)}", layer.blob) for layer in layers]
    body = {"config": _descriptor(_CONFIG_TYPE[style], config), "layers": entries}
    return PlatformImage(platform, _document(style, _MANIFEST_TYPE[style], body), config, layers)


def _attestation(image: PlatformImage) -> PlatformImage:
    """Provenance as BuildKit attaches it: a manifest of its own whose layer is a JSON document."""
    statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1", "subject": image.manifest.digest}).encode()
    layer = Layer(digest_of(statement), "none", statement)
    unknown = Platform("unknown", "unknown")
    config = json.dumps({**_platform(unknown), "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}}).encode()
    annotations = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    entry = {**_descriptor("application/vnd.in-toto+json", statement), "annotations": annotations}
    body = {"config": _descriptor(_CONFIG_TYPE["oci"], config), "layers": [entry]}
    return PlatformImage(unknown, _document("oci", _MANIFEST_TYPE["oci"], body), config, (layer,))


def _document(style: Style, media_type: str, body: Mapping[str, object]) -> Document:
    content = {"schemaVersion": 2, "mediaType": media_type, **body}
    return Document(media_type, json.dumps(content, indent=_INDENT[style]).encode())


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _platform(platform: Platform) -> dict[str, str]:
    named = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {key: value for key, value in named.items() if value}


def _suffix(style: Style, layer: Layer) -> str:
    return f".{layer.compression}" if style == "docker" else f"+{layer.compression}"


def layers_of(images: Sequence[Image], architecture: Architecture) -> frozenset[Layer]:
    """Every layer the images need on one architecture, each once: what a build has to fetch."""
    return frozenset(layer for image in images for layer in image.on(architecture).layers)
