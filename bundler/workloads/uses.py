"""What a search for images finds: images that are needed for certain, what may be one, and what to tell the builder."""

from __future__ import annotations

from dataclasses import dataclass

from bundler.model.reference import Reference, parse_reference

_PIN = 16  # hexadecimal digits of a digest in the tag of an image that has none


@dataclass(frozen=True, order=True)
class ImageUse:
    """An image that an object names; `where` says which object and which part of it, `text` is the name as written."""

    reference: Reference
    text: str
    where: str


@dataclass(frozen=True, order=True)
class Maybe:
    """Text that looks like an image where no rule says that it is one."""

    text: str
    where: str


@dataclass(frozen=True, order=True)
class ChartUse:
    """A chart that an object takes from the disk of a server: its path in k3s's static folder, and which object."""

    path: str
    where: str


@dataclass(frozen=True)
class Findings:
    """What was found in manifests or charts. `helm_charts` says whether an object needs the Helm controller."""

    uses: tuple[ImageUse, ...] = ()
    maybes: tuple[Maybe, ...] = ()
    notes: tuple[str, ...] = ()
    helm_charts: bool = False
    charts: tuple[ChartUse, ...] = ()

    def __add__(self, other: Findings) -> Findings:
        return Findings(
            self.uses + other.uses,
            self.maybes + other.maybes,
            self.notes + other.notes,
            self.helm_charts or other.helm_charts,
            self.charts + other.charts,
        )


def pod_image(text: str) -> Reference:
    """Read an image as the kubelet does: short names mean Docker Hub, no tag means `latest`; raises ValueError.

    `repository@digest` has no tag, and k3s imports nothing without one (k3s pkg/agent/containerd, parseNamedTagged): it
    gets a tag of its own, made of its digest.
    """
    path, at, digest = text.partition("@")
    if at and ":" not in path.rpartition("/")[2]:
        algorithm, _, value = digest.partition(":")
        return parse_reference(f"{path}:pinned-{value[:_PIN]}@{algorithm}:{value}")
    return parse_reference(text)


def is_latest(text: str) -> bool:
    """Say whether Kubernetes takes `Always` for pull policy by itself: no tag or `latest`, and no digest."""
    return "@" not in text and pod_image(text).tag == "latest"
