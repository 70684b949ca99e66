"""Recipes as text: YAML in the form people write it, read back alike by every reader."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from bundler.model.yaml_nodes import Mark, Scalar
from bundler.model.yaml_values import scalar_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SAFE = re.compile(r"[A-Za-z0-9./_$][A-Za-z0-9 ._/@+${}-]*(?::[A-Za-z0-9/][A-Za-z0-9 ._/@+${}-]*)*")
_NOT_IN_FLOW = re.compile(r"[:{}]")
_DOUBTED_BY_OTHERS = re.compile(r"[-+.0-9][-+.0-9a-fA-FxobtTzZ: ]*|[=<]")  # numbers and dates of YAML 1.1
_START = Mark(1, 1)


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)  # lists stand below their key


def recipe_text(data: Mapping[str, Any]) -> str:
    """Write plain data as YAML: one key a line, short lists in brackets, quotes only where readers would differ.

    Values are text, numbers, booleans, None, and lists and mappings of these; anything else raises TypeError.
    """
    text: str = yaml.serialize(_node(data, flow=False), Dumper=_Dumper, allow_unicode=True, width=110)
    return text


def _node(value: object, *, flow: bool) -> yaml.Node:
    match value:
        case str():
            return _text(value, flow=flow)
        case None | bool() | int() | float():
            return yaml.ScalarNode(*_TAGGED[type(value)](value))
        case Mapping():
            pairs = [(_text(str(key), flow=flow), _node(item, flow=flow)) for key, item in value.items()]
            return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=flow or not pairs)
        case tuple() | list():
            inline = flow or all(not isinstance(item, Mapping | tuple | list) for item in value)
            return _list(value, inline=inline)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a recipe")


_TAGGED: dict[type, Callable[[Any], tuple[str, str]]] = {
    type(None): lambda _: ("tag:yaml.org,2002:null", "null"),
    bool: lambda value: ("tag:yaml.org,2002:bool", str(value).lower()),
    int: lambda value: ("tag:yaml.org,2002:int", str(value)),
    float: lambda value: ("tag:yaml.org,2002:float", repr(value)),
}


def _list(items: Sequence[object], *, inline: bool) -> yaml.Node:
    nodes = [_node(item, flow=inline) for item in items]
    return yaml.SequenceNode("tag:yaml.org,2002:seq", nodes, flow_style=inline)


def _text(text: str, *, flow: bool) -> yaml.Node:
    plain = (
        _SAFE.fullmatch(text)
        and text == text.strip()
        and scalar_value(Scalar(_START, text, plain=True)) == text
        and not _DOUBTED_BY_OTHERS.fullmatch(text)
        and not (flow and _NOT_IN_FLOW.search(text))
    )
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=None if plain else '"')
