"""`python -m bundler` and the command `k3s-bundler`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Run the command line and exit."""
    # Importing makes many objects and no garbage: looking for it is a tenth of the start.
    gc.set_threshold(50_000)
    _open_missing_streams()
    from bundler.cli.main import main as run  # noqa: PLC0415  keeps the entry point free of work

    sys.exit(run())


def _open_missing_streams() -> None:
    """Stand in for streams that are closed: Python has None for them, and a file opened next would get their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, mode, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115, PTH123
            setattr(sys, name, nowhere)


if __name__ == "__main__":
    main()
