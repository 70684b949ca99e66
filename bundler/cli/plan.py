"""plan: say what a build would fetch and how much room it needs; nothing is written but the cache of small things."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.cli.order import (
    cache_folder,
    configure_cache,
    configure_jobs,
    configure_recipe,
    order,
    outdated,
    resolved_without_engine,
)
from bundler.cli.text import as_it_is, explained, size_text, table

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter
    from bundler.model.lock import EngineInput
    from bundler.stages.plan import Plan

HELP = "say what a build would fetch, and how much room it needs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    configure_recipe(parser)
    configure_cache(parser)
    configure_jobs(parser)
    parser.add_argument("--locked", action="store_true", help="refuse a missing or outdated lock instead of asking")
    parser.add_argument("--explain", action="store_true", help="say of every image what needs it")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Use the lock when it fits; otherwise ask the servers, but write no lock."""
    from bundler.build import locked
    from bundler.errors import LockError
    from bundler.stages.engine_images import require_engine
    from bundler.stages.plan import plan
    from bundler.store.store import open_store

    store = open_store(cache_folder(args))
    ordered = order(args, store)
    unbuilt: tuple[EngineInput, ...] = ()
    try:
        lock = locked(ordered.lock_path, outdated(ordered, progress))
    except LockError:
        if args.locked:
            raise
        lock, unbuilt = resolved_without_engine(ordered, store, args.jobs, progress), ordered.inputs
    lock = lock.narrow(ordered.architectures)
    planned = plan(lock, ordered.found, store, unbuilt)
    if planned.makes_images:
        require_engine(ordered.recipe)
    progress.close()
    if args.json:
        print(as_it_is(planned.to_json()), end="")
    else:
        print(_text(planned), end="")
        print(_explanation(planned) if args.explain else "", end="")
    return 0


def _explanation(planned: Plan) -> str:
    reasons = {image.reference: image.wanted_by for image in planned.images}
    maybes = [f"{maybe.text}: {maybe.where}" for maybe in planned.maybes]
    return "\n" + explained(reasons, planned.left_out, planned.notes, maybes)


def _text(planned: Plan) -> str:
    rows = [
        (file.name, file.arch or "", "", size_text(file.size), "cached" if file.cached else "fetch")
        for file in planned.files
    ]
    for image in planned.images:
        left = image.size - image.cached
        verb = {"build": "build", "engine": "save", "archive": "read"}.get(image.source, "fetch")
        todo = "cached" if not left else verb if not image.cached else f"{verb} {size_text(left)}"
        rows.append((image.reference, image.arch, str(image.layers), size_text(image.size), todo))
    rows += [(each.reference, each.arch, "", "unknown", f"make from {each.source}") for each in planned.unbuilt]
    return (
        table(("WHAT", "ARCH", "LAYERS", "SIZE", ""), rows, right=frozenset({2, 3}))
        + f"\n\nbundle   {planned.bundle} (k3s {planned.release})"
        + f"\nfetch    {size_text(planned.fetch)}, shared layers once"
        + f"\nroom     {size_text(planned.cache_room)} in the cache, {size_text(planned.bundle_room)} for the bundle\n"
    )
