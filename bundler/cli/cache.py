"""cache: look after the builder's cache; what it lacks is fetched or built again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.cli.order import cache_folder, configure_cache, from_zero
from bundler.cli.text import json_text, size_text, table

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "look after the cache: ls, verify, prune, path"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the actions."""
    parser.add_argument(
        "action",
        choices=("ls", "verify", "prune", "path"),
        help="ls: sizes by kind; verify: read everything, throw away what is damaged; "
        "prune: remove what was not used for --days; path: print the folder",
    )
    configure_cache(parser)
    parser.add_argument(
        "--days",
        type=from_zero,
        default=30,
        metavar="N",
        help="prune: keep what was used within N days (default: %(default)s)",
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="prune: say what would go, remove nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Do one of the actions."""
    import time

    from bundler.errors import CacheDamagedError
    from bundler.store.care import prune, usage, verify_all
    from bundler.store.store import open_store

    folder = cache_folder(args)
    if args.action == "path":
        print(folder)
        return 0
    store = open_store(folder)
    if args.action == "ls":
        kinds = usage(store)
        if args.json:
            listed = {kind.name: {"files": kind.files, "bytes": kind.size} for kind in kinds}
            print(json_text({"schemaVersion": 1, "path": str(folder), "kinds": listed}))
        else:
            rows = [(kind.name, str(kind.files), size_text(kind.size), kind.meaning) for kind in kinds]
            print(f"{folder}\n" + table(("KIND", "FILES", "SIZE", ""), rows, right=frozenset({1, 2})))
        return 0
    if args.action == "verify":
        progress.stage("verify")
        damaged = verify_all(store, progress)
        if args.json:
            print(json_text({"schemaVersion": 1, "path": str(folder), "damaged": list(damaged)}))
        if damaged:
            raise CacheDamagedError(
                f"{folder} had damaged files, which are gone now: {', '.join(damaged)}",
                hint="the next build fetches them again; look after the disk",
            )
        if not args.json:
            print(f"{folder}: whole")
        return 0
    freed = prune(store, time.time() - args.days * 86400, remove=not args.dry_run)
    if args.json:
        print(json_text({"schemaVersion": 1, "path": str(folder), "files": freed.files, "bytes": freed.size}))
    else:
        print(f"{freed.files} files, {size_text(freed.size)} {'would be' if args.dry_run else 'were'} removed")
    return 0
