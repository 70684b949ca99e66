"""verify: check a bundle with nothing but itself; exit code 4 when anything is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.order import configure_jobs
from bundler.cli.text import json_text

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "check a bundle with nothing but itself"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument(
        "--unpack", action="store_true", help="also unpack every layer and compare it with its image's config"
    )
    parser.add_argument(
        "--closure",
        action="store_true",
        help="also check that every image that k3s, manifests and charts need is inside",
    )
    configure_jobs(parser, "files")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Read every byte once, and with --unpack those of the archives twice."""
    from bundler.stages.closure import require_closed
    from bundler.stages.verify import verify, verify_unpacked

    progress.stage("verify")
    bundle = (verify_unpacked if args.unpack else verify)(args.bundle, args.jobs, progress)
    if args.closure:
        require_closed(args.bundle)
    progress.close()
    images = sum(len(archive.images) for archive in bundle.archives)
    if args.json:
        report = {"schemaVersion": 1, "path": str(args.bundle), "whole": True, "images": images} | (
            {"closed": True} if args.closure else {}
        )
        print(json_text({**report, "release": bundle.release}))
    else:
        whole = "whole and complete" if args.closure else "whole"
        print(f"{args.bundle}: {whole}, k3s {bundle.release}, {images} images")
    return 0
