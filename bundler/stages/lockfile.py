"""Where a lock lies, whether it still fits its recipe, and what a new one would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.archive.zstd import compressor
from bundler.errors import NotWritableError, host_error
from bundler.k3s.images import HELM_CHARTS, needed_images
from bundler.model.digest import hex_of
from bundler.model.lock import Lock, LockedImage, parse_lock
from bundler.model.reference import parse_reference
from bundler.model.release import is_tag
from bundler.store.store import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bundler.model.carried import CarriedFile
    from bundler.model.lock import EngineInput
    from bundler.model.recipe import Recipe


def lock_beside(recipe_path: Path) -> Path:
    """Say where the lock of a recipe file lies: `edge.yaml` has `edge.lock.json`."""
    return recipe_path.with_name(f"{recipe_path.stem}.lock.json")


def lock_apart(recipe: Recipe, locks: Path) -> Path:
    """Say where in `locks` a lock lies that belongs to no recipe file as it stands.

    Such are those of overrides, of variables with other values, and of recipes shipped with us.
    """
    return locks / f"{recipe.name}-{hex_of(recipe.fingerprint())[:16]}.lock.json"


def read_lock(path: Path) -> Lock | None:
    """Read a lock; None when there is none. Raises LockMalformedError."""
    try:
        return parse_lock(path.read_bytes(), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise host_error(error, path) from error


def write_lock(lock: Lock, path: Path, hint: str) -> None:
    """Write a lock, all of it or nothing; raises NotWritableError with `hint`, and other host errors."""
    try:
        write_file(path, lock.to_json())
    except NotWritableError as error:
        raise NotWritableError(error.what, hint=hint) from error


def why_outdated(
    lock: Lock, recipe: Recipe, carried: Sequence[CarriedFile], inputs: Sequence[EngineInput]
) -> str | None:
    """Say why `lock` is not good on this machine for `recipe` with what it names there; None when it is."""
    if why := why_not_of(lock, recipe):
        return why
    known = {file.path: file for file in lock.files if not file.url}
    found = {file.path: file for file in carried}
    if changed := sorted(path for path in known.keys() | found.keys() if known.get(path) != found.get(path)):
        return f"{(found.get(changed[0]) or known[changed[0]]).source} changed since it was locked"
    of_engine = {(image.reference, image.build.digest if image.build else image.engine_id) for image in lock.images}
    for each in inputs:
        if (each.reference, each.digest) not in of_engine:
            return f"{each.source} changed since it was locked"
    here = compressor(recipe.pack.level)
    if lock.compressor != here:
        return f"it was made with {lock.compressor}, this machine has {here}"
    return None


def why_not_of(lock: Lock, recipe: Recipe) -> str | None:
    """Say why `lock` was not made of `recipe`, whatever became of the files that it names; None when it was."""
    if lock.recipe != recipe.fingerprint():
        return "the recipe changed since it was locked"
    edited = next(_contradictions(lock, recipe), None)
    return f"it was edited: {edited}" if edited else None


def _contradictions(lock: Lock, recipe: Recipe) -> Iterator[str]:
    """Say what in a lock is not as its recipe wants it: nothing is, in one that was made of it."""
    said = (lock.name, lock.layers, tuple(each.arch for each in lock.architectures))
    if said != (recipe.name, recipe.images.layers, recipe.arch):
        yield "its name, layers and architectures are not those of the recipe"
    if is_tag(recipe.release) and lock.release != recipe.release:
        yield f"it is for {lock.release}, the recipe for {recipe.release}"
    yield from _odd_charts(lock, recipe)
    if {archive.path for archive in lock.archives} - {source.archive for source in recipe.images.archives}:
        yield "it has images from archives that the recipe does not name"
    of_engine = {source.ref.name for source in recipe.images.builds}
    of_engine |= {source.ref.name for source in recipe.images.from_engine}
    if {image.reference for image in lock.images if image.of_engine} - of_engine:
        yield "it has images from the Docker engine that the recipe does not name"
    yield from _misplaced(lock, recipe)
    yield from _missing(lock, recipe)
    pins = {reference.name: reference.digest for reference in recipe.images.references}
    for image in lock.images:
        if (pin := pins.get(image.reference)) and pin not in {image.index, image.manifest}:
            yield f"{image.reference} is {image.index}, the recipe pins {pin}"


def _odd_charts(lock: Lock, recipe: Recipe) -> Iterator[str]:
    versions = {chart.name: chart.version for chart in lock.charts}
    if versions.keys() != {chart.name for chart in recipe.charts}:
        yield "its charts are not those of the recipe"
    for chart in recipe.charts:
        has = versions.get(chart.name)
        if has and chart.version and has.removeprefix("v") != chart.version.removeprefix("v"):
            yield f"it has {has} of the chart {chart.name}, the recipe {chart.version}"
    if {file.path for file in lock.files if file.url} - {chart.path for chart in lock.charts}:
        yield "it has files from servers that the recipe does not name"


def _misplaced(lock: Lock, recipe: Recipe) -> Iterator[str]:
    """Say which images of the release's list are carried or left out against the recipe.

    Whether a manifest needs the Helm controller is not known here: the closure check asks that of the bundle.
    """
    for left in lock.left_out:
        if _is_wanted(recipe, left.reference, (HELM_CHARTS,) if recipe.charts else ()):
            yield f"{left.reference} is left out, and the recipe does not say so"
    for each in lock.architectures:
        for image in each.k3s_images:
            if not _is_wanted(recipe, image.reference, (HELM_CHARTS,)):
                yield f"{image.reference} is in it, and the recipe leaves it out"


def _is_wanted(recipe: Recipe, name: str, added: Sequence[str]) -> bool:
    image = parse_reference(name)
    excluded = any(exclusion.matches(image) for exclusion in recipe.images.exclude)
    return not excluded and bool(needed_images((image,), recipe.components.disable, added))


def _missing(lock: Lock, recipe: Recipe) -> Iterator[str]:
    named = {reference.name for reference in recipe.images.named}
    named |= {source.ref.name for source in recipe.images.archives if source.ref}
    for each in lock.architectures:
        missing = sorted(named - {image.reference for image in each.images})
        yield from (f"{name} for {each.arch} is not in it" for name in missing)


def what_moved(old: Lock, new: Lock) -> tuple[str, ...]:
    """List in words what another lock changes, one line each."""
    lines = [] if old.release == new.release else [f"release {old.release} -> {new.release}"]
    before, after = _images(old), _images(new)
    lines += [f"- {name}" for name in sorted(before.keys() - after.keys())]
    lines += [f"+ {name}" for name in sorted(after.keys() - before.keys())]
    lines += [
        f"~ {name}: {_short(before[name])} -> {_short(after[name])}"
        for name in sorted(before.keys() & after.keys())
        if before[name].manifest != after[name].manifest
    ]
    if old.release == new.release:
        known = {each.arch: each.binary.digest for each in old.architectures}
        lines += [
            f"~ {each.binary.name}: published anew as {new.release}"
            for each in new.architectures
            if known.get(each.arch, each.binary.digest) != each.binary.digest
        ]
    was, now = ({file.path: file.digest for file in lock.files} for lock in (old, new))
    lines += [f"- {path}" for path in sorted(was.keys() - now.keys())]
    lines += [f"+ {path}" for path in sorted(now.keys() - was.keys())]
    lines += [f"~ {path}" for path in sorted(was.keys() & now.keys()) if was[path] != now[path]]
    return tuple(lines)


def _images(lock: Lock) -> dict[str, LockedImage]:
    return {f"{image.reference} ({each.arch})": image for each in lock.architectures for image in each.images}


def _short(image: LockedImage) -> str:
    return image.manifest[:19]
