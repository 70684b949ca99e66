"""Carried files to images: what the recipe's manifests need, and why each image of the recipe is wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.errors import BundleIncompleteError, ManifestError, UsageError
from bundler.k3s.images import IMAGE_FLAGS
from bundler.model.carried import MANIFESTS
from bundler.model.recipe_site import SECTIONS
from bundler.model.reference import parse_reference
from bundler.model.wanted import Wanted, WantedImage
from bundler.workloads.static import missing_charts, unsearched
from bundler.workloads.uses import Findings, pod_image
from bundler.workloads.walk import walk_manifest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bundler.model.carried import CarriedFile
    from bundler.model.lock import Lock, LockedImage
    from bundler.model.recipe import Recipe
    from bundler.model.reference import Reference
    from bundler.store.store import Store

IN_RECIPE = "images.extra"


def survey(recipe: Recipe, carried: Iterable[CarriedFile], store: Store) -> Findings:
    """Read the manifests among the carried files; raises ManifestError with the first mistake of each file."""
    found, mistakes = Findings(), []
    for file in carried:
        if not file.path.startswith(MANIFESTS):
            continue
        try:
            found += walk_manifest(store.read(file.digest), file.source)
        except ManifestError as error:
            mistakes.append(error)
    if mistakes:
        raise ManifestError("; ".join(error.what for error in mistakes), hint=mistakes[0].hint)
    known = {reference.name for reference in recipe.images.named}
    maybes = tuple(maybe for maybe in found.maybes if _name(maybe.text) not in known)
    return replace(found, maybes=maybes, notes=found.notes + unsearched(found.charts))


def require_charts(found: Findings, files: Iterable[CarriedFile]) -> None:
    """Refuse objects whose chart nothing puts where they look for it; raises BundleIncompleteError with all of them."""
    missing = list(dict.fromkeys(missing_charts(found.charts, files)))
    if missing:
        raise BundleIncompleteError(
            "\n".join(("the bundle would lack what it needs:", *(f"  {each}" for each in missing))),
            hint="charts and files are keys of the recipe; docs/recipe.md explains them",
        )


def wanted_images(recipe: Recipe, found: Findings) -> Wanted:
    """Put together what the recipe names and what was found; raises UsageError for pins that contradict each other."""
    reasons: dict[str, list[str]] = {}
    references: dict[str, Reference] = {}
    named = [(reference, IN_RECIPE) for reference in recipe.images.references]
    named += [
        (parse_reference(str(image)), f"site.{section}.{flag}")
        for section in SECTIONS
        for flag in IMAGE_FLAGS
        if (image := recipe.site.section(section).get(flag))
    ]
    for reference, reason in named + [(use.reference, use.where) for use in found.uses]:
        reasons.setdefault(reference.name, []).append(reason)
        before = references.setdefault(reference.name, reference)
        if before.digest and reference.digest and before.digest != reference.digest:
            first, second = reasons[reference.name][0], reason
            raise UsageError(
                f"{reference.name} is pinned to {before.digest} ({first}) and to {reference.digest} ({second})",
                hint="a bundle has one image of a name: use one digest, or write the second without its tag",
            )
        if reference.digest:
            references[reference.name] = reference
    images = tuple(WantedImage(references[name], tuple(dict.fromkeys(reasons[name]))) for name in sorted(references))
    return Wanted(images, found.helm_charts)


def less(wanted: Wanted, names: Collection[str]) -> Wanted:
    """Leave out images that come from somewhere else than a registry."""
    kept = tuple(image for image in wanted.images if image.reference.name not in names)
    return Wanted(kept, wanted.helm_charts)


def explained(lock: Lock, wanted: Wanted) -> Lock:
    """Give reasons to the images that no registry was asked for."""
    architectures = []
    for each in lock.architectures:
        images = tuple(
            image
            if image.wanted_by
            else image.model_copy(update={"wanted_by": (_named(image), *wanted.reasons(image.reference))})
            for image in each.recipe_images
        )
        architectures.append(each.model_copy(update={"recipe_images": images}))
    return lock.model_copy(update={"architectures": tuple(architectures)})


def _named(image: LockedImage) -> str:
    if image.build:
        return f"{IN_RECIPE}, built from {image.build.context}"
    if image.engine_id:
        return f"{IN_RECIPE}, from the Docker engine"
    return f"{IN_RECIPE}, from {image.archive.path}" if image.archive else IN_RECIPE


def _name(text: str) -> str:
    return pod_image(text).name
