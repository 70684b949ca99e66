"""Which files a recipe's list of manifests means."""

from __future__ import annotations

import stat
from fnmatch import fnmatchcase
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import ManifestError, RecipeNotFoundError, host_error
from bundler.k3s.addons import MANIFEST_SUFFIXES, addon_name, why_no_addon

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence


_CHART = "the chart "
_ALL = ("**",)


def manifest_files(patterns: Sequence[str], folder: Path, charts: Sequence[str] = ()) -> dict[str, Path]:
    """Find files, folders (with all below them) and globs from `folder`, by what they are called in messages.

    In folders and for globs, what k3s would not deploy anyway (other suffixes, names that begin with a period) is left
    out. Links are followed. `charts` are charts of the recipe: each gets a manifest by its name.

    Raises RecipeNotFoundError, also for links to nothing, ManifestError for names k3s cannot deploy, and host errors,
    also for what cannot be read within a folder.
    """
    found: dict[str, Path] = {}
    for index, pattern in enumerate(patterns):
        try:
            matches = sorted(_matches(pattern, folder))
        except OSError as error:
            raise host_error(error, Path(error.filename or folder / pattern)) from error
        if not matches:
            raise RecipeNotFoundError(
                f"manifests[{index}]: there is no manifest at {folder / pattern}",
                hint=f"paths are relative to the recipe's folder; k3s deploys {', '.join(MANIFEST_SUFFIXES)}",
            )
        found |= {_called(path, folder): path for path in matches}
    _require_addons((*found, *(f"{_CHART}{name}.yaml" for name in charts)))
    return dict(sorted(found.items()))


def _matches(pattern: str, folder: Path) -> Iterator[Path]:
    path = folder / pattern
    exact = _look_at(path)
    if exact is None:
        yield from _found(folder, Path(pattern).parts)
    elif stat.S_ISDIR(exact.st_mode):
        yield from _found(path, _ALL)
    elif stat.S_ISREG(exact.st_mode):
        yield path


def _found(place: Path, parts: tuple[str, ...], above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """Find manifests that the parts of a glob match from `place` on, through links; `above` are folders it lies in.

    Neither glob nor rglob: both leave out without a word what they may not read.
    """
    there = _look_at(place)
    if there is None:
        return
    if not stat.S_ISDIR(there.st_mode):
        if parts in {(), _ALL} and place.name.endswith(MANIFEST_SUFFIXES) and not place.name.startswith("."):
            yield place
        return
    first, *others = parts or _ALL
    rest = tuple(others)
    if first != "**":
        for name in _names(place, first) if has_magic(first) else [first]:
            yield from _found(place / name, rest)
        return
    here = (there.st_dev, there.st_ino)
    if here in above:  # a link to a folder that it lies in: all of that is looked at already
        return
    if rest:
        yield from _found(place, rest)
    for name in _names(place, "*"):
        yield from _found(place / name, parts or _ALL, above | {here})


def _names(folder: Path, pattern: str) -> Iterator[str]:
    """List what a part of a glob matches in a folder: no hidden names unless it begins with a period itself."""
    for path in folder.iterdir():
        if fnmatchcase(path.name, pattern) and (pattern.startswith(".") or not path.name.startswith(".")):
            yield path.name


def _look_at(path: Path) -> os.stat_result | None:
    """Look at what `path` leads to; None when there is nothing.

    Raises RecipeNotFoundError for a link to nothing, and OSError for what cannot be looked at.
    """
    # Not is_file() and its like, which from Python 3.14 on take what cannot be looked at for what is not there.
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if not path.is_symlink():
            return None
    raise RecipeNotFoundError(
        f"manifests: {path} is a link to {path.readlink()}, which leads to nothing", hint="correct it, or remove it"
    )


def _called(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _require_addons(sources: Iterable[str]) -> None:
    first: dict[str, str] = {}
    findings = []
    for source in sorted(sources):
        name = source.removeprefix(_CHART).rpartition("/")[2]
        why = why_no_addon(name)
        before = first.setdefault(addon_name(name), source)
        if why:
            findings.append(f"{source}: {why}")
        elif before != source:
            findings.append(
                f"{before} and {source}: k3s deploys both by one name, {addon_name(name)}, and the last to come "
                "removes what the other made"
            )
    if findings:
        raise ManifestError("; ".join(findings), hint="rename the file")
