"""inspect: list what a bundle says it holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.text import size_text, table

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "list what a bundle holds"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("--json", action="store_true", help="print bundle.json")


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Print release, files and images."""
    from bundler.model.bundle import read_bundle

    bundle = read_bundle(args.bundle)
    if args.json:
        print(bundle.to_json().decode(), end="")
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
    print(f"{bundle.name}: k3s {bundle.release}, layers {bundle.layers}\n")
    print(table(("WHAT", "PLATFORM", "LAYERS", "SIZE", "DIGEST"), rows, right=frozenset({2, 3})))
    return 0
