"""schema: print the JSON Schema of recipes, for editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "print the JSON Schema of recipes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare no options."""
    del parser


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Print it."""
    from bundler.model.recipe import recipe_schema

    print(recipe_schema(), end="")
    return 0
