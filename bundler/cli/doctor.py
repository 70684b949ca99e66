"""doctor: say which engine a build would use and why, and what is wrong; exit code of the worst error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.order import (
    cache_folder,
    configure_cache,
    configure_settings,
    lock_place,
    read_with_settings,
    servers_of,
)
from bundler.cli.text import json_text

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter
    from bundler.model.recipe import Recipe
    from bundler.stages.doctor import Finding

HELP = "say which engine would be used, and what is wrong"

_PATIENCE = 10
"""Seconds for a server to answer: a look must not take minutes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="look at the servers of this recipe (default: those of k3s)"
    )
    parser.add_argument("--engine", choices=("auto", "docker", "registry"), help="look whether this one can be used")
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), metavar="DIR", help="folder for the bundle (default: %(default)s)"
    )
    configure_cache(parser)
    configure_settings(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Look at everything and print one line each."""
    import time
    from dataclasses import replace

    from bundler.net.session import NetworkSettings, open_session
    from bundler.stages.doctor import Surroundings, examine, usable_certificates
    from bundler.stages.lockfile import why_not_of

    recipe, folder, lock = _recipe(args)
    around = Surroundings(cache_folder(args), args.output, lock, os.environ, time.time, why_not_of)
    settings = NetworkSettings(connect_timeout=_PATIENCE, read_timeout=_PATIENCE, retries=0)
    certificates = usable_certificates(recipe.sources, folder)
    with open_session(replace(settings, certificates=certificates)) as session:
        servers = servers_of(recipe, folder, session)
        examination = examine(recipe, args.engine or recipe.engine, around, servers.releases, servers.access)
    progress.close()
    if args.json:
        # Not `to_json`, whose UTF-8 has no place for the name of a folder that is no text.
        print(json_text(examination.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=True))
    else:
        print("\n".join(_text(finding) for finding in examination.findings))
    return examination.exit_code


def _recipe(args: argparse.Namespace) -> tuple[Recipe, Path, Path | None]:
    """Give the recipe with its folder and the lock a build would use, or the sources that hold without a recipe."""
    from bundler.cli.shipped import find_recipe
    from bundler.model.recipe import Recipe
    from bundler.store.store import Store

    if args.recipe is None:
        return Recipe(version=1, name="doctor", release="stable", arch=("amd64",)), Path(), None
    path, shipped = find_recipe(args.recipe)
    recipe = read_with_settings(args, path)
    # A store that is not opened: a look must not make it.
    return recipe, path.parent, lock_place(args, path, recipe, recipe, Store(cache_folder(args)), shipped=shipped)


def _text(finding: Finding) -> str:
    label = finding.state if finding.error is None else f"error[{finding.error}]"
    lines = [f"{label:<8} {finding.subject}: {finding.what}"]
    return "\n".join(lines + ([f"         hint: {finding.hint}"] if finding.hint else []))
