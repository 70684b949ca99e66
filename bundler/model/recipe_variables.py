"""Variables of a recipe: `${name}` in its texts, with a default there and a value from outside.

Not a template language: a name is replaced by a text, in texts, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Settings
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from bundler.errors import RecipeMistake
from bundler.model.recipe_extends import EXTENDS
from bundler.model.strict import FrozenMapping, Strict
from bundler.model.yaml_nodes import Mapping, Node, Path, Scalar, Sequence, path_text, shown
from bundler.model.yaml_values import scalar_value

VARIABLES = "variables"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_USE = re.compile(r"(\$?)\$\{(?![0-9])([^}]*)\}?")
"""`${name}`, and `$${name}` for that text itself; `$1` and `${1}` are groups of expressions and stay as they are."""


def _variable_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is not a name of a variable: 1 to 40 lower-case letters, digits and _, a letter first")
    return text


class Variable(Strict):
    """A text that may be given from outside."""

    default: str | None = Field(
        default=None, examples=["registry.example:5000"], description="its value when none is given; else it must be"
    )
    description: str | None = Field(
        default=None, examples=["the site's own registry, host and port"], description="what it is for"
    )


Variables = FrozenMapping[
    Annotated[str, AfterValidator(_variable_name)],
    Variable,
]


def why_unknown(name: str, variables: Settings[str, object]) -> str:
    """Say that there is no variable called `name`, and which one may be meant."""
    return f"there is no variable {shown(name)}" + _instead(name, variables)


def filled(root: Mapping, settings: Settings[str, str]) -> tuple[Mapping, tuple[RecipeMistake, ...]]:
    """Replace each `${name}` in the texts below `root`; keys, and the variables themselves, stay as they are.

    `settings` are the values from outside, by name.
    """
    known = {name: settings.get(name, default) for name, default in _declared(root).items()}
    mistakes: list[RecipeMistake] = []
    entries = []
    for key, value in root.entries:
        untouched = key.text in {EXTENDS, VARIABLES}
        entries.append((key, value if untouched else _filled(value, (key.text,), known, mistakes)))
    return replace(root, entries=tuple(entries)), tuple(mistakes)


def escaped(value: Any) -> Any:
    """Write texts of plain data so that `filled` gives them back as they are."""
    match value:
        case str():
            return _USE.sub(lambda use: "$" + use[0].removeprefix(use[1]), value)
        case Settings():
            return {key: escaped(item) for key, item in value.items()}
        case tuple() | list():
            return [escaped(item) for item in value]
        case _:
            return value


def _declared(root: Mapping) -> dict[str, str | None]:
    """Read the defaults as far as they can be read; what is wrong with them is told by their type."""
    entry = root.find(VARIABLES)
    if entry is None or not isinstance(entry[1], Mapping):
        return {}
    found: dict[str, str | None] = {}
    for key, variable in entry[1].entries:
        default = variable.find("default") if isinstance(variable, Mapping) else None
        value = scalar_value(default[1]) if default and isinstance(default[1], Scalar) else None
        found[key.text] = value if isinstance(value, str) else None
    return found


def _filled(node: Node, path: Path, known: Settings[str, str | None], mistakes: list[RecipeMistake]) -> Node:
    match node:
        case Scalar():
            return _filled_text(node, path, known, mistakes)
        case Sequence():
            items = (_filled(item, (*path, index), known, mistakes) for index, item in enumerate(node.items))
            return replace(node, items=tuple(items))
        case Mapping():
            for key, _ in node.entries:
                if (use := _USE.search(key.text)) and not use[1]:
                    mistakes.append(_mistake(key, (*path, key.text), "is a key, and variables stand in values only"))
            entries = ((key, _filled(value, (*path, key.text), known, mistakes)) for key, value in node.entries)
            return replace(node, entries=tuple(entries))


def _filled_text(node: Scalar, path: Path, known: Settings[str, str | None], mistakes: list[RecipeMistake]) -> Scalar:
    wrong: list[str] = []

    def value(use: re.Match[str]) -> str:
        text, escaped, name = use[0], use[1], use[2]
        if escaped:
            return text[1:]
        if why := _why_no_value(text, name, known):
            wrong.append(why)
            return text
        return known[name] or ""

    filled_text = _USE.sub(value, node.text)
    mistakes += [_mistake(node, path, why) for why in wrong[:1]]
    # Quoted from now on: a value that looks like a number is text all the same.
    return node if filled_text == node.text else replace(node, text=filled_text, plain=False)


def _why_no_value(text: str, name: str, known: Settings[str, str | None]) -> str | None:
    if not _NAME.fullmatch(name) or not text.endswith("}"):
        return f"{shown(text)} is not a variable: write ${{name}}, or $${{ for a dollar and a brace"
    if name not in known:
        return why_unknown(name, known)
    if known[name] is None:
        return f"the variable {name} has no value: give --set {name}=..., or write a default under variables"
    return None


def _instead(name: str, known: Settings[str, object]) -> str:
    if near := get_close_matches(name[:64], known, n=1):
        return f'; did you mean "{near[0]}"?'
    return f"; there are: {', '.join(sorted(known))}" if known else ": write it under variables"


def _mistake(node: Scalar, path: Path, what: str) -> RecipeMistake:
    return RecipeMistake(node.mark.line, node.mark.column, path_text(path), what, node.mark.source)
