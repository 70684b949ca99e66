"""Charts of a recipe: brought into the store, and read or rendered for the images they need."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from bundler.engines.manifest import parse_size
from bundler.errors import ChartError, DigestMismatchError, ManifestError, UsageError
from bundler.model.carried import CarriedFile, chart_path
from bundler.model.digest import digest_of, parse_digest
from bundler.model.lock import LockedChart
from bundler.model.recipe_charts import OCI
from bundler.model.recipe_site import SECTIONS
from bundler.model.reference import Reference, parse_reference
from bundler.net.answers import get_bytes
from bundler.net.download import Download, download
from bundler.progress import SilentTask
from bundler.workloads.chart import MOST_PACKED, read_chart
from bundler.workloads.helm import render
from bundler.workloads.helm_chart import helm_chart, values_text
from bundler.workloads.objects import read_documents, read_objects
from bundler.workloads.static import unsearched
from bundler.workloads.uses import Findings, ImageUse
from bundler.workloads.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from requests import Session

    from bundler.engines.distribution import Distribution
    from bundler.model.lock import Lock
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_charts import Chart
    from bundler.model.release import Release
    from bundler.progress import Progress, Task
    from bundler.store.store import Store
    from bundler.workloads.chart import PackedChart

INDEX_LIMIT = 16 << 20
"""Bytes of a repository's index.yaml."""

_CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


_NOTHING = Findings()


@dataclass(frozen=True)
class Surveyed:
    """Charts as the lock has them, the files of those that came from servers, and what all of them need."""

    charts: tuple[LockedChart, ...] = ()
    files: tuple[CarriedFile, ...] = ()
    found: Findings = _NOTHING


def survey_charts(
    recipe: Recipe,
    carried: Iterable[CarriedFile],
    release: Release,
    session: Session,
    distribution: Distribution,
    store: Store,
    helm: Path | None,
) -> Surveyed:
    """Bring every chart into the store and find the images it needs, with `helm` where it has templates.

    `carried` has the charts on disk, and those from servers that a lock has: no server is asked for these.

    Raises ChartError, and network and integrity errors.
    """
    surveyed = Surveyed()
    off = [name for name in SECTIONS if recipe.site.section(name).get("disable-helm-controller") is True]
    if recipe.charts and off:
        raise UsageError(
            f"charts are named, but site.{off[0]} has disable-helm-controller: nothing would install them",
            hint="remove one of the two",
        )
    there = tuple(carried)
    for index, chart in enumerate(recipe.charts):
        file = _carried_chart(chart, there) or _remote(chart, session, distribution, store)
        packed = read_chart(store.read(file.digest), file.source)
        _require_version(chart, f"charts[{index}]", packed)
        own = walk(read_objects(helm_chart(chart, file.path), f"charts[{index}]"))
        needed, found_by = _images(chart, f"charts[{index}]", packed, store.read(file.digest), release, helm)
        found = replace(needed, notes=needed.notes + unsearched(needed.charts)) + own
        images = tuple(dict.fromkeys(str(use.reference) for use in found.uses))
        locked = LockedChart(
            name=chart.name,
            chart=packed.name,
            version=packed.version,
            path=file.path,
            digest=file.digest,
            images=images,
            found_by=found_by,
            manifest=helm_chart(chart, file.path).decode(),
        )
        files = () if chart.is_local else (file,)
        surveyed = Surveyed((*surveyed.charts, locked), surveyed.files + files, surveyed.found + found)
    return surveyed


def fetch_charts(
    lock: Lock, session: Session, distribution: Distribution, store: Store, progress: Progress
) -> tuple[CarriedFile, ...]:
    """Bring the charts of a lock that come from servers into the store, from where it says; gives their files.

    Raises network and integrity errors.
    """
    files = tuple(file for file in lock.files if file.url)
    missing = [file for file in files if not store.verified(file.digest)]
    progress.expect(sum(file.size for file in missing))
    for file in missing:
        with store.partial(file.digest) as part, progress.task(file.source, file.size) as task:
            if not store.has(file.digest):  # another process may have brought it while this one waited
                _bring(file, session, distribution, part, task)
                store.adopt(part, file.digest)
    return files


def _bring(file: CarriedFile, session: Session, distribution: Distribution, part: Path, task: Task) -> None:
    url = str(file.url)
    if url.startswith(OCI):
        distribution.blob(parse_reference(url.removeprefix(OCI)), file.digest, file.size, part, task)
    else:
        download(session, Download((url,), file.digest, file.size), part, task=task)


def _require_version(chart: Chart, place: str, packed: PackedChart) -> None:
    if chart.version and chart.version.removeprefix("v") != packed.version.removeprefix("v"):
        raise ChartError(
            f"{place}.version is {chart.version}, but the chart says {packed.name} {packed.version}",
            hint="correct version, or name another chart",
        )


# Images


def _images(
    chart: Chart, place: str, packed: PackedChart, data: bytes, release: Release, helm: Path | None
) -> tuple[Findings, str]:
    """Find what a chart needs: read it as it is, or rendered, or else believe the recipe."""
    title = f"{place}: {packed.name} {packed.version}"
    listed = tuple(ImageUse(image, str(image), f"{place}.images") for image in chart.images or ())
    if packed.is_plain:
        found, how = Findings(), "its files, which have no templates"
        for file in packed.manifests:
            found += walk(read_objects(file.data, f"{title}, {file.path}"))
    elif helm:
        found, how = _rendered(chart, title, data, release, helm), "helm template"
    elif chart.images is not None:
        note = f"{title}: helm is not installed, so that its images are those the recipe names, unchecked"
        return Findings(listed, notes=(note,)), "the recipe alone: helm was not installed"
    else:
        raise ChartError(
            f"{title}: helm is not installed, and the chart has templates: nobody knows which images it needs",
            hint=f"install helm, or name the images under {place}.images (an empty list if it needs none)",
        )
    _require_listed(title, found, chart.images)
    return replace(found, uses=found.uses + listed), how


def _rendered(chart: Chart, title: str, data: bytes, release: Release, helm: Path) -> Findings:
    text = render(helm, data, chart.name, chart.namespace, values_text(chart).encode(), release)
    try:
        return walk(read_objects(text, f"{title}, rendered"))
    except ManifestError as error:
        raise ChartError(error.what, hint="correct the chart or its values") from None


def _require_listed(title: str, found: Findings, listed: Sequence[Reference] | None) -> None:
    if listed is None:
        return
    names = {image.name for image in listed}
    missing = [f"{use.reference.name} ({use.where})" for use in found.uses if use.reference.name not in names]
    if missing:
        raise ChartError(
            f"{title} needs images that its list does not name: {', '.join(dict.fromkeys(missing))}",
            hint="add them to the chart's images, or remove that list: what is found is carried",
        )


# Where charts come from


def _carried_chart(chart: Chart, carried: Iterable[CarriedFile]) -> CarriedFile | None:
    return next((file for file in carried if file.path == chart_path(chart.name, file.digest)), None)


def _remote(chart: Chart, session: Session, distribution: Distribution, store: Store) -> CarriedFile:
    if chart.chart.startswith(OCI):
        return _from_registry(chart, distribution, store)
    return _from_repository(chart, session, distribution, store)


def _carried(chart: Chart, source: str, url: str, data: bytes, store: Store) -> CarriedFile:
    digest = store.put(data)
    return CarriedFile(
        source=source, path=chart_path(chart.name, digest), size=len(data), digest=digest, role="server", url=url
    )


def _from_repository(chart: Chart, session: Session, distribution: Distribution, store: Store) -> CarriedFile:
    """Look the chart up in the repository's index, which as a rule has its digest (Helm docs, Chart repository).

    An index may send on to a registry, as that of Bitnami does.
    """
    index_url = f"{chart.repo}/index.yaml"
    try:
        (index,) = read_documents(get_bytes(session, index_url, limit=INDEX_LIMIT).body, index_url)
        entries = index["entries"][chart.name_in_repo]
        entry = _entry(entries, chart.version)
        url = urljoin(f"{chart.repo}/", entry["urls"][0])
    except (ManifestError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        wanted = f"{chart.name_in_repo} {chart.version or ''}".rstrip()
        raise ChartError(
            f"{index_url} has no {wanted} ({getattr(error, 'what', error)})",
            hint="check name and version; `helm search repo` lists both",
        ) from None
    if url.startswith(OCI):
        name, _, tag = url.rpartition("/")[2].partition(":")
        there = {"chart": f"{url.rpartition('/')[0]}/{name}", "version": tag or str(entry["version"])}
        return _from_registry(chart.model_copy(update=there), distribution, store)
    data = get_bytes(session, url, limit=MOST_PACKED).body
    stated = str(entry.get("digest") or "").removeprefix("sha256:")
    if stated and f"sha256:{stated}" != digest_of(data):
        raise DigestMismatchError(
            f"{url} is {digest_of(data)}, the index says {stated}",
            hint="the repository changed it after it was published, or something between changes it",
        )
    return _carried(chart, f"{chart.name_in_repo} {entry['version']} of {chart.repo}", url, data, store)


def _entry(entries: Sequence[Mapping[str, Any]], version: str | None) -> Mapping[str, Any]:
    """Take the version asked for, or the newest that is no pre-release (semver.org 2.0, section 11)."""
    if version:
        same = [entry for entry in entries if str(entry["version"]).removeprefix("v") == version.removeprefix("v")]
        return same[0]
    stable = [entry for entry in entries if "-" not in str(entry["version"]).partition("+")[0]]
    return max(stable, key=lambda entry: [int(part) for part in _core(str(entry["version"])).split(".")])


def _core(version: str) -> str:
    return version.removeprefix("v").partition("+")[0]


def _from_registry(chart: Chart, distribution: Distribution, store: Store) -> CarriedFile:
    """Take the chart's layer of its OCI manifest (Helm docs, Use OCI-based registries); tags have _ for +."""
    repository = chart.chart.removeprefix(OCI)
    try:
        reference = parse_reference(f"{repository}:{(chart.version or '').replace('+', '_')}")
        manifest = json.loads(distribution.manifest(reference, None).body)
        (layer,) = [layer for layer in manifest["layers"] if layer["mediaType"] == _CONTENT]
        digest, size = parse_digest(layer["digest"]), parse_size(layer["size"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChartError(
            f"{chart.chart}:{chart.version} is no chart ({str(error)[:200]})", hint="look at it with `helm show chart`"
        ) from None
    if size > MOST_PACKED:
        raise ChartError(f"{chart.chart} is bigger than {MOST_PACKED >> 20} MiB", hint="Helm would refuse it")
    with tempfile.TemporaryDirectory(prefix="k3s-bundler-") as folder:
        part = Path(folder) / "chart"
        distribution.blob(reference, digest, size, part, SilentTask())
        data = part.read_bytes()
    return _carried(chart, f"{chart.chart} {chart.version}", f"{OCI}{reference}", data, store)
