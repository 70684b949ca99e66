"""`python -m bundler` and the command `k3s-bundler`."""

from __future__ import annotations

import gc
import io
import sys


def main() -> None:
    """Run the command line and exit."""
    # Importing makes many objects and no garbage: looking for it is a tenth of the start.
    gc.set_threshold(50_000)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character of a path or recipe is no reason to end.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    from bundler.cli.main import main as run  # noqa: PLC0415  keeps the entry point free of work

    sys.exit(run())


if __name__ == "__main__":
    main()
