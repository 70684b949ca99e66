"""YAML that every reader reads alike: sorted keys, one value a line, all text in double quotes.

PyYAML leaves `y`, `1e3` and `0o17` unquoted because they are text in its eyes; k3s reads them with Go's yaml.v2 and v3,
which make them true, 1000 and 15.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

_PLAIN_KEY = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def yaml_text(data: Mapping[str, Any], header: tuple[str, ...]) -> bytes:
    """Write `data` under a comment; the same data always gives the same bytes.

    Values are text, whole numbers, booleans, and lists and mappings of these; anything else raises TypeError.
    """
    comment = "".join(f"# {line}\n" for line in header)
    body = yaml.serialize(_node(data), Dumper=yaml.SafeDumper, allow_unicode=True, width=1_000_000)
    return (comment + body).encode()


def _node(value: object) -> yaml.Node:
    match value:
        case bool():
            return yaml.ScalarNode("tag:yaml.org,2002:bool", "true" if value else "false")
        case int():
            return yaml.ScalarNode("tag:yaml.org,2002:int", str(value))
        case str():
            return yaml.ScalarNode("tag:yaml.org,2002:str", value, style='"')
        case Mapping():
            pairs = [(_key(key), _node(value[key])) for key in sorted(value)]
            return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not pairs)
        case tuple() | list():
            return yaml.SequenceNode("tag:yaml.org,2002:seq", [_node(item) for item in value], flow_style=not value)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a file for k3s")


def _key(text: str) -> yaml.Node:
    plain = _PLAIN_KEY.fullmatch(text) and text not in _WORDS
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=None if plain else '"')
