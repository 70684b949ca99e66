"""Recipe to carried files: what the recipe adds beside images, read into the store."""

from __future__ import annotations

import hashlib
import stat
from itertools import combinations
from typing import TYPE_CHECKING

from bundler.errors import ChartError, RecipeNotFoundError, UsageError, host_error
from bundler.model.carried import CarriedFile, chart_path, manifest_path
from bundler.model.digest import digest_from_hex
from bundler.model.platform import RPM_MACHINE
from bundler.site.rpm import parse_rpm
from bundler.site.wanted import wanted_files, written_files
from bundler.workloads.files import manifest_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from bundler.model.digest import Digest
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_charts import Chart
    from bundler.site.wanted import WantedFile
    from bundler.store.store import Store

_CHUNK = 1 << 20
_LONGEST_HEAD = 16 << 20


def carry(recipe: Recipe, folder: Path, store: Store) -> tuple[CarriedFile, ...]:
    """Read every file that the recipe names from `folder`, its own, into `store`; sorted by path in the bundle.

    Raises RecipeNotFoundError, UsageError and host errors.
    """
    machines = {RPM_MACHINE[arch] for arch in recipe.arch}
    found = [_carried(wanted, folder / wanted.source, store, machines) for wanted in wanted_files(recipe)]
    found += [
        CarriedFile(
            source=written.source,
            path=written.path,
            digest=store.put(written.content),
            size=len(written.content),
            target=written.target,
        )
        for written in written_files(recipe.site)
    ]
    names = tuple(chart.name for chart in recipe.charts)
    for source, path in manifest_files(recipe.manifests, folder, names).items():
        digest, size = _keep(path, source, store)
        found.append(
            CarriedFile(
                source=source, path=manifest_path(path.name), digest=digest, size=size, mode="600", role="server"
            )
        )
    for index, chart in enumerate(recipe.charts):
        if chart.is_local:
            found.append(_local_chart(chart, index, folder, store))
    _require_distinct(found)
    return tuple(sorted(found, key=lambda file: file.path))


def _carried(wanted: WantedFile, path: Path, store: Store, machines: AbstractSet[str]) -> CarriedFile:
    digest, size = _keep(path, wanted.place, store)
    if wanted.content != "anything" and (why := _why_not(wanted, store, digest, machines)):
        raise UsageError(f"{wanted.place}: {path} {why}", hint="name another file: this one would not be of use")
    return CarriedFile(
        source=wanted.source,
        path=wanted.path,
        digest=digest,
        size=size,
        mode=wanted.mode,
        role=wanted.role,
        target=wanted.target,
    )


def _local_chart(chart: Chart, index: int, folder: Path, store: Store) -> CarriedFile:
    path = folder / chart.chart
    try:
        if path.is_dir():
            raise ChartError(
                f"charts[{index}].chart: {path} is a folder", hint=f"pack it: helm package {chart.chart}; name the .tgz"
            )
    except OSError as error:
        raise host_error(error, path) from error
    digest, size = _keep(path, f"charts[{index}].chart", store)
    return CarriedFile(source=chart.chart, path=chart_path(chart.name, digest), digest=digest, size=size, role="server")


def _keep(path: Path, place: str, store: Store) -> tuple[Digest, int]:
    """Put a file into the store, unless it is there; `place` is what the recipe calls it."""
    _require_file(path, place)
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


def _require_file(path: Path, place: str) -> None:
    # Not is_file(), which from Python 3.14 on takes what cannot be looked at for what is not there.
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise host_error(error, path) from error
    raise RecipeNotFoundError(f"{place}: there is no file {path}", hint="paths are relative to the recipe's folder")


_PEM = {"certificate": b"CERTIFICATE-----", "private key": b"PRIVATE KEY-----"}


def _why_not(wanted: WantedFile, store: Store, digest: Digest, machines: AbstractSet[str]) -> str | None:
    """Say what is wrong with the content of a file in the store."""
    with store.open(digest) as file:
        head = file.read(_LONGEST_HEAD)
    if wanted.content == "package":
        return _why_no_package(wanted, head, machines)
    if b"-----BEGIN " not in head or _PEM[wanted.content] not in head:
        return f"is no {wanted.content} in PEM"
    if wanted.content == "private key" and b"ENCRYPTED" in head:
        return "is a private key that needs a passphrase, for which nobody is there to be asked"
    return None


def _why_no_package(wanted: WantedFile, head: bytes, machines: AbstractSet[str]) -> str | None:
    try:
        package = parse_rpm(head)
    except ValueError as error:
        return str(error)
    if package.file_name != wanted.path.rpartition("/")[2]:
        return f"is the package {package.file_name}, and the installer goes by its name: call it so"
    if package.arch != "noarch" and package.arch not in machines:
        return f"is a package for {package.arch}, and the recipe's machines are {', '.join(sorted(machines))}"
    return None


def _require_distinct(files: Sequence[CarriedFile]) -> None:
    """Refuse two files for one place in the bundle or on a node.

    Also where case alone tells them apart: FAT32 does not keep it.
    """
    first: dict[str, CarriedFile] = {}
    for file in files:
        before = first.setdefault(file.path.lower(), file)
        if before is not file:
            raise UsageError(
                f"{before.source} and {file.source} have the same place in the bundle, {file.path}",
                hint="give one of them another target; upper and lower case alone do not tell files apart on FAT32",
            )
    for one, other in combinations((file for file in files if file.target), 2):
        shared = "any" in {one.role, other.role} or one.role == other.role
        if shared and _one_within_other(f"{one.target}/", f"{other.target}/"):
            raise UsageError(
                f"{one.source} and {other.source} cannot both be on a node, at {one.target} and {other.target}",
                hint="give one of them another target, or each a role of its own",
            )


def _one_within_other(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
