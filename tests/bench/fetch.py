"""The product's download alone, for comparing it with curl: `python fetch.py REGISTRY-URL FOLDER < BLOBS`.

A line of the input is `repository digest size`.
"""
# ruff: noqa: E402  the collector is slowed before anything is imported, as the product's entry point does

from __future__ import annotations

import gc

gc.set_threshold(50_000)

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bundler.cli.order import DEFAULT_JOBS
from bundler.engines.access import RegistryAccess
from bundler.engines.distribution import Distribution
from bundler.engines.secrets import Secrets
from bundler.model.digest import parse_digest
from bundler.model.recipe_sources import RegistrySource
from bundler.model.reference import parse_reference
from bundler.net.session import open_session
from bundler.progress import SilentTask


def main() -> None:
    """Bring every blob into the folder."""
    registry, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True)
    distribution = Distribution(
        open_session(), RegistryAccess({"docker.io": RegistrySource(mirrors=(registry,))}, Secrets(Path(), {}))
    )

    def bring(line: str) -> None:
        repository, name, size = line.split()
        digest = parse_digest(name)
        part = folder / digest[7:]
        distribution.blob(parse_reference(f"docker.io/{repository}:1"), digest, int(size), part, SilentTask())

    with ThreadPoolExecutor(DEFAULT_JOBS) as pool:
        list(pool.map(bring, sys.stdin))


if __name__ == "__main__":
    main()
