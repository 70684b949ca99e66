"""Expressions over repository names, which Go's RE2 reads at the site (k3s-io/containerd, rewrites of mirrors)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from bundler.model.strict import KEY
from bundler.model.yaml_nodes import shown

if TYPE_CHECKING:
    from bundler.model.yaml_nodes import Path

_BEYOND_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!])|\\[1-9]")
_BEYOND_PYTHON = re.compile(r"\\[pPzQEC]|\[\[:|\(\?[a-zA-Z]*U|\\x\{")
_LONGEST_PATTERN = 200
_LITERAL = re.compile(r"\^((?:[A-Za-z0-9/_-]|\\\.)*)")


def _pattern(text: str) -> str:
    """Check what can be checked here of an expression that Go's RE2 will read."""
    if not text or len(text) > _LONGEST_PATTERN:
        raise ValueError(f"is not a usable expression: 1 to {_LONGEST_PATTERN} characters are expected")
    if found := _BEYOND_RE2.search(text):
        raise ValueError(f'has "{found.group()}", which the expressions of Go (RE2) do not know')
    if not _BEYOND_PYTHON.search(text):
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
"""An expression inside a pydantic model."""


def overlapping(rewrites: Any) -> list[tuple[Path, str]]:
    """Find expressions that may match the same repository: k3s keeps them in no order, so either may win."""
    patterns = [key for key in rewrites if isinstance(key, str)] if isinstance(rewrites, Mapping) else []
    return [
        (
            (second, KEY),
            f"may match what {shown(first)} matches, and k3s keeps no order: begin each with ^ and another name",
        )
        for first, second in combinations(patterns, 2)
        if _meet(_beginning(first), _beginning(second))
    ]


def _meet(first: str, second: str) -> bool:
    return first.startswith(second) or second.startswith(first)


def _beginning(pattern: str) -> str:
    """Give the text that every match begins with, as far as it is plain to see."""
    found = _LITERAL.match(pattern)
    if not found or "|" in pattern:
        return ""
    literal, rest = found[1], pattern[found.end() :]
    if rest[:1] in {"*", "?", "{"}:  # the last character may be missing
        literal = literal[: -2 if literal.endswith("\\.") else -1]
    return literal
