"""Is everything inside that what is inside needs? Answered from the bundle alone, as on the stick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler.errors import BundleIncompleteError, ManifestError, NotABundleError, host_error
from bundler.k3s.images import IMAGE_FLAGS, parse_image_list
from bundler.model.bundle import (
    CONFIG,
    CONFIG_AGENT,
    CONFIG_FIRST_SERVER,
    CONFIG_SERVER,
    IMAGE_LIST,
    LOCK,
    BundledImage,
    read_bundle,
)
from bundler.model.carried import MANIFESTS
from bundler.model.digest import digest_of
from bundler.model.lock import Lock, LockedChart, parse_lock
from bundler.model.reference import parse_reference
from bundler.workloads.chart import MOST_PACKED, read_chart
from bundler.workloads.objects import MOST_BYTES, read_documents, read_objects
from bundler.workloads.static import missing_charts, unsearched
from bundler.workloads.uses import Findings, ImageUse
from bundler.workloads.walk import walk, walk_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.model.bundle import Bundle
    from bundler.model.reference import Reference

_MOST_LOCK = 64 << 20
_HELM_JOB = "klipper-helm"


@dataclass(frozen=True)
class Contents:
    """What a bundle says of itself, and what is found in its manifests."""

    bundle: Bundle
    lock: Lock
    found: Findings


def read_contents(folder: Path) -> Contents:
    """Read a bundle's facts and manifests; raises NotABundleError, LockMalformedError and BundleIncompleteError."""
    bundle = read_bundle(folder)
    lock = parse_lock(_read(folder / LOCK, _MOST_LOCK), LOCK)
    found = Findings()
    try:
        for path in sorted((folder / MANIFESTS).glob("*")):
            found += walk_manifest(_read(path, MOST_BYTES + 1), f"{MANIFESTS}{path.name}")
        for name in (CONFIG, CONFIG_SERVER, CONFIG_FIRST_SERVER, CONFIG_AGENT):
            found += Findings(tuple(_told(folder, name)))
    except ManifestError as error:
        raise _incomplete(folder, [error.what]) from None
    for chart in lock.charts:
        data = _read(folder / chart.path, MOST_PACKED + 1)
        found += _plain_images(data, chart)
    searched = {chart.path for chart in lock.charts}
    notes = unsearched(chart for chart in found.charts if chart.path not in searched)
    return Contents(bundle, lock, replace(found, notes=found.notes + notes))


def _told(folder: Path, name: str) -> Iterator[ImageUse]:
    """Find the images that a configuration of k3s names; not every bundle has each."""
    if not (folder / name).is_file():
        return
    for config in read_documents(_read(folder / name, MOST_BYTES + 1), name):
        for flag in IMAGE_FLAGS if isinstance(config, Mapping) else ():
            if text := config.get(flag):
                try:
                    yield ImageUse(parse_reference(str(text)), str(text), f"{name}: {flag}")
                except ValueError as error:
                    raise ManifestError(f"{name}: {flag}: {error}", hint="write registry/repository:tag") from None


def _plain_images(data: bytes, chart: LockedChart) -> Findings:
    """Read a chart that has no templates once more; of others the lock says which images they need."""
    packed, found = read_chart(data, chart.path), Findings()
    for file in packed.manifests if packed.is_plain else ():
        found += walk(read_objects(file.data, f"{chart.path}, {file.path}"))
    return found


def require_closed(folder: Path) -> Contents:
    """Check that all is there, for every architecture, that k3s's own manifests and the bundle's need.

    The bundle is taken to be whole: `verify` comes first. Raises BundleIncompleteError with every finding.
    """
    contents = read_contents(folder)
    findings = list(_findings(folder, contents))
    if findings:
        raise _incomplete(folder, findings)
    return contents


def _findings(folder: Path, contents: Contents) -> Iterator[str]:
    yield from missing_charts(contents.found.charts, contents.lock.files)
    yield from _pins_without_names(contents)
    left_out = {image.reference for image in contents.lock.left_out}
    text = _read(folder / IMAGE_LIST, _MOST_LOCK)
    listed = parse_image_list(text, IMAGE_LIST)
    for each in contents.lock.architectures:
        present = _present(contents.bundle, each.arch)
        if digest_of(text) != each.image_list.digest:
            yield f"{IMAGE_LIST} is not the list of {contents.lock.release} that was locked"
        for image in listed:
            if image.name not in present and image.name not in left_out:
                yield f"{image.name} for {each.arch} is missing: it is in the list of {contents.lock.release}"
        for use in contents.found.uses:
            yield from (f"{why}: {use.where} needs it" for why in _missing(use.reference, present, each.arch))
        for chart in contents.lock.charts:
            yield from (
                f"{why}: the chart {chart.name} needs it"
                for image in chart.images
                for why in _missing(parse_reference(image), present, each.arch)
            )
        if contents.found.helm_charts and not any(f"/{_HELM_JOB}:" in name for name in present):
            yield f"{_HELM_JOB} for {each.arch} is missing: HelmChart objects need it"


def _pins_without_names(contents: Contents) -> Iterator[str]:
    """Find pinned images that no node would find: it names images by digest only when the bundle says so."""
    if contents.bundle.digest_names:
        return
    yield from (
        f"{use.where} pins {use.text}, and nodes are not told to name images by digest"
        for use in contents.found.uses
        if use.reference.digest
    )
    yield from (
        f"the chart {chart.name} pins {image}, and nodes are not told to name images by digest"
        for chart in contents.lock.charts
        for image in chart.images
        if "@" in image
    )


def _missing(reference: Reference, present: Mapping[str, BundledImage], arch: str) -> Iterator[str]:
    name, pin = reference.name, reference.digest
    image = present.get(name)
    if image is None:
        yield f"{name} for {arch} is missing"
    elif pin and pin not in {image.index, image.manifest}:
        yield f"{name} for {arch} is {image.index}, not {pin}"


def _present(bundle: Bundle, arch: str) -> dict[str, BundledImage]:
    return {image.name: image for archive in bundle.archives if archive.arch == arch for image in archive.images}


def _incomplete(folder: Path, findings: list[str]) -> BundleIncompleteError:
    lines = "".join(f"\n  {finding}" for finding in dict.fromkeys(findings))
    return BundleIncompleteError(
        f"{folder} lacks what it needs:{lines}",
        hint="name images in images.extra and other files under files, or remove what needs them; then build again",
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise NotABundleError(
            f"{path} is missing", hint="give the folder that holds install.sh and bundle.json"
        ) from None
    except OSError as error:
        raise host_error(error, path) from error
