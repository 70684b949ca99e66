"""`python -m bundler` and the command `k3s-bundler`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit."""
    from bundler.cli.main import main as run  # noqa: PLC0415  keeps the entry point free of work

    sys.exit(run())


if __name__ == "__main__":
    main()
