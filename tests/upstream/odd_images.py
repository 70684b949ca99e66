"""Images that are unusual, and images that are wrong."""

from __future__ import annotations

from dataclasses import replace

from tests.upstream.images import (
    DOCKER,
    OCI,
    PLATFORMS,
    Image,
    base_layer,
    index_of,
    multi_platform,
    platform_entry,
    platform_image,
    standard_image,
)
from tests.upstream.layers import Entry, layer

SINGLE = "docker.io/example/single:1.0"
"""The tag names the manifest of linux/amd64; there is no index."""

NESTED = "docker.io/example/nested:1.0"
"""An index whose only entry is an index."""

NO_ARM64 = "docker.io/example/no-arm64:1.0"
"""An image for amd64 and arm/v7 alone."""

WRONG_ARCHITECTURE = "docker.io/example/wrong-architecture:1.0"
"""The index says linux/arm64/v8, the config of that image says linux/amd64."""

WRONG_DIFF_ID = "docker.io/example/wrong-diff-id:1.0"
"""Digests of all blobs are right, but the layers are not those that the configs name."""


def odd_images() -> tuple[Image, ...]:
    """Make one image of each kind above."""
    return (
        _single(),
        _nested(),
        standard_image(NO_ARM64, platforms=PLATFORMS[::2]),
        _wrong_architecture(),
        _wrong_diff_id(),
    )


def image_with_a_layer_twice(reference: str) -> Image:
    """Build an image whose manifest lists one layer two times, as `COPY` of the same files twice gives it."""
    again = layer(Entry("etc/again", b"the same layer, two times\n"))
    images = (platform_image(DOCKER, platform, (base_layer(platform), again, again)) for platform in PLATFORMS)
    return multi_platform(reference, DOCKER, tuple(images))


def _single() -> Image:
    image = platform_image(DOCKER, "linux/amd64", (base_layer("linux/amd64"),))
    return Image(SINGLE, image.manifest, (image,))


def _nested() -> Image:
    images = tuple(platform_image(OCI, platform, (base_layer(platform),)) for platform in PLATFORMS)
    inner = index_of(OCI, [platform_entry(image) for image in images])
    entry = {"mediaType": inner.media_type, "digest": inner.digest, "size": len(inner.data)}
    return Image(NESTED, index_of(OCI, [entry]), images, inner_indexes=(inner,))


def _wrong_architecture() -> Image:
    lies = {"linux/arm64/v8": "linux/amd64"}
    images = (platform_image(DOCKER, name, (base_layer(name),), claims=lies.get(name, "")) for name in PLATFORMS)
    return multi_platform(WRONG_ARCHITECTURE, DOCKER, tuple(images))


def _wrong_diff_id() -> Image:
    other = layer(Entry("etc/other", b"a layer that the config does not name\n"))
    layers = {name: replace(other, diff_id=base_layer(name).diff_id) for name in PLATFORMS}
    images = (platform_image(DOCKER, name, (layers[name],)) for name in PLATFORMS)
    return multi_platform(WRONG_DIFF_ID, DOCKER, tuple(images))
