"""inspect: list what a bundle says it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.text import as_it_is, explained, json_text, size_text, table

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "list what a bundle holds"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--explain", action="store_true", help="say of every image what needs it")
    parser.add_argument("--json", action="store_true", help="print bundle.json; with --explain, the reasons alone")


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Print release, files and images."""
    from bundler.model.bundle import read_bundle

    bundle = read_bundle(args.bundle)
    if args.explain:
        return _explain(args.bundle, json_wanted=args.json)
    if args.json:
        print(as_it_is(bundle.to_json()), end="")
        return 0
    rows = [
        (binary.path, str(binary.arch), "", size_text(binary.size), binary.digest[7:19]) for binary in bundle.binaries
    ]
    for archive in bundle.archives:
        rows.append((archive.path, archive.arch, "", f"{size_text(archive.unpacked)} unpacked", ""))
        rows += [
            (f"  {image.name}", image.platform, str(image.layers), size_text(image.size), image.config[7:19])
            for image in archive.images
        ]
    rows += [(file.path, "", "", size_text(file.size), file.digest[7:19]) for file in bundle.files]
    print(f"{bundle.name}: k3s {bundle.release}, layers {bundle.layers}\n")
    print(table(("WHAT", "PLATFORM", "LAYERS", "SIZE", "DIGEST"), rows, right=frozenset({2, 3})))
    return 0


def _explain(folder: Path, *, json_wanted: bool) -> int:
    """Tell from the bundle's lock and manifests what each image is for."""
    from bundler.stages.closure import read_contents

    contents = read_contents(folder)
    reasons = {image.reference: image.wanted_by for image in contents.lock.images}
    maybes = [f"{maybe.text}: {maybe.where}" for maybe in contents.found.maybes]
    if json_wanted:
        report = {
            "schemaVersion": 1,
            "images": [{"reference": name, "wantedBy": why} for name, why in sorted(reasons.items())],
            "leftOut": [{"reference": image.reference, "why": image.why} for image in contents.lock.left_out],
            "maybes": [{"text": maybe.text, "where": maybe.where} for maybe in contents.found.maybes],
            "notes": contents.found.notes,
        }
        print(json_text(report))
    else:
        print(explained(reasons, contents.lock.left_out, contents.found.notes, maybes), end="")
    return 0
