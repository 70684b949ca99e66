"""Read: a recipe file becomes a checked, frozen Recipe, or every mistake in it at once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from bundler.errors import BundlerError, HostError, RecipeError, RecipeMistake, RecipeNotFoundError
from bundler.model.marked_yaml import Document, read_marked_yaml
from bundler.model.recipe import Recipe, schema_data
from bundler.model.recipe_extends import EXTENDS, base_of, merged, moved, with_paths
from bundler.model.recipe_mistakes import Finding, findings
from bundler.model.recipe_variables import filled
from bundler.model.yaml_nodes import Mapping, Node, Path, Scalar, Sequence, path_text
from bundler.model.yaml_values import plain_data

if TYPE_CHECKING:
    from collections.abc import Mapping as Settings

MOST_BYTES = 1024 * 1024
MOST_FILES = 8
"""Recipes that extend one another."""

_LONGEST_SENTENCE = 400
_NO_SETTINGS: Settings[str, str] = MappingProxyType({})


def read_recipe(path: FilePath, settings: Settings[str, str] = _NO_SETTINGS) -> Recipe:
    """Read the recipe at `path` together with those it extends; `settings` are values of its variables.

    Raises RecipeNotFoundError when there is none, HostError when it cannot be read, RecipeError when it has mistakes.
    """
    root, mistakes = _with_base(_mapping(_document(path)), path, (path.resolve(),))
    return _checked(root, mistakes, str(path), settings)


def parse_recipe(data: bytes, source: str, settings: Settings[str, str] = _NO_SETTINGS) -> Recipe:
    """Check the recipe in `data`, alone; `source` names the file in messages. Raises RecipeError with every mistake."""
    root, mistakes = _mapping(_parsed(data))
    return _checked(root, mistakes, source, settings)


_Part = tuple[Mapping | None, tuple[RecipeMistake, ...]]
"""A recipe's nodes, None when they cannot be read, and what is wrong so far."""


def _document(path: FilePath) -> Document:
    try:
        with path.open("rb") as file:
            return _parsed(file.read(MOST_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        what = "is a folder, not a recipe" if isinstance(error, IsADirectoryError) else "is not there"
        raise RecipeNotFoundError(
            f"{path} {what}", hint="name a recipe file; `k3s-bundler recipes` lists those that are shipped"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise HostError(f"{path} cannot be read: {why}", hint="check its owner and mode") from None


def _parsed(data: bytes) -> Document:
    if len(data) > MOST_BYTES:
        what = f"the file is bigger than {MOST_BYTES} bytes: this is no recipe"
        return Document(None, None, (RecipeMistake(1, 1, "", what),))
    return read_marked_yaml(data)


def _mapping(document: Document) -> _Part:
    root = document.root
    if root is None or isinstance(root, Mapping):
        return root, document.mistakes
    what = "a recipe is a mapping: `version: 1` on a line of its own, then the other keys"
    return None, (*document.mistakes, RecipeMistake(root.mark.line, root.mark.column, "", what))


def _with_base(part: _Part, path: FilePath, chain: tuple[FilePath, ...]) -> _Part:
    """Lay a recipe over what it extends; `chain` are the files on the way here."""
    root, mistakes = part
    extends = base_of(root) if root else None
    if root is None or extends is None:
        return root, mistakes
    base_path = path.parent / extends.text

    def refused(what: str) -> _Part:
        return None, (*mistakes, RecipeMistake(extends.mark.line, extends.mark.column, EXTENDS, what))

    try:
        real = base_path.resolve()
        if real in chain:
            return refused(f"leads back to {base_path}: a recipe cannot extend itself")
        if len(chain) >= MOST_FILES:
            return refused(f"is one file too many: at most {MOST_FILES} recipes extend one another")
        base = _mapping(_document(base_path))
    except (BundlerError, OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before 3.13
        return refused(error.what if isinstance(error, BundlerError) else f"{base_path} cannot be read: {error}")
    below, found = _with_base(base, base_path, (*chain, real))
    mistakes += tuple(each if each.source else replace(each, source=str(base_path)) for each in found)
    if below is None:
        return None, mistakes
    together, conflicts = merged(root, moved(below, str(base_path), _way(path, extends.text), schema_data()))
    return together, mistakes + conflicts


def _way(path: FilePath, extends: str) -> str:
    """Say how one gets from the folder of a recipe to that of its base.

    Never an absolute path: in a certificate of site.registries that would be a place at the site.
    """
    folder = extends.rpartition("/")[0]
    if not extends.startswith("/"):
        return folder
    return os.path.relpath(FilePath(folder or "/").resolve(), path.parent.resolve())


def _checked(
    root: Mapping | None, mistakes: tuple[RecipeMistake, ...], source: str, settings: Settings[str, str]
) -> Recipe:
    if root is None:
        raise RecipeError(source, _in_order(mistakes))
    root, unfilled = filled(root, settings)
    root = with_paths(root)
    mistakes += unfilled
    try:
        recipe = Recipe.model_validate(plain_data(root)[0])
    except ValidationError as error:
        found = findings(error, schema_data(), lambda path: _source_text(root, path))
        mistakes += tuple(_placed(root, finding) for finding in found)
        raise RecipeError(source, _in_order(mistakes)) from None
    if mistakes:
        raise RecipeError(source, _in_order(mistakes))
    return recipe


def _placed(root: Node, finding: Finding) -> RecipeMistake:
    key, value = _look_up(root, finding.path)
    mark = key.mark if finding.at_key and key else value.mark
    cut = finding.what if len(finding.what) <= _LONGEST_SENTENCE else finding.what[: _LONGEST_SENTENCE - 3] + "..."
    return RecipeMistake(mark.line, mark.column, path_text(finding.path), cut, mark.source)


def _source_text(root: Node, path: Path) -> str:
    node = _look_up(root, path)[1]
    return node.text if isinstance(node, Scalar) else ""


def _look_up(root: Node, path: Path) -> tuple[Scalar | None, Node]:
    """Find the key and the value at `path`, or the nearest value above when the file has none there."""
    key: Scalar | None = None
    node = root
    for part in path:
        match node, part:
            case Mapping(), str() if entry := node.find(part):
                key, node = entry
            case Sequence(), int():
                key, node = None, node.items[part]
            case _:
                return None, node
    return key, node


def _in_order(mistakes: tuple[RecipeMistake, ...]) -> tuple[RecipeMistake, ...]:
    """Sort by file and place, and keep the first where YAML and the recipe's rules complain about the same value."""
    first: dict[tuple[str, int, int, str], RecipeMistake] = {}
    for mistake in mistakes:
        first.setdefault((mistake.source, mistake.line, mistake.column, mistake.path), mistake)
    return tuple(sorted(first.values(), key=lambda mistake: (mistake.source, mistake.line, mistake.column)))
