"""Charts that servers hand out from their own disks, where HelmChart objects find them without a network.

k3s serves its folder `server/static` below /static, and the Helm controller writes the address of the API where a
HelmChart says `%{KUBERNETES_API}%` (k3s docs, Helm; pkg/static).
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bundler.model.carried import CHARTS, DATA_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundler.model.carried import CarriedFile
    from bundler.workloads.uses import ChartUse

STATIC = "https://%{KUBERNETES_API}%/static/"
CHART_AT_THE_SITE = f"{STATIC}{CHARTS}"
"""How the address of a chart begins that the bundle brings."""

_FOLDER = "server/static/"
_OF_K3S = re.compile(rf"{CHARTS}traefik(?:-crd)?-[0-9][^/]*\.tgz")
"""What the k3s binary puts there by itself at each start, also when traefik is disabled (pkg/server, stageFiles)."""


def static_path(chart: str) -> str | None:
    """Say which file of the static folder the `spec.chart` of a HelmChart means; None when it means none of it."""
    if not chart.startswith(STATIC):
        return None
    return posixpath.normpath(unquote(chart.removeprefix(STATIC).partition("?")[0]))


def missing_charts(charts: Iterable[ChartUse], files: Iterable[CarriedFile]) -> Iterator[str]:
    """Say of each chart that neither k3s nor one of `files` puts where servers hand it out, and what to do."""
    there = {path for file in files if file.role != "agent" for path in _static_paths(file)}
    for chart in charts:
        if chart.path not in there and not _OF_K3S.fullmatch(chart.path):
            yield (
                f"{chart.where} takes its chart from {_FOLDER}{chart.path} of a server, and nothing puts it there: "
                f"name the chart under charts instead of the object, or carry it under files with target: "
                f"{DATA_DIR}{_FOLDER}{chart.path}"
            )


def unsearched(charts: Iterable[ChartUse]) -> tuple[str, ...]:
    """Say of each chart that nobody looks into it."""
    return tuple(
        f"{chart.where}: the images of its chart are not searched; name the chart under charts, or them in images.extra"
        for chart in charts
    )


def _static_paths(file: CarriedFile) -> Iterator[str]:
    """Give where below the static folder a file of the bundle comes to lie."""
    if file.path.startswith(CHARTS):
        yield file.path
    before, found, path = (file.target or "").partition(_FOLDER)
    if found and (before == DATA_DIR or before.endswith("/")):
        yield path
