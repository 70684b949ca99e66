"""Packed Helm charts, read member by member within limits and never extracted (Helm docs, Charts)."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import ChartError, ManifestError
from bundler.workloads.objects import read_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.workloads.objects import Data

MOST_PACKED = 20 << 20
"""Bytes of a packed chart; Helm itself reads no more (helm loader, 3.17)."""

_MOST_UNPACKED = 100 << 20
_MOST_MEMBERS = 10_000
_DEEPEST = 4  # charts in charts in charts
_CRD_SUFFIXES = (".yaml", ".yml", ".json")
_NOTES = "NOTES.txt"
_HINT = "pack it with `helm package`, after `helm dependency build`"


@dataclass(frozen=True)
class ChartFile:
    """A file of a chart by its path from the chart's folder."""

    path: str
    data: bytes


@dataclass(frozen=True)
class PackedChart:
    """What a chart is called, and its templates and CRDs, those of its dependencies included."""

    name: str
    version: str
    templates: tuple[ChartFile, ...]
    crds: tuple[ChartFile, ...]

    @property
    def is_plain(self) -> bool:
        """Say whether it has no template that something would be filled into: its files are manifests as they are."""
        return not any(b"{{" in file.data for file in self.templates if not file.path.endswith(_NOTES))

    @property
    def manifests(self) -> tuple[ChartFile, ...]:
        """Give what a plain chart deploys: every template whatever its suffix, but partials (helm SortManifests)."""
        return self.crds + tuple(
            file
            for file in self.templates
            if not file.path.endswith(_NOTES) and not file.path.rpartition("/")[2].startswith("_")
        )


def read_chart(data: bytes, source: str) -> PackedChart:
    """Read a packed chart; `source` names it in errors. Raises ChartError, also for a dependency that is not inside."""
    return _read(data, source, _DEEPEST)


def _read(data: bytes, source: str, depth: int) -> PackedChart:
    if len(data) > MOST_PACKED:
        raise ChartError(f"{source} is bigger than {MOST_PACKED >> 20} MiB: Helm would refuse it", hint=_HINT)
    if depth == 0:
        raise ChartError(f"{source} is a chart within more than {_DEEPEST} others", hint=_HINT)
    try:
        return _chart(_files(data, source), source, depth)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise ChartError(f"{source} is no packed chart: {str(error)[:200]}", hint=_HINT) from None


def _files(data: bytes, source: str) -> dict[str, bytes]:
    """Read every file by its path from the chart's folder, which is the one folder at the top."""
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(_unpacked(data, source)), mode="r:") as tar:
        for number, member in enumerate(tar):
            if number >= _MOST_MEMBERS:
                raise ValueError(f"it has more than {_MOST_MEMBERS} files")
            if member.isdir():
                continue
            top, _, path = member.name.removeprefix("./").partition("/")
            if member.issparse() or member.size > _MOST_UNPACKED:
                raise ValueError(f"{member.name!r} is bigger than its bytes")
            if not member.isreg() or not path or {top, *path.split("/")} & {"", ".", ".."} or "\\" in path:
                raise ValueError(f"{member.name!r} is no file below the chart's folder")
            content = tar.extractfile(member)
            found[path] = content.read() if content else b""
    return found


def _unpacked(data: bytes, source: str) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        tar = stream.read(_MOST_UNPACKED + 1)
    if len(tar) > _MOST_UNPACKED:
        raise ChartError(f"{source} unpacks to more than {_MOST_UNPACKED >> 20} MiB", hint=_HINT)
    return tar


def _chart(files: Mapping[str, bytes], source: str, depth: int) -> PackedChart:
    about = _document(files, "Chart.yaml", source)
    name, version = about.get("name"), about.get("version")
    if not isinstance(name, str) or not name or not isinstance(version, str) or not version:
        raise ChartError(f"{source} has no Chart.yaml with a name and a version", hint=_HINT)
    if about.get("type") == "library" and depth == _DEEPEST:
        raise ChartError(f"{source} is a library, which installs nothing", hint="name the chart that uses it")
    inside = list(_dependencies(files, source, depth))
    _require_dependencies(files, about, inside, f"{source} ({name} {version})")
    return PackedChart(
        name,
        version,
        templates=tuple(ChartFile(path, data) for path, data in files.items() if path.startswith("templates/"))
        + tuple(_below(each.name, file) for each in inside for file in each.templates),
        crds=tuple(ChartFile(path, data) for path, data in files.items() if _is_crd(path))
        + tuple(_below(each.name, file) for each in inside for file in each.crds),
    )


def _is_crd(path: str) -> bool:
    return path.startswith("crds/") and path.endswith(_CRD_SUFFIXES)


def _below(name: str, file: ChartFile) -> ChartFile:
    return ChartFile(f"charts/{name}/{file.path}", file.data)


def _dependencies(files: Mapping[str, bytes], source: str, depth: int) -> Iterator[PackedChart]:
    """Read the charts in charts/: folders, and packed ones; what begins with _ or . is none (Helm docs)."""
    folders: dict[str, dict[str, bytes]] = {}
    for path, data in files.items():
        parts = path.split("/")
        if parts[0] != "charts" or len(parts) < 2 or parts[1].startswith(("_", ".")):
            continue
        if len(parts) == 2 and path.endswith(".tgz"):
            yield _read(data, f"{source}: {path}", depth - 1)
        elif len(parts) > 2:
            folders.setdefault(parts[1], {})["/".join(parts[2:])] = data
    for name, inner in folders.items():
        if depth == 1:
            raise ChartError(f"{source} has charts within more than {_DEEPEST} others", hint=_HINT)
        yield _chart(inner, f"{source}: charts/{name}", depth - 1)


def _require_dependencies(
    files: Mapping[str, bytes], about: Mapping[str, Data], inside: list[PackedChart], source: str
) -> None:
    """Refuse a chart that Helm would have to fetch something for: at the site there is nothing to fetch from."""
    stated = about.get("dependencies") or _document(files, "requirements.yaml", source, needed=False).get(
        "dependencies"
    )
    lock = _document(files, "Chart.lock", source, needed=False) or _document(
        files, "requirements.lock", source, needed=False
    )
    have = {chart.name: chart.version for chart in inside}
    findings = [f"its dependency {name} is not inside, in charts/" for name in _names(stated) if name not in have]
    for locked in lock.get("dependencies") or ():
        if isinstance(locked, Mapping) and (name := locked.get("name")) in have:
            wanted, found = str(locked.get("version", "")).removeprefix("v"), have[name].removeprefix("v")
            if wanted and wanted != found and sum(chart.name == name for chart in inside) == 1:
                findings.append(f"its dependency {name} is {found} inside, and {wanted} in Chart.lock")
    if findings:
        raise ChartError(f"{source}: {'; '.join(findings)}", hint="run `helm dependency build`, then `helm package`")


def _names(dependencies: Data) -> Iterator[str]:
    for each in dependencies if isinstance(dependencies, list) else ():
        if isinstance(each, Mapping) and isinstance(each.get("name"), str):
            yield each["name"]


def _document(files: Mapping[str, bytes], path: str, source: str, *, needed: bool = True) -> Mapping[str, Data]:
    if path not in files:
        if needed:
            raise ChartError(f"{source} has no {path}", hint=_HINT)
        return {}
    try:
        documents = read_documents(files[path], f"{source}: {path}")
    except ManifestError as error:
        raise ChartError(error.what, hint=_HINT) from None
    return documents[0] if documents and isinstance(documents[0], Mapping) else {}
