"""recipes: list the recipes that are shipped, show one, check files, begin a new one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bundler.cli import new_recipe
from bundler.cli.order import configure_settings, read_with_settings
from bundler.cli.shipped import find_recipe, shipped_recipes, summary
from bundler.cli.text import as_it_is, json_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.cli.progress import Reporter
    from bundler.errors import RecipeMistake
    from bundler.model.recipe import Recipe

HELP = "list the recipes that are shipped, show one, check files, begin a new one"


def configure(parser: argparse.ArgumentParser) -> tuple[argparse.ArgumentParser, ...]:
    """Declare the actions; `list` is done when none is named. Gives their parsers."""
    parser.set_defaults(action="list")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="name the recipes that are shipped", description=_list.__doc__)
    show = actions.add_parser("show", help="print a recipe", description=_show.__doc__)
    show.add_argument("recipe", metavar="RECIPE", help="recipe file, or the name of a shipped recipe")
    show.add_argument(
        "--resolved",
        action="store_true",
        help="as it is read: with what it extends, variables replaced, defaults written out",
    )
    check = actions.add_parser("check", help="tell every mistake of recipe files", description=_check.__doc__)
    check.add_argument("recipe", nargs="+", metavar="FILE", help="recipe file, or the name of a shipped recipe")
    for each in (show, check):
        configure_settings(each)
    for each in (listing, show, check):
        # Without a default of its own, so that `recipes --json list` keeps what stands before the action.
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")
    new = actions.add_parser("new", help="write a recipe of your own", description=new_recipe.__doc__)
    new_recipe.configure(new)
    return listing, show, check, new


def run(args: argparse.Namespace, progress: Reporter) -> int:
    """Do one of the actions."""
    match args.action:
        case "show":
            return _show(args)
        case "check":
            return _check(args)
        case "new":
            return new_recipe.run(args, progress)
        case _:
            return _list(args)


def _list(args: argparse.Namespace) -> int:
    """Name the recipes that are shipped: release, architectures, and what each is for."""
    from bundler.cli.text import table
    from bundler.stages.read import read_recipe

    found = [(path, read_recipe(path)) for path in shipped_recipes()]
    if args.json:
        listed = [
            {
                "name": path.stem,
                "path": str(path),
                "release": recipe.release,
                "arch": list(recipe.arch),
                "summary": summary(path),
            }
            for path, recipe in found
        ]
        print(json_text({"schemaVersion": 1, "recipes": listed}))
    else:
        rows = [(path.stem, recipe.release, ",".join(recipe.arch), summary(path)) for path, recipe in found]
        print(table(("NAME", "RELEASE", "ARCH", "FOR"), rows))
    return 0


def _show(args: argparse.Namespace) -> int:
    """Print a recipe as it is written, or with --resolved as it is read."""
    path, _ = find_recipe(args.recipe)
    recipe = read_with_settings(args, path)
    if args.json:
        shown = {"schemaVersion": 1, "path": str(path), "recipe": recipe.resolved()}
        print(json_text(shown))
    elif args.resolved:
        print("".join(_resolved_text(path, recipe)), end="")
    else:
        print(as_it_is(path.read_text(encoding="utf-8-sig").encode()), end="")
    return 0


def _resolved_text(path: Path, recipe: Recipe) -> Iterator[str]:
    from bundler.model.recipe_text import recipe_text
    from bundler.model.recipe_variables import escaped

    yield f"# {path} as it is read; paths are from its folder.\n"
    yield recipe_text(escaped(recipe.resolved()))


def _check(args: argparse.Namespace) -> int:
    """Tell every mistake of every file at once; exit code 2 when there are any."""
    from bundler.errors import BundlerError, RecipeError, RecipeMistake, mistakes_of_several

    found: dict[str, tuple[RecipeMistake, ...]] = {}
    for text in args.recipe:
        try:
            path, _ = find_recipe(text)
            read_with_settings(args, path)
            found[text] = ()
        except RecipeError as error:
            found[text] = error.mistakes
        except BundlerError as error:
            found[text] = (RecipeMistake(1, 1, "", error.what),)
    wrong = {source: mistakes for source, mistakes in found.items() if mistakes}
    if args.json:
        print(json_text(_report(found)))
        return RecipeError.exit_code if wrong else 0
    for source in (each for each in found if each not in wrong):
        print(f"{source}: good")
    if wrong:
        raise mistakes_of_several(wrong)
    return 0


def _report(found: dict[str, tuple[RecipeMistake, ...]]) -> dict[str, object]:
    return {
        "schemaVersion": 1,
        "recipes": [
            {
                "path": source,
                "mistakes": [
                    {
                        "file": mistake.source or source,
                        "line": mistake.line,
                        "column": mistake.column,
                        "path": mistake.path,
                        "what": mistake.what,
                    }
                    for mistake in mistakes
                ],
            }
            for source, mistakes in found.items()
        ],
    }
