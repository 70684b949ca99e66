"""lock: write down everything a recipe means, by digest. The last line on stdout is the lock's path."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bundler.cli.order import (
    cache_folder,
    configure_cache,
    configure_jobs,
    configure_recipe,
    known_lock,
    order,
    outdated,
    resolved,
)
from bundler.cli.text import as_it_is

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "write down everything a recipe means, by digest"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_recipe(parser)
    configure_cache(parser)
    configure_jobs(parser)
    parser.add_argument("--update", action="store_true", help="ask anew what channels and tags point to")
    parser.add_argument("--check", action="store_true", help="only say whether the lock fits the recipe (exit code 6)")
    parser.add_argument("--json", action="store_true", help="print the lock itself instead of its path")


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Keep a lock that fits, make one that does not."""
    from bundler.build import lock_kept, locked
    from bundler.stages.lockfile import what_moved, write_lock
    from bundler.store.store import open_store

    store = open_store(cache_folder(args))
    ordered = order(args, store)
    relock = partial(resolved, ordered, store, args.jobs, progress, keep_images=False, update=args.update)
    if args.check:
        lock = locked(ordered.lock_path, outdated(ordered, progress))
    elif args.update:
        known, lock = known_lock(ordered.lock_path), relock()
        write_lock(lock, ordered.lock_path, ordered.lock_hint)
        for line in what_moved(known, lock) if known else ():
            progress.note(line)
    else:
        lock = lock_kept(ordered.lock_path, outdated(ordered, progress), relock, ordered.lock_hint, progress)
    progress.close()
    print(as_it_is(lock.to_json()), end="") if args.json else print(ordered.lock_path)
    return 0
