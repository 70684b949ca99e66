"""A recipe that extends another: what both say together, each value still with the place where it is written.

Mappings are merged key by key. Anything else replaces what the base says; `key+` adds its list to the base's.
"""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from bundler.errors import RecipeMistake
from bundler.model.yaml_nodes import Mapping, Mark, Node, Path, Scalar, Sequence, path_text
from bundler.model.yaml_values import scalar_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EXTENDS = "extends"
ADDS = "+"
"""How a key ends whose list is added to that of the base, as in k3s's own config.yaml."""

PATH_FORMAT = "path-from-recipe"
"""JSON Schema format of texts that are paths from the folder of the recipe that writes them."""

_VARIABLE = "\\$\\{"

Schema: TypeAlias = dict[str, Any]


def base_of(root: Mapping) -> Scalar | None:
    """Give the path that `root` extends, as it is written; None when there is none, or no text."""
    entry = root.find(EXTENDS)
    value = entry[1] if entry else None
    return value if isinstance(value, Scalar) and isinstance(scalar_value(value), str) else None


def merged(own: Mapping, base: Mapping, path: Path = ()) -> tuple[Mapping, tuple[RecipeMistake, ...]]:
    """Lay `own` over `base`; mistakes are lists added to what is no list."""
    result = {key.text: (key, value) for key, value in base.entries if not (path == () and key.text == EXTENDS)}
    mistakes: list[RecipeMistake] = []
    for key, value in own.entries:
        where = (*path, key.text)
        name = key.text.removesuffix(ADDS)
        under = result.get(key.text)
        if under and isinstance(value, Mapping) and isinstance(under[1], Mapping):
            value, found = merged(value, under[1], where)  # noqa: PLW2901  what goes into the result
            mistakes += found
        elif name != key.text and name in result and own.find(name) is None:
            added = result[name][1]
            if isinstance(value, Sequence) and isinstance(added, Sequence):
                result[name] = (replace(key, text=name), replace(value, items=added.items + value.items))
            else:
                mistakes.append(_no_lists(key, where, added.mark))
            continue
        result[key.text] = (key, value)
    return replace(own, entries=tuple(result.values())), tuple(mistakes)


def _no_lists(key: Scalar, path: Path, base: Mark) -> RecipeMistake:
    name = key.text.removesuffix(ADDS)
    what = f"adds a list to that of {base.source}:{base.line}:{base.column}; one of them is no list: write {name}"
    return RecipeMistake(key.mark.line, key.mark.column, path_text(path), what, key.mark.source)


def moved(root: Mapping, source: str, folder: str, schema: Schema) -> Mapping:
    """Give a base as it has to stand in the recipe that extends it.

    Marks name the file, `source`; paths remember `folder`, which leads from that recipe's folder to the base's. They
    are written from there by `with_paths`, once variables are filled in: a variable may hold the start of a path.
    """
    node = _moved(root, source, folder, (schema,), schema)
    return node if isinstance(node, Mapping) else root


def _moved(node: Node, source: str, folder: str, here: Iterable[Schema], whole: Schema) -> Node:
    kinds = tuple(kind for part in here for kind in _kinds(part, whole))
    mark = node.mark if node.mark.source else replace(node.mark, source=source)
    match node:
        case Scalar():
            is_path = any(kind.get("format") == PATH_FORMAT for kind in kinds)
            return replace(node, mark=mark, folder=posixpath.join(folder, node.folder) if is_path else "")
        case Sequence():
            below = tuple(kind["items"] for kind in kinds if isinstance(kind.get("items"), dict))
            items = tuple(_moved(item, source, folder, below, whole) for item in node.items)
            return replace(node, mark=mark, items=items)
        case Mapping():
            entries = tuple(
                (
                    replace(key, mark=key.mark if key.mark.source else replace(key.mark, source=source)),
                    _moved(value, source, folder, _below(kinds, key.text), whole),
                )
                for key, value in node.entries
            )
            return replace(node, mark=mark, entries=entries)


def with_paths(root: Mapping) -> Mapping:
    """Write every path that a base says as one from the folder of the recipe."""
    node = _with_paths(root)
    return node if isinstance(node, Mapping) else root


def _with_paths(node: Node) -> Node:
    match node:
        case Scalar():
            return replace(node, text=path_from(node.folder, node.text), folder="")
        case Sequence():
            return replace(node, items=tuple(_with_paths(item) for item in node.items))
        case Mapping():
            return replace(node, entries=tuple((key, _with_paths(value)) for key, value in node.entries))


def _kinds(part: Schema, whole: Schema) -> Iterator[Schema]:
    """Give everything a value may be, references followed."""
    if "$ref" in part:
        yield from _kinds(whole["$defs"][part["$ref"].rpartition("/")[2]], whole)
    elif choices := part.get("anyOf"):
        for choice in choices:
            yield from _kinds(choice, whole)
    else:
        yield part


def _below(kinds: Iterable[Schema], key: str) -> tuple[Schema, ...]:
    names = (key, key.removesuffix(ADDS))
    found = (
        next((kind["properties"][name] for name in names if name in kind.get("properties", ())), None)
        or kind.get("additionalProperties")
        for kind in kinds
    )
    return tuple(part for part in found if isinstance(part, dict))


def path_from(folder: str, text: str) -> str:
    """Write a path that stands in a recipe in `folder` as one from where `folder` starts; addresses stay."""
    if not text or text.startswith("/") or "://" in text:
        return text
    if not folder:
        return text
    path = posixpath.join(folder, text.removeprefix("./"))
    return f"./{path}" if text.startswith("./") and not path.startswith((".", "/")) else path


def for_editors(schema: Schema) -> Schema:
    """Say in a schema what a file may hold that is more than itself, for editors look at one file alone.

    Required keys may be the base's, `key+` adds to its list, and a text may hold variables.
    """
    required = schema["required"]
    whole = {key: value for key, value in schema.items() if key != "required"}
    whole |= {"if": {"required": [EXTENDS]}, "then": {}, "else": {"required": required}}
    return dict(_with_adding(whole))


def _with_adding(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_adding(item) for item in part]
    if not isinstance(part, dict):
        return part
    copy = {key: _with_adding(value) for key, value in part.items()}
    if isinstance(part.get("pattern"), str):
        copy["pattern"] = f"{part['pattern']}|{_VARIABLE}"
    if isinstance(part.get("enum"), list) and part.get("type") == "string":
        copy = {key: value for key, value in copy.items() if key != "enum"}
        copy["anyOf"] = [{"enum": part["enum"]}, {"pattern": _VARIABLE}]
    properties = part.get("properties")
    lists = [name for name, each in properties.items() if each.get("type") == "array"] if properties else []
    if lists and part.get("additionalProperties") is False:
        copy["patternProperties"] = {f"^({'|'.join(sorted(lists))})\\+$": {"type": "array"}}
    return copy
