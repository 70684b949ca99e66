"""Images that are to be carried beside those of k3s, each with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bundler.model.reference import Reference


@dataclass(frozen=True)
class WantedImage:
    """An image and what needs it, in words."""

    reference: Reference
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What a recipe wants, each name once, sorted by name. `helm_charts`: it brings objects for the Helm controller."""

    images: tuple[WantedImage, ...] = ()
    helm_charts: bool = False

    @property
    def references(self) -> tuple[Reference, ...]:
        """The images without their reasons."""
        return tuple(image.reference for image in self.images)

    @property
    def pins_digests(self) -> bool:
        """Say whether something names an image by digest, so that nodes must know it so, wherever it comes from."""
        return any(reference.digest for reference in self.references)

    def reasons(self, name: str) -> tuple[str, ...]:
        """Say what needs the image called `name`; nothing when it is not wanted."""
        return next((image.reasons for image in self.images if image.reference.name == name), ())
