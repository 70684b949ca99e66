"""What a YAML text is made of: values with the places where they stand, and paths to them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Where a value is: keys of mappings and indexes of lists, from the top."""


@dataclass(frozen=True, order=True)
class Mark:
    """A place in the text; line and column count from 1, columns in characters.

    `source` names the file where it is another than the one being read.
    """

    line: int
    column: int
    source: str = ""


@dataclass(frozen=True)
class Scalar:
    """One value as it stands in the text; `plain` when nothing quotes it.

    `folder` is where a path begins that another file says: the way there from the folder of the file being read.
    """

    mark: Mark
    text: str
    plain: bool
    tag: str | None = None
    depth: int = 1
    values: int = 1
    folder: str = ""


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]
    tag: str | None
    depth: int
    values: int


@dataclass(frozen=True)
class Mapping:
    """Keys and their values in the order of the text, repeated keys included."""

    mark: Mark
    entries: tuple[tuple[Scalar, Node], ...]
    tag: str | None
    depth: int
    values: int

    def find(self, key: str) -> tuple[Scalar, Node] | None:
        """Give the first entry called `key`."""
        return next((entry for entry in self.entries if entry[0].text == key), None)


Node: TypeAlias = Scalar | Sequence | Mapping


def path_text(path: Path) -> str:
    """Write a path for people: `images.extra[0]`, `sources.registries."docker.io"`."""
    parts: list[str] = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        else:
            name = part if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_+-]{0,79}", part) else shown(part)
            parts.append(f".{name}" if parts else name)
    return "".join(parts)


def shown(text: str) -> str:
    """Quote `text` from a recipe for a message: on one line, printable, at most 80 characters of it."""
    cut = text if len(text) <= 80 else text[:77] + "..."
    escaped = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut.replace("\\", "\\\\")
    )
    return '"' + escaped.replace('"', '\\"') + '"'
