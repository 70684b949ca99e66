"""The generated documents are as the code would write them today, and say something about everything."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bundler import errors
from bundler.errors import BundlerError
from bundler.stages.read import parse_recipe
from tests.documents import DOCUMENTS
from tests.documents.errors import error_classes, meaning_and_remedy
from tests.documents.recipe_keys import SHORTEST, Key, default, example, recipe_document, recipe_keys, values

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {key.name: key for key in recipe_keys()}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_generated_document_is_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == DOCUMENTS[path](), "run `make docs`"


@pytest.mark.parametrize("name", KEYS)
def test_every_key_has_a_description_and_an_example_that_is_a_recipe(name: str) -> None:
    key = KEYS[name]
    assert key.schema.get("description"), f"{name}: write Field(description=...)"
    if not key.has_fixed_keys or key.schema.get("examples"):
        example(key, KEYS)


def test_every_example_of_the_document_is_a_part_of_a_recipe_and_shows_its_key() -> None:
    sections = re.findall(r"^## `(.*?)`\n(.*?)(?=^## |\Z)", recipe_document(), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in sections] == list(KEYS)
    for name, text in sections:
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
            assert re.search(rf"(?:^|[\s{{-]){re.escape(KEYS[name].path[-1])}: ", block.replace(":\n", ": \n"))
            parse_recipe(yaml.safe_dump(SHORTEST | yaml.safe_load(block)).encode(), name)


def test_links_of_the_table_lead_to_one_heading_each() -> None:
    text = recipe_document()
    links = re.findall(r"\]\(#(.*?)\)", text)
    headings = [re.sub(r"[^a-z0-9_-]", "", line.lower()) for line in re.findall(r"^## (.*)$", text, re.MULTILINE)]
    assert links == headings
    assert len(set(links)) == len(links)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"const": 1, "type": "integer"}, "`1`"),
        ({"type": "string", "enum": ["a", "b"]}, "one of `a`, `b`"),
        ({"type": "integer", "minimum": 1, "maximum": 19}, "a whole number from 1 to 19"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text"),
        ({"type": ["string", "boolean"]}, "text, `true` or `false`"),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, "a list, each item text; at least one"),
        ({"type": "object", "additionalProperties": {"$ref": "#/$defs/A"}},
         "a mapping of names; each value a mapping with `b` and optional `c`"),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/A"}]}, "text, or a mapping with `b` and optional `c`"),
        ({"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/D"}]},
         "a mapping with `b` and optional `c`, or a mapping with `e`"),
    ],
)  # fmt: skip
def test_what_may_be_written_is_said_in_words(schema: dict[str, Any], said: str) -> None:
    named = {
        "A": {"type": "object", "properties": {"b": {}, "c": {}}, "required": ["b"]},
        "D": {"type": "object", "properties": {"e": {}}},
    }
    assert values(schema, {"$defs": named}) == said


def test_keys_are_found_in_lists_mappings_and_each_form_of_a_union() -> None:
    part = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    other = {"type": "object", "properties": {"y": {"type": "string"}}}
    schema = {
        "properties": {
            "a": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/P"}, other]}},
            "b": {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/P"}, {"type": "null"}]}},
        },
        "$defs": {"P": part},
    }
    found = {key.name: key.required for key in recipe_keys(schema)}
    assert found == {"a": False, "a[].x": True, "a[].y": False, "b": False, "b.*.x": True}


@pytest.mark.parametrize(
    ("examples", "complaint"), [([], "has no example"), ([99], "its example is not a part of a recipe.*the most is 19")]
)
def test_a_missing_or_wrong_example_is_refused(examples: list[int], complaint: str) -> None:
    key = Key(("pack", "level"), {"examples": examples}, required=False)
    with pytest.raises(ValueError, match=f"(?s)pack.level {complaint}"):
        example(key, {"pack.level": key})


def test_defaults_are_those_of_the_model() -> None:
    recipe = json.loads(parse_recipe(json.dumps(SHORTEST).encode(), "x").model_dump_json())
    told = 0
    for key in KEYS.values():
        if {"*", "[]"} & set(key.path) or key.required or key.has_fixed_keys:
            continue
        value: Any = recipe
        for part in key.path:
            value = value[part]
        assert default(key) == (f"`{value}`" if value not in (None, [], {}) else "none")
        told += value not in (None, [], {})
    assert told >= 5


def test_every_error_says_what_it_means_and_what_to_do() -> None:
    assert len(error_classes()) > 30
    names = [error.name for error in error_classes()]
    assert len(set(names)) == len(names)
    for error in error_classes():
        meaning, remedy = meaning_and_remedy(error)
        assert meaning.endswith(".")
        assert remedy.endswith(".")


def test_every_error_is_imported_from_the_package() -> None:
    assert {error.__name__ for error in error_classes()} < {*errors.__all__}
    assert all(getattr(errors, error.__name__) is error for error in error_classes())


def test_an_error_without_a_remedy_is_refused() -> None:
    class SpeechlessError(BundlerError):
        """Something happened."""

    with pytest.raises(ValueError, match="SpeechlessError lacks its second paragraph"):
        meaning_and_remedy(SpeechlessError)
