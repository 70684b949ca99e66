"""Everything an upstream has to serve: releases, channels and images."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.upstream.images import BUILDKIT, DOCKER, OCI, PLATFORMS, Image, Shape, standard_image
from tests.upstream.odd_images import image_with_a_layer_twice, odd_images
from tests.upstream.release import CHANNELS, IMAGE_LISTS, PublishedRelease, standard_releases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.upstream.layers import Filler

EXTRA_IMAGE = "docker.io/example/hello:1.0"
"""A good image that is in no release's list."""

FILLED_IMAGE = "klipper-helm"
"""The image that is made bigger when a filler is asked for."""


@dataclass(frozen=True)
class Content:
    """What an upstream serves. `channels` maps a channel to its tag, or to None when it has none."""

    releases: tuple[PublishedRelease, ...]
    channels: Mapping[str, str | None]
    images: tuple[Image, ...]

    def release(self, tag: str) -> PublishedRelease:
        """Give the release; raises LookupError."""
        for release in self.releases:
            if release.tag == tag:
                return release
        raise LookupError(tag)

    def image(self, reference: str) -> Image:
        """Give the image by its full reference; raises LookupError."""
        for image in self.images:
            if image.reference == reference:
                return image
        raise LookupError(reference)


@functools.cache
def standard_content(filler: Filler | None = None) -> Content:
    """Make three releases, the images of their lists, an extra image and the odd ones; the same bytes every time.

    With `filler`, klipper-helm has a layer of that bulk.
    """
    references = sorted({reference for images in IMAGE_LISTS.values() for reference in images})
    images = [_k3s_image(reference, filler) for reference in references]
    return Content(standard_releases(), CHANNELS, (*images, standard_image(EXTRA_IMAGE, BUILDKIT), *odd_images()))


def _k3s_image(reference: str, filler: Filler | None) -> Image:
    name = reference.rpartition("/")[2].partition(":")[0]
    if name == "local-path-provisioner":
        return image_with_a_layer_twice(reference)
    # Upstream publishes traefik for arm/v6 only, everything else for arm/v7 (k3s-io/k3s#13330).
    platforms = (*PLATFORMS[:2], "linux/arm/v6") if "traefik" in name else PLATFORMS
    return standard_image(reference, _shape(name), platforms, filler if name == FILLED_IMAGE else None)


def _shape(name: str) -> Shape:
    if "metrics-server" in name:
        return OCI
    return BUILDKIT if "coredns" in name or "pause" in name else DOCKER
