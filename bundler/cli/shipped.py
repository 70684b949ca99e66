"""The recipes that are shipped, and how one is found by name."""

from __future__ import annotations

from pathlib import Path

import bundler


def shipped_recipes() -> tuple[Path, ...]:
    """List the recipe files that come with the package, or stand beside it in a checkout, by name.

    One that brings files of its own lies with them in a folder: `with-app/with-app.yaml`.
    """
    package = Path(bundler.__file__).parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            own_folders = (path for path in folder.glob("*/*.yaml") if path.stem == path.parent.name)
            return tuple(sorted((*folder.glob("*.yaml"), *own_folders), key=lambda path: path.stem))
    return ()


def summary(path: Path) -> str:
    """Give the first words of comment in a shipped recipe, which say what it is for."""
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.removeprefix("#").strip()
        if line.startswith("# ") and not text.startswith("yaml-language-server"):
            return text.partition(". ")[0].rstrip(".")
    return ""


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
