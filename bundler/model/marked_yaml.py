"""YAML read for people: every value with its line and column, every mistake collected, nothing guessed.

Pure text in, values and marks out. What YAML allows and recipes do not: several documents, tags, merge keys, keys that
are not text, and plain scalars that YAML 1.1 and 1.2 read differently (`yes`, `0644`).

Events are read instead of composed nodes, so that limits stop hostile files while they are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from bundler.errors import RecipeMistake
from bundler.model.yaml_nodes import Mapping, Mark, Node, Scalar, Sequence, shown
from bundler.model.yaml_values import Plain, plain_data

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_DEPTH = 32
MOST_VALUES = 10_000  # with aliases written out
MOST_ALIASES = 100
_TOO_DEEP = f"nested deeper than {MOST_DEPTH} levels: this is not a recipe"

_FORBIDDEN = re.compile(
    r"[^\t\n\r -~\xa0-\u2027\u202f-\u2065\u206a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]",
)


# YAML 1.2 section 5.1 less U+0085, U+2028 and U+2029, which YAML 1.1 counts as line breaks and editors do not, and less
# the marks that turn the direction of text, which make a file look other than it is.
@dataclass(frozen=True)
class Document:
    """What a text says: its nodes, the plain data in them, and what is wrong with it as YAML.

    `root` and `data` are None when the text cannot be read to its end, and then there is at least one mistake.
    """

    root: Node | None
    data: Plain
    mistakes: tuple[RecipeMistake, ...]


class _StopError(Exception):
    """Reading cannot go on; carries the mistake that says why."""

    def __init__(self, mark: Mark, what: str) -> None:
        super().__init__(what)
        self.mistake = RecipeMistake(mark.line, mark.column, "", what)


def read_marked_yaml(data: bytes) -> Document:
    """Read one YAML document in UTF-8; never raises, mistakes come with the result."""
    try:
        root = _compose(_decode(data))
    except _StopError as stop:
        return Document(None, None, (stop.mistake,))
    return Document(root, *plain_data(root))


# Bytes to text


def _decode(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _StopError(Mark(1, 1), "the file is UTF-16: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        bad = error.object[error.start]
        # The codec counts from behind a byte-order mark, and gives the bytes from there in `object`.
        before = error.object[: error.start].decode("utf-8")
        raise _StopError(
            _mark_at(before, len(before)), f"byte 0x{bad:02x} is not UTF-8: save the file as UTF-8"
        ) from None
    if found := _FORBIDDEN.search(text):
        name = f"U+{ord(found.group()):04X}"
        raise _StopError(_mark_at(text, found.start()), f"the character {name} does not belong in a recipe: delete it")
    return text


def _mark_at(text: str, index: int) -> Mark:
    lines = re.split(r"\r\n|\r|\n", text[:index])
    return Mark(len(lines), len(lines[-1]) + 1)


# Text to nodes


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    mark: Mark
    mapping: bool
    tag: str | None
    anchor: str | None
    children: list[Node] = field(default_factory=list)

    def close(self) -> Node:
        depth = 1 + max((child.depth for child in self.children), default=0)
        values = 1 + sum(child.values for child in self.children)
        if values > MOST_VALUES:
            raise _StopError(
                self.mark, f"more than {MOST_VALUES} values, with aliases written out: this is not a recipe"
            )
        if not self.mapping:
            return Sequence(self.mark, tuple(self.children), self.tag, depth, values)
        keys, nodes = self.children[::2], self.children[1::2]
        entries = tuple((key, node) for key, node in zip(keys, nodes, strict=True) if isinstance(key, Scalar))
        return Mapping(self.mark, entries, self.tag, depth, values)


class _Composer:
    """Builds nodes from events, within limits."""

    def __init__(self) -> None:
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node] = {}
        self.aliases = 0
        self.values = 0
        self.root: Node | None = None

    def take(self, event: yaml.Event) -> None:
        mark = _event_mark(event)
        match event:
            case yaml.DocumentStartEvent() if self.root is not None:
                raise _StopError(mark, "a second document begins here: a recipe is one document, remove this `---`")
            case yaml.ScalarEvent():
                plain = not event.style
                self._add(Scalar(mark, event.value, plain=plain, tag=event.tag), event.anchor, mark)
            case yaml.AliasEvent():
                self._add(self._aliased(event.anchor or "", mark), None, mark)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._open(event, mark)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                opened = self.stack.pop()
                self._add(opened.close(), opened.anchor, opened.mark)
            case _:
                pass

    def _open(self, event: yaml.SequenceStartEvent | yaml.MappingStartEvent, mark: Mark) -> None:
        if self._awaits_key():
            raise _StopError(
                mark,
                "a list or mapping cannot be a key; if this is a template such as {{ name }}, recipes have none: "
                "write the value itself",
            )
        if len(self.stack) >= MOST_DEPTH:
            raise _StopError(mark, _TOO_DEEP)
        self.stack.append(_Open(mark, isinstance(event, yaml.MappingStartEvent), event.tag, event.anchor))

    def _aliased(self, name: str, mark: Mark) -> Node:
        self.aliases += 1
        if self.aliases > MOST_ALIASES:
            raise _StopError(mark, f"more than {MOST_ALIASES} aliases: write the values out")
        if name not in self.anchors:
            raise _StopError(mark, f"the alias {shown('*' + name)} has no anchor {shown('&' + name)} before it")
        return self.anchors[name]

    def _awaits_key(self) -> bool:
        return bool(self.stack) and self.stack[-1].mapping and len(self.stack[-1].children) % 2 == 0

    def _add(self, node: Node, anchor: str | None, mark: Mark) -> None:
        if self._awaits_key() and not isinstance(node, Scalar):
            raise _StopError(mark, "a list or mapping cannot be a key: keys are text")
        if len(self.stack) + node.depth > MOST_DEPTH + 1:
            raise _StopError(mark, _TOO_DEEP)
        self.values += 1
        if self.values > MOST_VALUES:
            raise _StopError(mark, f"more than {MOST_VALUES} values: this is not a recipe")
        if anchor:
            self.anchors[anchor] = node
        if self.stack:
            self.stack[-1].children.append(node)
        else:
            self.root = node


def _compose(text: str) -> Node:
    composer = _Composer()
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_mistake(error, text) from None
    except yaml.YAMLError as error:
        raise _StopError(Mark(1, 1), f"this is not YAML: {error}") from None
    root = composer.root
    if root is None or (isinstance(root, Scalar) and root.plain and not root.text):
        raise _StopError(Mark(1, 1), "the file is empty: a recipe begins with `version: 1`")
    return root


def _events(text: str) -> Iterator[yaml.Event]:
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
    yield from events


def _event_mark(event: yaml.Event) -> Mark:
    start = event.start_mark
    return Mark(start.line + 1, start.column + 1) if start is not None else Mark(1, 1)


_TAB = "a tab: YAML is indented with spaces"
_SYNTAX = {
    "found a tab character that violates indentation": _TAB,
    "found a tab character where an indentation space is expected": _TAB,
    "mapping values are not allowed in this context": "a second `: ` in one line, or wrong indentation: "
    "put text that holds a colon in quotes",
    "found unexpected end of stream": "a quote that opens here is never closed",
    "did not find expected ',' or ']'": "a list that opens with [ here lacks a comma or its ]",
    "did not find expected ',' or '}'": "a mapping that opens with { here lacks a comma or its }",
    "did not find expected key": "indentation: this line belongs to no list or mapping above it",
    "did not find expected '-' indicator": "indentation: a list continues here, so `- ` is expected",
    "could not find expected ':'": "a key without `:` behind it",
    "did not find expected <document start>": "text behind the end of the document",
    "exceeded maximum nesting depth": _TOO_DEEP,
}
"""What libyaml 0.2 says, and what it means to someone who writes a recipe."""

_OPENED_BEFORE = ("quote that opens", "that opens with")


def _syntax_mistake(error: yaml.MarkedYAMLError, text: str) -> _StopError:
    problem = error.problem or "it cannot be read"
    place = error.problem_mark or error.context_mark
    what = _SYNTAX.get(problem, f"this is not YAML: {problem}")
    if any(words in what for words in _OPENED_BEFORE) and error.context_mark is not None:
        place = error.context_mark
    if place is None:
        return _StopError(Mark(1, 1), what)
    if problem == "found character that cannot start any token":
        char = _char_at(text, place.line, place.column)
        what = _TAB if char == "\t" else f"a value cannot begin with {shown(char)}: put it in quotes"
    return _StopError(Mark(place.line + 1, place.column + 1), what)


def _char_at(text: str, line: int, column: int) -> str:
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[line][column : column + 1] if line < len(lines) else ""
