"""What is wrong with a recipe, in plain words: pydantic's findings as sentences a builder understands."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

from bundler.model.recipe_extends import ADDS
from bundler.model.strict import KEY
from bundler.model.yaml_nodes import Path, path_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Schema: TypeAlias = dict[str, Any]

_LONGEST_GUESSED = 64  # difflib takes long on long words
_MOST_GUESSED = 100  # mistakes beyond are not shown, see RecipeError

_ELSEWHERE = {
    "auth": "accounts of nodes are in site.registries.configs.*.auth",
    "auths": "is an old form: name servers in configs, each with its auth",
    "token": "k3s reads no token here: write identity_token, or username and password",
    "image": "did you mean images.extra?",
    "architectures": "did you mean arch?",
    "platforms": "did you mean arch?",
    "channel": "did you mean release?",
}
"""Keys people try, and what to do instead; asked when no known key is near."""


@dataclass(frozen=True)
class Finding:
    """A mistake by its path; `at_key` when the key itself is wrong, not its value."""

    path: Path
    what: str
    at_key: bool = False


def findings(error: ValidationError, schema: Schema, source_text: Callable[[Path], str]) -> tuple[Finding, ...]:
    """Turn everything pydantic found into sentences.

    `source_text` gives what stands in the file at a path, for values YAML reads as something else than text.
    """
    found: list[Finding] = []
    for path, detail in _flat((), error.errors(include_url=False)):
        if isinstance(detail, str):
            found.append(_finding(path, detail))
            continue
        whole = path[:-1] if path[-1:] == (KEY,) else path
        what = _sentence(detail, whole, schema, source_text(whole), guess=len(found) < _MOST_GUESSED)
        found.append(_finding((*path, KEY) if detail["type"] == "extra_forbidden" else path, what))
    return tuple(found)


def _flat(above: Path, details: Iterable[ErrorDetails]) -> Iterator[tuple[Path, ErrorDetails | str]]:
    """Write out what validators reported together, see `bundler.model.strict.several`."""
    for detail in details:
        path: Path = (*above, *detail["loc"])
        if detail["type"] == "too_short" and detail["input"]:
            continue  # items are there, but each is wrong
        if detail["type"] != "several":
            yield path, detail
            continue
        context = detail["ctx"]
        yield from (((*path, *rest), what) for rest, what in context["mistakes"])
        yield from _flat(path, context["others"])


def _finding(path: Path, what: str) -> Finding:
    return Finding(path[:-1], what, at_key=True) if path[-1:] == (KEY,) else Finding(path, what)


@dataclass(frozen=True)
class _Case:
    """One finding of pydantic: what it says, the value there, and what the schema wants."""

    path: Path
    value: Any
    reason: object
    here: Schema
    schema: Schema
    text: str
    guess: bool


def _sentence(detail: ErrorDetails, path: Path, schema: Schema, text: str, *, guess: bool) -> str:
    kind = detail["type"]
    reason = detail.get("ctx", {}).get("error")
    case = _Case(path, detail["input"], reason, _at(schema, path), schema, text, guess)
    if case.value is None and kind != "value_error":
        return "is empty: give it a value or remove the key"
    if kind in _EXPECTED:
        return f"is {_kind(case.value)}, and {_EXPECTED[kind]} is expected"
    return _SENTENCES[kind](case) if kind in _SENTENCES else f"does not fit ({kind})"


_EXPECTED = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "dict_type": "a mapping (key: value)",
}
"""What pydantic 2 calls a value of the wrong kind, and what would be right."""


def _kind(value: object) -> str:
    match value:
        case bool():
            return f"{value}".lower()
        case str():
            return f"the text {shown(value)}"
        case int() | float():
            return f"the number {value}"
        case tuple():
            return "a list"
        case _:
            return "a mapping"


def _missing(case: _Case) -> str:
    about = case.here.get("description")
    return f"is missing: {about}" if about else "is missing"


def _no_text(case: _Case) -> str:
    if not case.text or not isinstance(case.value, bool | int | float):
        return f"is {_kind(case.value)}, and text is expected"
    if case.path == ("release",) and not isinstance(case.value, bool):
        return f'is read as a number: write "v{case.text}"'
    kind = "true or false" if isinstance(case.value, bool) else "a number"
    return f'is read as {kind}, and text is expected: put it in quotes, "{case.text}"'


def _no_choice(case: _Case) -> str:
    choices = [str(choice).lower() if isinstance(choice, bool) else str(choice) for choice in _choices(case.here)]
    listed = ", ".join(choices)
    if not isinstance(case.value, str):
        return f"is {_kind(case.value)}, and one of {listed} is expected"
    return f"{shown(case.value)} is not one of {listed}" + (_did_you_mean(case.value, choices) if case.guess else "")


def _choices(schema: Schema) -> list[object]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _unknown_key(case: _Case) -> str:
    key = str(case.path[-1])
    if not case.guess:
        return "unknown key"
    known = sorted(_at(case.schema, case.path[:-1]).get("properties", {}))
    if key.endswith(ADDS) and key.removesuffix(ADDS) in known:
        return f"adds to a list of the recipe that this one extends, and there is none: write {key.removesuffix(ADDS)}"
    elsewhere = [path_text(where) for where in _all_keys(case.schema, case.schema, ()) if where[-1] == key]
    if elsewhere:
        return f"unknown key here; did you mean {' or '.join(elsewhere)}?"
    if suggestion := _did_you_mean(key, known):
        return f"unknown key{suggestion}"
    if key in _ELSEWHERE:
        return f"unknown key: {_ELSEWHERE[key]}"
    return f"unknown key; known here: {', '.join(known)}"


_SENTENCES: dict[str, Callable[[_Case], str]] = {
    "value_error": lambda case: str(case.reason),
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _no_choice,
    "string_type": _no_text,
    "greater_than_equal": lambda case: f"is {case.value}: the least is {case.here['minimum']}",
    "less_than_equal": lambda case: f"is {case.value}: the most is {case.here['maximum']}",
    "too_short": lambda _: "is an empty list: name at least one",
}


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    if len(word) > _LONGEST_GUESSED:
        return ""
    plain = {name.replace("_", "-"): name for name in known}
    near = get_close_matches(word.lower().replace("_", "-"), plain, n=1)
    return f'; did you mean "{plain[near[0]]}"?' if near else ""


def _at(schema: Schema, path: Path) -> Schema:
    """Find what the schema says about the value at `path`."""
    here = _follow(schema, schema)
    for part in path:
        if isinstance(part, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(part) or here.get("additionalProperties") or {}
        here = _follow(here if isinstance(here, dict) else {}, schema)
    return here


def _follow(part: Schema, schema: Schema) -> Schema:
    """Go through references and `or null` to what is meant; a description beside a reference wins."""
    for choice in part.get("anyOf", ()):
        if choice.get("type") != "null":
            part = {**choice, **{key: value for key, value in part.items() if key != "anyOf"}}
            break
    if "$ref" in part:
        target = schema["$defs"][part["$ref"].rpartition("/")[2]]
        return {**target, **part}
    return part


def _all_keys(part: Schema, schema: Schema, path: Path) -> Iterator[Path]:
    for name, child in part.get("properties", {}).items():
        yield (*path, name)
        yield from _all_keys(_follow(child, schema), schema, (*path, name))
