"""Serve the upstream in the foreground, or while a command runs: `python -m tests.upstream --help`."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.upstream.content import EXTRA_IMAGE, standard_content
from tests.upstream.layers import Filler
from tests.upstream.upstream import Upstream


def main() -> int:
    """Serve until SIGINT or SIGTERM, or until the command has ended; gives the command's exit code."""
    arguments = _parser().parse_args()
    filler = Filler(arguments.layer_mib, arguments.compressible) if arguments.layer_mib else None
    with Upstream(standard_content(filler), port=arguments.port) as upstream:
        print(f"releases  {upstream.releases_url}", f"channels  {upstream.channels_url}", sep="\n")
        print(f"registry  {upstream.url}", flush=True)
        if not arguments.command:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: sys.exit(0))
        if arguments.write_recipe:
            _write(arguments.write_recipe, recipe(upstream))
        if arguments.command:
            return _run(arguments.command)
        while True:
            signal.pause()


def _run(command: list[str]) -> int:
    """Run the command to its end; a signal is the command's to answer, and ends the server through it."""
    with subprocess.Popen(command) as child:
        signal.signal(signal.SIGINT, lambda *_: None)  # a terminal sends it to the command as well
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        code = child.wait()
    return code if code >= 0 else 128 - code


def recipe(upstream: Upstream) -> str:
    """Write a recipe that takes everything from `upstream`."""
    return f"""\
# A bundle of stand-ins, from a server on this machine. Nothing in it runs a cluster.
version: 1
name: demo
release: stable
arch: [amd64, arm64, arm]
engine: registry
images:
  extra:
    - {EXTRA_IMAGE}
sources:
  releases: {upstream.releases_url}
  tag_style: percent
  channels: {upstream.channels_url}
  registries:
    docker.io: ["{upstream.url}"]
"""


def _write(path: Path, text: str) -> None:
    """Write at once: whoever waits for the file finds it complete, and the server running."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--write-recipe", type=Path, metavar="FILE", help="write a recipe that points here")
    parser.add_argument("--layer-mib", type=int, default=0, metavar="N", help="give klipper-helm a layer of N MiB")
    parser.add_argument("--compressible", action="store_true", help="let that layer compress well")
    parser.add_argument("command", nargs="*", help="serve only while this command runs; put -- before it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
