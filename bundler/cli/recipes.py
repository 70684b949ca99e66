"""recipes: list the recipes that are shipped, and find one by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import bundler

if TYPE_CHECKING:
    import argparse

    from bundler.cli.progress import Reporter

HELP = "list the recipes that are shipped"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: argparse.Namespace, progress: Reporter) -> int:  # noqa: ARG001  every verb is called alike
    """Print name, release and architectures of each recipe."""
    from bundler.cli.text import table
    from bundler.stages.read import read_recipe

    found = [(path, read_recipe(path)) for path in sorted(shipped_recipes())]
    if args.json:
        listed = [
            {"name": path.stem, "path": str(path), "release": recipe.release, "arch": list(recipe.arch)}
            for path, recipe in found
        ]
        print(json.dumps({"schemaVersion": 1, "recipes": listed}, indent=2))
    else:
        rows = [(path.stem, recipe.release, ",".join(recipe.arch), str(path)) for path, recipe in found]
        print(table(("NAME", "RELEASE", "ARCH", "PATH"), rows))
    return 0


def shipped_recipes() -> tuple[Path, ...]:
    """List the recipe files that come with the package, or stand beside it in a checkout."""
    package = Path(bundler.__file__).parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return tuple(folder.glob("*.yaml"))
    return ()


def find_recipe(text: str) -> tuple[Path, bool]:
    """Find a recipe by path, or by the name of a shipped one; the second value says that it is a shipped one.

    Raises RecipeNotFoundError.
    """
    from bundler.errors import RecipeNotFoundError

    path = Path(text)
    if "/" in text or path.suffix in {".yaml", ".yml"} or path.is_file():
        return path, False
    shipped = {each.stem: each for each in shipped_recipes()}
    if text not in shipped:
        raise RecipeNotFoundError(
            f"there is no recipe called {text}",
            hint=f"give the path of a recipe file, or one of: {', '.join(sorted(shipped))}",
        )
    return shipped[text], True
