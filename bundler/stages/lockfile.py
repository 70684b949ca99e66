"""Where a lock lies, whether it still fits its recipe, and what a new one would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.archive.zstd import compressor
from bundler.errors import host_error
from bundler.model.digest import hex_of
from bundler.model.lock import Lock, LockedImage, parse_lock
from bundler.store.store import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence
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


def write_lock(lock: Lock, path: Path) -> None:
    """Write a lock, all of it or nothing."""
    write_file(path, lock.to_json())


def why_outdated(
    lock: Lock, recipe: Recipe, carried: Sequence[CarriedFile], inputs: Sequence[EngineInput]
) -> str | None:
    """Say why `lock` is not good on this machine for `recipe` with what it names there; None when it is."""
    if lock.recipe != recipe.fingerprint():
        return "the recipe changed since it was locked"
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
        return f"it was made with libzstd {lock.compressor.library}, this machine has {here.library}"
    return None


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
    was, now = ({file.path: file.digest for file in lock.files} for lock in (old, new))
    lines += [f"- {path}" for path in sorted(was.keys() - now.keys())]
    lines += [f"+ {path}" for path in sorted(now.keys() - was.keys())]
    lines += [f"~ {path}" for path in sorted(was.keys() & now.keys()) if was[path] != now[path]]
    return tuple(lines)


def _images(lock: Lock) -> dict[str, LockedImage]:
    return {f"{image.reference} ({each.arch})": image for each in lock.architectures for image in each.images}


def _short(image: LockedImage) -> str:
    return image.manifest[:19]
