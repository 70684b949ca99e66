"""What the product promises of its speed, and what was seen."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.measure import Measured

Metric = Literal["wall", "cpu", "peak", "size", "rate"]
Results = dict[str, list["Measured"]]
"""Contestant -> its runs, one for each round."""

MIB = 1 << 20


@dataclass(frozen=True)
class Target:
    """`ours` over `theirs` (or over the constant `unit`) is at most `limit`, or at least `least`, or just shown."""

    title: str
    metric: Metric
    ours: str
    theirs: str = ""
    limit: float | None = None
    least: float | None = None
    unit: float = 1

    def seen(self, results: Mapping[str, Sequence[Measured]]) -> float | None:
        """Median over the rounds of the ratio within a round; None when something was not measured."""
        if self.ours not in results or (self.theirs and self.theirs not in results):
            return None
        ours = [float(getattr(run, self.metric)) for run in results[self.ours]]
        theirs = [float(getattr(run, self.metric)) for run in results[self.theirs]] if self.theirs else []
        pairs = zip(
            ours, theirs or [self.unit] * len(ours), strict=False
        )  # in the middle of a round one has a run more
        return statistics.median(mine / other for mine, other in pairs)

    def met(self, seen: float) -> bool:
        """Say whether what was seen is as promised."""
        return (self.limit is None or seen <= self.limit) and (self.least is None or seen >= self.least)

    @property
    def promise(self) -> str:
        """The limit in words; empty for what is only shown."""
        if self.limit is not None:
            return f"<= {self.limit:g}"
        return f">= {self.least:g}" if self.least is not None else ""


TARGETS = (
    Target("fetch: CPU against skopeo copy", "cpu", "own-fetch", "skopeo", 0.5),
    Target("fetch: wall against curl", "wall", "own-fetch", "curl", 2.0),
    Target("registry layers, cold: wall against skopeo copy + tar", "wall", "own-registry-form", "skopeo-tar", 1.0),
    Target("zstd layers, cold: CPU against curl + gzip -d + zstd", "cpu", "own-cold", "parts", 1.15),
    Target("cold: wall against docker pull + save + zstd -16", "wall", "own-cold", "docker-zstd", 0.1),
    Target("cold: size against docker pull + save + zstd -16", "size", "own-cold", "docker-zstd"),
    Target("cold: wall against gzip layers + zstd -16", "wall", "own-cold", "gzip-zstd"),
    Target("cold: size against gzip layers + zstd -16", "size", "own-cold", "gzip-zstd", 0.86),
    Target("Docker engine, cold: wall against docker pull + save", "wall", "own-docker", "docker-save", 1.15),
    Target("nothing changed: wall against cold", "wall", "own-unchanged", "own-cold", 0.1),
    Target("one of ten changed: wall against cold", "wall", "own-one-changed", "own-cold", 0.35),
    Target("peak memory, registry engine, MiB", "peak", "own-cold", limit=256, unit=MIB),
    Target("peak memory, Docker engine, MiB", "peak", "own-docker", limit=256, unit=MIB),
    Target("import: wall against gzip layers", "wall", "own-import", "gzip-import", 1.0),
    Target("import and unpack: wall against gzip layers", "wall", "own-import-unpack", "gzip-import-unpack", 1.0),
    Target("import: bytes on the node against gzip layers", "size", "own-import", "gzip-import", 0.87),
    Target("--help, wall seconds", "wall", "own-help", limit=0.15),
    Target("verify, small bundle: GB hashed a second of CPU, with the start of Python", "rate", "own-verify", unit=1e9),
    Target("verify, biggest bundle: GB hashed a second of CPU", "rate", "own-verify-many", least=1, unit=1e9),
)
"""The limits of the project's performance reference; what has none there is shown beside them."""
