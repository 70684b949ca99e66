"""YAML nodes to plain data, without guessing: what versions of YAML read differently is a mistake.

PyYAML alone would take the last of two equal keys and turn `no` into False without a word.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeAlias

from bundler.errors import RecipeMistake
from bundler.model.yaml_nodes import Mapping, Mark, Node, Path, Scalar, Sequence, path_text, shown

Plain: TypeAlias = "str | int | float | bool | tuple[Plain, ...] | dict[str, Plain] | None"

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 64  # longer ones are text; also keeps the expressions below from long texts
_DOUBTFUL = re.compile(
    r"(?:y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF)"  # YAML 1.1 booleans
    r"|[-+]?0[0-9_]+|[-+]?0[box][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*_[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
)


def plain_data(root: Node) -> tuple[Plain, tuple[RecipeMistake, ...]]:
    """Give the data in nodes, and what is wrong with them as YAML."""
    mistakes: list[RecipeMistake] = []
    return _resolve(root, (), mistakes), tuple(mistakes)


def _resolve(node: Node, path: Path, mistakes: list[RecipeMistake]) -> Plain:
    def mistake(mark: Mark, where: Path, what: str) -> None:
        mistakes.append(RecipeMistake(mark.line, mark.column, path_text(where), what, mark.source))

    if node.tag is not None:
        mistake(
            node.mark, path, f"the tag {shown(node.tag)} means nothing in a recipe: remove it, and quote what is text"
        )
    match node:
        case Scalar():
            value = scalar_value(node)
            if isinstance(value, Doubtful):
                mistake(node.mark, path, value.why)
                return node.text
            return value
        case Sequence():
            return tuple(_resolve(item, (*path, index), mistakes) for index, item in enumerate(node.items))
        case Mapping():
            data: dict[str, Plain] = {}
            first: dict[str, Mark] = {}
            for key, child in node.entries:
                where = (*path, key.text)
                if key.text == "<<" and key.plain:
                    mistake(
                        key.mark,
                        path,
                        "merge keys (<<) are not used in recipes, they hide where values come from: write the keys out",
                    )
                elif key.text in data:
                    at = first[key.text]
                    mistake(key.mark, where, f"is here twice: first at line {at.line}, column {at.column}")
                else:
                    first[key.text] = key.mark
                    data[key.text] = _resolve(child, where, mistakes)
            return data


@dataclass(frozen=True)
class Doubtful:
    """A plain scalar that YAML versions read differently."""

    why: str


def scalar_value(scalar: Scalar) -> str | float | bool | Doubtful | None:
    """Read a scalar as null, true, false, a number or text (YAML 1.2 core schema, decimal numbers only)."""
    text = scalar.text
    if not scalar.plain or len(text) > _LONGEST_NUMBER:
        return text
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return text.lower() == "true"
    if _FLOAT.fullmatch(text):
        return _number(text)
    return Doubtful(_why_doubtful(text)) if _DOUBTFUL.fullmatch(text) else text


def _number(text: str) -> float | Doubtful:
    if _INT.fullmatch(text):
        return int(text)
    number = float(text)
    too_big = math.isinf(number) or re.fullmatch(r"[-+]?[0-9]+", text)
    return Doubtful(f'{text} is too big a number: write "{text}" if it is text') if too_big else number


def _why_doubtful(text: str) -> str:
    lower = text.lower()
    if lower in {"y", "yes", "on"}:
        return f'{text} is true to some YAML readers and text to others: write true, or "{text}" if it is text'
    if lower in {"n", "no", "off"}:
        return f'{text} is false to some YAML readers and text to others: write false, or "{text}" if it is text'
    return f'YAML readers disagree about the number {text}: write "{text}" if it is text, or a plain decimal number'
