"""`k3s-images.txt`, and which of its images a cluster needs (k3s scripts/airgap/image-list.txt, cmds/stage.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import ImageListError
from bundler.model.reference import Reference, parse_reference

if TYPE_CHECKING:
    from collections.abc import Iterable

HELM_CHARTS = "HelmChart objects"
"""Stands among the components for what a recipe brings along that the Helm controller installs."""

NEEDED_BY: dict[str, frozenset[str]] = {
    "coredns": frozenset({"coredns"}),
    "coredns-coredns": frozenset({"coredns"}),
    "local-path-provisioner": frozenset({"local-storage"}),
    "library-busybox": frozenset({"local-storage"}),  # the helper pod that makes and removes volumes
    "busybox": frozenset({"local-storage"}),
    "metrics-server": frozenset({"metrics-server"}),
    "library-traefik": frozenset({"traefik"}),
    "traefik": frozenset({"traefik"}),
    "klipper-helm": frozenset({"traefik", HELM_CHARTS}),  # the job that installs a chart
    "klipper-lb": frozenset({"servicelb"}),
}
"""Components by the image that only they need, named without registry, namespace and the prefix `mirrored-`.

Pause and whatever is not here belongs to every cluster and is never left out.
"""


IMAGE_FLAGS = ("pause-image", "helm-job-image")
"""Flags that name an image which nodes then need (k3s pkg/cli/cmds)."""


def parse_image_list(text: bytes, source: str) -> tuple[Reference, ...]:
    """Read one reference a line, sorted, none twice; `source` names the file in errors. Raises ImageListError."""
    found: set[Reference] = set()
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
        try:
            reference = parse_reference(line)
        except ValueError as error:
            raise ImageListError(
                f"{source}:{number}: {error}",
                hint="the server gave something else than the list: check sources.releases",
            ) from None
        found.add(reference)
    if not found:
        raise ImageListError(
            f"{source} is empty", hint="the release is broken or the server is: check sources.releases"
        )
    return tuple(sorted(found))


def needed_images(
    images: Iterable[Reference], disabled: Iterable[str], added: Iterable[str] = ()
) -> tuple[Reference, ...]:
    """Leave out what only disabled components need; `added` is HELM_CHARTS when the recipe brings such objects."""
    off = _off(disabled, added)
    return tuple(image for image in images if not _only_for(image) or not _only_for(image) <= off)


def why_needed(image: Reference, disabled: Iterable[str], added: Iterable[str] = ()) -> str:
    """Say in words what of k3s needs an image of the release's list."""
    needing = sorted(_only_for(image) - _off(disabled, added))
    return f"k3s: {', '.join(needing)}" if needing else "k3s: every node"


def why_left_out(image: Reference) -> str:
    """Say in words why `needed_images` leaves an image out."""
    return f"only {' and '.join(sorted(_only_for(image)))} would need it"


def _off(disabled: Iterable[str], added: Iterable[str]) -> frozenset[str]:
    return frozenset({*disabled, HELM_CHARTS} - {*added})


def _only_for(image: Reference) -> frozenset[str]:
    """Give what alone needs an image, by NEEDED_BY."""
    short = image.repository.rpartition("/")[2].removeprefix("mirrored-")
    return NEEDED_BY.get(short, frozenset())
