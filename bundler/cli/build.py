"""build: make the bundle of a recipe. The last line on stdout is the bundle's folder."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.order import (
    cache_folder,
    configure_cache,
    configure_jobs,
    configure_recipe,
    engine_images,
    order,
    outdated,
    resolved,
    servers_of,
    session_for,
)
from bundler.cli.text import json_text

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter
    from bundler.stages.plan import Plan

HELP = "make the bundle of a recipe"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_recipe(parser)
    parser.add_argument(
        "--engine", choices=("auto", "docker", "registry"), help="where images come from (recipe: engine)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("dist"), metavar="DIR", help="folder for the bundle (default: %(default)s)"
    )
    configure_cache(parser)
    configure_jobs(parser)
    parser.add_argument("--locked", action="store_true", help="refuse a missing or outdated lock instead of writing it")
    parser.add_argument("--replace", action="store_true", help="replace the bundle that is there already")
    parser.add_argument("--archive", action="store_true", help="also write the bundle as one tar, with its checksum")
    parser.add_argument("--keep-images", action="store_true", help="leave pulled and built images in the Docker engine")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, as `plan` does")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the folder")
    parser.set_defaults(explain=False)  # of plan, which does the dry run


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Lock if need be, bring what is missing, and assemble."""
    from bundler.build import assemble, bring, lock_kept, locked
    from bundler.cli import plan as plan_verb
    from bundler.engines.archive import WithArchives
    from bundler.engines.choice import choose_engine
    from bundler.engines.secrets import Secrets
    from bundler.model.bundle import bundle_name
    from bundler.site.folder import require_free
    from bundler.site.told import told_by
    from bundler.stages.archive import require_free_archive, write_archive
    from bundler.stages.charts import fetch_charts
    from bundler.stages.emit import private_paths
    from bundler.stages.plan import plan
    from bundler.stages.secrets import read_secrets
    from bundler.store.store import open_store

    if args.dry_run:
        return plan_verb.run(args, progress)
    store = open_store(cache_folder(args))
    ordered = order(args, store)
    recipe = ordered.recipe
    if args.locked:
        whole = locked(ordered.lock_path, outdated(ordered, progress))
    else:
        relock = partial(resolved, ordered, store, args.jobs, progress, keep_images=args.keep_images)
        whole = lock_kept(ordered.lock_path, outdated(ordered, progress), relock, ordered.lock_hint, progress)
    told = told_by(recipe, read_secrets(recipe, Secrets(ordered.folder, os.environ), progress))
    lock = whole.narrow(ordered.architectures)
    target = args.output / bundle_name(lock)
    require_free(target, replace=args.replace)
    if args.archive:
        require_free_archive(target, replace=args.replace)
    _require_room(plan(lock, ordered.found, store), store.root, args.output)
    servers = servers_of(recipe, ordered.folder, session_for(recipe, ordered.folder, progress))
    engine = choose_engine(
        args.engine or recipe.engine,
        servers.distribution,
        servers.access,
        progress,
        layers=lock.layers,
        keep_images=args.keep_images,
    )
    with closing(WithArchives(engine, ordered.folder)) as archives:
        engine_images(ordered, store, progress, keep_images=args.keep_images).bring(lock, ordered.inputs)
        fetch_charts(lock, servers.session, servers.distribution, store, progress)
        bring(lock, archives, servers.releases, store, args.jobs, progress)
    bundle = assemble(told, lock, store, target, args.jobs, progress, replace=args.replace)
    private = private_paths(told, lock)
    archive = write_archive(target, private, progress, replace=args.replace) if args.archive else None
    progress.close()
    if args.json:
        report = {"schemaVersion": 1, "path": str(target), "archive": str(archive) if archive else None}
        print(json_text({**report, "bundle": json.loads(bundle.to_json())}))
    else:
        print(target)
    return 0


def _require_room(planned: Plan, cache: Path, output: Path) -> None:
    """Refuse before the first byte is fetched when the disk cannot hold the result."""
    from bundler.cli.text import size_text
    from bundler.errors import DiskFullError, host_error

    try:
        output.mkdir(parents=True, exist_ok=True)
        needs = {cache: planned.cache_room, output: planned.bundle_room}
        if cache.stat().st_dev == output.stat().st_dev:
            needs = {output: planned.cache_room + planned.bundle_room}
        free = {folder: shutil.disk_usage(folder).free for folder in needs}
    except OSError as error:
        raise host_error(error, output) from error
    for folder, need in needs.items():
        if free[folder] < need:
            raise DiskFullError(
                f"{folder} has {size_text(free[folder])} free, the build needs about {size_text(need)}",
                hint="free some room, or choose another place with --cache-dir and --output",
            )
