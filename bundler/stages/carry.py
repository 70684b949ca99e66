"""Recipe to carried files: what the recipe adds beside images, read into the store."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from bundler.errors import RecipeNotFoundError, UsageError, host_error
from bundler.model.carried import CarriedFile, carried_path, manifest_path
from bundler.model.digest import digest_from_hex
from bundler.workloads.files import manifest_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bundler.model.digest import Digest
    from bundler.model.recipe import Recipe
    from bundler.store.store import Store

_CHUNK = 1 << 20


def carry(recipe: Recipe, folder: Path, store: Store) -> tuple[CarriedFile, ...]:
    """Read every file that the recipe names from `folder`, its own, into `store`; sorted by path in the bundle.

    Raises RecipeNotFoundError, UsageError and host errors.
    """
    found = []
    for index, file in enumerate(recipe.files):
        digest, size = _keep(folder / file.source, f"files[{index}].source", store)
        found.append(
            CarriedFile(
                source=file.source,
                path=carried_path(file.role, file.target),
                digest=digest,
                size=size,
                mode=file.mode,
                role=file.role,
                target=file.target,
            )
        )
    for source, path in manifest_files(recipe.manifests, folder).items():
        digest, size = _keep(path, source, store)
        found.append(
            CarriedFile(
                source=source, path=manifest_path(path.name), digest=digest, size=size, mode="600", role="server"
            )
        )
    _require_distinct(found)
    return tuple(sorted(found, key=lambda file: file.path))


def _keep(path: Path, place: str, store: Store) -> tuple[Digest, int]:
    """Put a file into the store, unless it is there; `place` is what the recipe calls it."""
    if not path.is_file():
        raise RecipeNotFoundError(f"{place}: there is no file {path}", hint="paths are relative to the recipe's folder")
    try:
        with path.open("rb") as file:
            digest = digest_from_hex(hashlib.file_digest(file, "sha256").hexdigest())
            if store.verified(digest):
                return digest, store.path(digest).stat().st_size
            file.seek(0)
            with store.writer() as writer:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
                return writer.commit(), writer.size
    except OSError as error:
        raise host_error(error, path) from error


def _require_distinct(files: Iterable[CarriedFile]) -> None:
    """Refuse two files for one place, also where case alone tells them apart: FAT32 does not keep it."""
    first: dict[str, CarriedFile] = {}
    for file in files:
        before = first.setdefault(file.path.lower(), file)
        if before is not file:
            raise UsageError(
                f"{before.source} and {file.source} have the same place in the bundle, {file.path}",
                hint="give one of them another target; upper and lower case alone do not tell files apart on FAT32",
            )
