"""The figures as tables for a terminal and for documents, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.contest import CONTESTANTS
from tests.bench.targets import MIB, TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.corpus import Corpus
    from tests.bench.measure import Measured
    from tests.bench.scale import Scaled
    from tests.bench.targets import Results


@dataclass(frozen=True)
class Middle:
    """Medians of the runs of one contestant; the slowest and the fastest wall too."""

    wall: float
    fastest: float
    slowest: float
    cpu: float
    peak: float
    size: float


def middle(runs: Sequence[Measured]) -> Middle:
    """Take the medians, figure by figure."""
    walls = [run.wall for run in runs]
    return Middle(
        statistics.median(walls),
        min(walls),
        max(walls),
        statistics.median(run.cpu for run in runs),
        max(run.peak for run in runs),
        statistics.median(run.size for run in runs),
    )


def tables(corpus: Corpus, results: Results, scaled: Sequence[Scaled]) -> str:
    """Write everything as Markdown."""
    unpacked, packed = (sum(getattr(layer, size) for layer in corpus.layers) for size in ("unpacked", "size"))
    rounds = max(map(len, results.values()), default=0)
    lines = [
        (
            f"{len(corpus.images)} images, {len(corpus.layers)} layers: {unpacked / 1e6:.0f} MB unpacked, "
            f"{packed / 1e6:.1f} MB as gzip in the registry. {os.cpu_count()} cores, rounds: {rounds}."
        ),
        "",
        "| what | wall s (fastest - slowest) | CPU s | peak MiB | MB |",
        "|---|---|---|---|---|",
    ]
    for each in CONTESTANTS:
        if each.name in results:
            figures = middle(results[each.name])
            what = f"{each.what} (one run)" if len(results[each.name]) < rounds else each.what
            lines.append(
                f"| {what} | {figures.wall:.2f} ({figures.fastest:.2f} - {figures.slowest:.2f}) "
                f"| {figures.cpu:.2f} | {figures.peak / MIB:.0f} | {figures.size / 1e6:.1f} |"
            )
    lines += ["", "| target | promised | seen | |", "|---|---|---|---|"]
    for target in TARGETS:
        seen = target.seen(results)
        told = "not measured" if seen is None else f"{seen:.3g}"
        verdict = "" if seen is None or not target.promise else ("met" if target.met(seen) else "**missed**")
        lines.append(f"| {target.title} | {target.promise} | {told} | {verdict} |")
    return "\n".join([*lines, *(_scale_lines(scaled) if scaled else ())]) + "\n"


def _scale_lines(scaled: Sequence[Scaled]) -> list[str]:
    lines = [
        "",
        (
            "| images | GB of layers | cold: wall s | CPU s | peak MiB | requests | nothing changed: wall s | CPU s "
            "| peak MiB | requests | verify: CPU s | GB hashed a second |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in scaled:
        runs = ((each.cold, each.cold_requests), (each.warm, each.warm_requests))
        figures = " | ".join(
            f"{run.wall:.1f} | {run.cpu:.1f} | {run.peak / MIB:.0f} | {requests}" for run, requests in runs
        )
        verify = f"{each.verify.cpu:.1f} | {each.verify.rate / 1e9:.2f}"
        lines.append(f"| {each.images} | {each.unpacked / 1e9:.2f} | {figures} | {verify} |")
    return lines


def document(corpus: Corpus, results: Results, scaled: Sequence[Scaled]) -> str:
    """Write every single run as JSON."""
    content = {
        "machine": {"cores": os.cpu_count(), "processor": _processor(), "python": platform.python_version()},
        "corpus": [asdict(image) for image in corpus.images],
        "runs": {name: [asdict(run) for run in runs] for name, runs in results.items()},
        "targets": [
            {"title": target.title, "promised": target.promise, "seen": target.seen(results)} for target in TARGETS
        ],
        "scale": [asdict(each) for each in scaled],
    }
    return json.dumps(content, indent=1) + "\n"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
