"""Read: a recipe file becomes a checked, frozen Recipe, or every mistake in it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from bundler.errors import HostError, RecipeError, RecipeMistake, RecipeNotFoundError
from bundler.model.marked_yaml import Mapping, Node, Path, Scalar, Sequence, path_text, read_marked_yaml
from bundler.model.recipe import Recipe, schema_data
from bundler.model.recipe_mistakes import Finding, findings

if TYPE_CHECKING:
    from pathlib import Path as FilePath

MOST_BYTES = 1024 * 1024
_LONGEST_SENTENCE = 400


def read_recipe(path: FilePath) -> Recipe:
    """Read the recipe at `path`.

    Raises RecipeNotFoundError when there is none, HostError when it cannot be read, RecipeError when it has mistakes.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        what = "is a folder, not a recipe" if isinstance(error, IsADirectoryError) else "is not there"
        raise RecipeNotFoundError(
            f"{path} {what}", hint="name a recipe file; `k3s-bundler recipes` lists those that are shipped"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise HostError(f"{path} cannot be read: {why}", hint="check its owner and mode") from None
    return parse_recipe(data, str(path))


def parse_recipe(data: bytes, source: str) -> Recipe:
    """Check the recipe in `data`; `source` names the file in messages. Raises RecipeError with every mistake."""
    if len(data) > MOST_BYTES:
        raise RecipeError(
            source, (RecipeMistake(1, 1, "", f"the file is bigger than {MOST_BYTES} bytes: this is no recipe"),)
        )
    document = read_marked_yaml(data)
    if document.root is None:
        raise RecipeError(source, document.mistakes)
    root = document.root
    if not isinstance(root, Mapping):
        what = "a recipe is a mapping: `version: 1` on a line of its own, then the other keys"
        raise RecipeError(source, (*document.mistakes, RecipeMistake(root.mark.line, root.mark.column, "", what)))
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        found = findings(error, schema_data(), lambda path: _source_text(root, path))
        placed = tuple(_placed(root, finding) for finding in found)
        raise RecipeError(source, _in_order(document.mistakes + placed)) from None
    if document.mistakes:
        raise RecipeError(source, _in_order(document.mistakes))
    return recipe


def _placed(root: Node, finding: Finding) -> RecipeMistake:
    key, value = _look_up(root, finding.path)
    mark = key.mark if finding.at_key and key else value.mark
    cut = finding.what if len(finding.what) <= _LONGEST_SENTENCE else finding.what[: _LONGEST_SENTENCE - 3] + "..."
    return RecipeMistake(mark.line, mark.column, path_text(finding.path), cut)


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
    """Sort by place, and keep the first where YAML and the recipe's rules complain about the same value."""
    first: dict[tuple[int, int, str], RecipeMistake] = {}
    for mistake in mistakes:
        first.setdefault((mistake.line, mistake.column, mistake.path), mistake)
    return tuple(sorted(first.values(), key=lambda mistake: (mistake.line, mistake.column)))
