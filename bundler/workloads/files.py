"""Which files a recipe's list of manifests means."""

from __future__ import annotations

import os
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import ManifestError, RecipeNotFoundError, host_error
from bundler.k3s.addons import MANIFEST_SUFFIXES, addon_name, why_no_addon

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_CHART = "the chart "


def manifest_files(patterns: Sequence[str], folder: Path, charts: Sequence[str] = ()) -> dict[str, Path]:
    """Find files, folders (with all below them) and globs from `folder`, by what they are called in messages.

    In folders and for globs, what k3s would not deploy anyway (other suffixes, names that begin with a period) is left
    out. `charts` are charts of the recipe: each gets a manifest by its name.

    Raises RecipeNotFoundError, ManifestError for names k3s cannot deploy, and host errors, also for folders within that
    cannot be read.
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
    if path.is_dir():
        yield from _below(path)
    elif path.is_file():
        yield path
    elif has_magic(pattern):
        for name in glob(pattern, root_dir=folder, recursive=True):  # noqa: PTH207  takes absolute patterns too
            match = folder / name
            yield from _below(match) if match.is_dir() else [match] if _is_manifest(match) else []


def _below(folder: Path) -> Iterator[Path]:
    # Not rglob, which leaves out without a word what it may not read.
    for place, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (path for name in names if _is_manifest(path := Path(place, name)))


def _raise(error: OSError) -> None:
    raise error


def _is_manifest(path: Path) -> bool:
    return path.is_file() and path.name.endswith(MANIFEST_SUFFIXES) and not path.name.startswith(".")


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
