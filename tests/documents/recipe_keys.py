"""docs/reference/recipe.md: every key of a recipe, from the JSON Schema that its types give."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from bundler.errors import RecipeError
from bundler.model.recipe import schema_data
from bundler.model.recipe_text import recipe_text
from bundler.stages.read import parse_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str, ...]

ANY_NAME, ANY_ITEM = "*", "[]"
"""Parts of a path that mean: each value of a mapping whose keys are free, each item of a list."""

SHORTEST: dict[str, Any] = {"version": 1, "name": "edge", "release": "stable", "arch": ["arm64"]}

_HEAD = """\
# Keys of a recipe

Generated from the types that read recipes, by `make docs`: change the types, not this file. [The guide](../recipe.md)
explains what the keys do together.

`*` stands for a name you choose, `[]` for each item of a list. A key that is not written has its default.

"""


@dataclass(frozen=True)
class Key:
    """One key of a recipe: its path and what the schema says about it."""

    path: Path
    schema: Schema
    required: bool

    @property
    def name(self) -> str:
        """The path as people write it: `files[].target`."""
        return ".".join(self.path).replace(f".{ANY_ITEM}", ANY_ITEM)

    @property
    def has_fixed_keys(self) -> bool:
        """Whether the value is a mapping whose keys are keys of the recipe."""
        return bool(self.schema.get("properties"))


def recipe_keys(schema: Schema | None = None) -> tuple[Key, ...]:
    """List every key, in the order of the types."""
    whole = schema_data() if schema is None else schema
    return tuple({key.name: key for key in _keys(whole, whole, ())}.values())


def _keys(here: Schema, whole: Schema, path: Path) -> Iterator[Key]:
    kinds = tuple(_kinds(here, whole))
    for kind in kinds:
        for name, child in kind.get("properties", {}).items():
            required = all(name in each.get("required", ()) for each in kinds if name in each.get("properties", {}))
            key = Key((*path, name), _with_target(child, whole), required)
            yield key
            yield from _keys(child, whole, key.path)
        if isinstance(value := kind.get("additionalProperties"), dict):
            yield from _keys(value, whole, (*path, ANY_NAME))
        if isinstance(item := kind.get("items"), dict):
            yield from _keys(item, whole, (*path, ANY_ITEM))


def _kinds(here: Schema, whole: Schema) -> Iterator[Schema]:
    """Give what a value may be, one after the other, with references followed."""
    if "$ref" in here:
        yield from _kinds(whole["$defs"][here["$ref"].rpartition("/")[2]], whole)
    elif choices := here.get("anyOf") or here.get("oneOf"):
        for choice in choices:
            yield from _kinds(choice, whole)
    else:
        yield here


def _with_target(here: Schema, whole: Schema) -> Schema:
    """Follow one reference; what stands beside it wins."""
    if "$ref" not in here:
        return here
    return {**whole["$defs"][here["$ref"].rpartition("/")[2]], **here}


# What may be written


def values(here: Schema, whole: Schema) -> str:
    """Say in words what may be written."""
    kinds = [kind for kind in _kinds(here, whole) if kind.get("type") != "null"]
    return ", or ".join(dict.fromkeys(_values(kind, whole) for kind in kinds))


def _values(kind: Schema, whole: Schema) -> str:
    if "const" in kind:
        return _code(kind["const"])
    if "enum" in kind:
        return "one of " + ", ".join(map(_code, kind["enum"]))
    types = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
    return ", ".join(_of_type(name, kind, whole) for name in types)


def _of_type(name: str, kind: Schema, whole: Schema) -> str:
    match name:
        case "array":
            rules = ["at least one"] * bool(kind.get("minItems")) + ["none twice"] * bool(kind.get("uniqueItems"))
            return f"a list, each item {values(kind['items'], whole)}" + "".join(f"; {rule}" for rule in rules)
        case "object" if kind.get("properties"):
            return _fixed_keys(kind)
        case "object":
            value = kind.get("additionalProperties")
            return "a mapping of names" + (f"; each value {values(value, whole)}" if isinstance(value, dict) else "")
        case "integer":
            least, most = kind.get("minimum"), kind.get("maximum")
            bounds = (f" from {least}" if least is not None else "") + (f" to {most}" if most is not None else "")
            return "a whole number" + bounds
        case _:
            return {"string": "text", "boolean": "`true` or `false`"}[name]


def _fixed_keys(kind: Schema) -> str:
    required = kind.get("required", ())
    first = ", ".join(_code(name) for name in kind["properties"] if name in required)
    others = ", ".join(_code(name) for name in kind["properties"] if name not in required)
    return "a mapping with " + (f"{first} and optional {others}" if first and others else first or others)


def _code(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}`"


def default(key: Key) -> str:
    """Say what holds when the key is not written."""
    if key.required:
        return "must be given"
    if key.has_fixed_keys:
        return ""
    value = key.schema.get("default")
    if value in (None, [], {}):
        return "none"
    return f"`{recipe_text({'': value}).partition(': ')[2].strip()}`"


# Examples


def example(key: Key, keys: dict[str, Key]) -> dict[str, Any]:
    """Give the part of a recipe that shows `key`, which together with the shortest recipe is a recipe.

    Raises ValueError when there is no such example.
    """
    complaint = "has no example: write Field(examples=[...])"
    for part in _parts(key, keys):
        try:
            parse_recipe(recipe_text(SHORTEST | part).encode(), key.name)
        except RecipeError as error:
            complaint = f"its example is not a part of a recipe: {error.what}"
        else:
            return part
    raise ValueError(f"{key.name} {complaint}")


def _parts(key: Key, keys: dict[str, Key]) -> Iterator[dict[str, Any]]:
    """Give the key's examples in place: inside the examples of the list or mapping that holds them."""
    for value in key.schema.get("examples", ())[:1]:
        for part in _holders(key.path, keys):
            yield from _put(part, key.path, value)


def _holders(path: Path, keys: dict[str, Key]) -> Iterator[dict[str, Any]]:
    """Give what stands around a key: the example of the nearest key above that has one, or nothing."""
    for length in range(len(path) - 1, 0, -1):
        above = keys.get(Key(path[:length], {}, required=False).name)
        if above is not None and above.schema.get("examples"):
            yield from _parts(above, keys)
            return
    yield {}


def _put(data: Any, path: Path, value: Any) -> Iterator[Any]:
    """Put `value` at `path` into a copy of `data`, once for each item it can be in; other items are left out."""
    part, *rest = path
    if part == ANY_ITEM and isinstance(data, list):
        yield from ([new] for item in data if isinstance(item, dict) for new in _put_or_set(item, rest, value))
    elif part == ANY_NAME and isinstance(data, dict):
        yield from ({name: new} for name, item in data.items() for new in _put_or_set(item or {}, rest, value))
    elif isinstance(data, dict) and part not in {ANY_ITEM, ANY_NAME}:
        yield from ({**copy.deepcopy(data), part: new} for new in _put_or_set(data.get(part, {}), rest, value))
        if not rest:
            yield {part: value}  # for a key that excludes another one


def _put_or_set(data: Any, path: list[str], value: Any) -> Iterator[Any]:
    yield from _put(data, tuple(path), value) if path else (value,)


# The document


def recipe_document() -> str:
    """Write the whole document; raises ValueError for a key without description or example."""
    whole = schema_data()
    keys = recipe_keys(whole)
    by_name = {key.name: key for key in keys}
    rows = [f"| [`{key.name}`](#{_anchor(key)}) | {_cell(_about(key))} | {_cell(default(key))} |" for key in keys]
    table = "\n".join(["| key | what it says | default |", "|---|---|---|", *rows])
    return _HEAD + table + "\n" + "".join(_entry(key, by_name, whole) for key in keys)


def _entry(key: Key, keys: dict[str, Key], whole: Schema) -> str:
    text = f"\n## `{key.name}`\n\n{_cell(_about(key))}.\n\n"
    if key.has_fixed_keys and not key.schema.get("examples"):
        return text + f"{_sentence(values(key.schema, whole))}\n"
    otherwise = "It must be given" if key.required else f"Default: {default(key)}" if default(key) else ""
    text += _sentence(values(key.schema, whole)) + (f" {otherwise}." if otherwise else "") + "\n"
    return text + f"\n```yaml\n{recipe_text(example(key, keys))}```\n"


def _about(key: Key) -> str:
    about = key.schema.get("description")
    if not about:
        raise ValueError(f"{key.name} has no description: write Field(description=...)")
    return str(about)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*")


def _anchor(key: Key) -> str:
    """The name GitHub gives a heading."""
    return re.sub(r"[^a-z0-9_-]", "", key.name.lower())
