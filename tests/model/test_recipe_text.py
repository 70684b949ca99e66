"""Recipes written as text are read back as they were, by our reader and by PyYAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.model.marked_yaml import read_marked_yaml
from bundler.model.recipe_text import recipe_text

words = st.sampled_from(
    ["", "yes", "no", "~", "null", "1", "1.5", "0644", "1e3", "0x1F", "2024-01-01", "1:30", "a: b", "a #b", "- a", "<<",
     "${name}", "$1", "*", "&a", "!a", "v1.34.1+k3s1", "docker.io/library/nginx:1.27", "https://a.example:5000/x", "=",
     "true", " a", "a ", "a\nb", "é", "\t", "{a}", "[a]", "a, b", "'", '"', "\\", "%a", "@a", "`a", "|", ">", "?", "."]
)  # fmt: skip
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | words | printable
data = st.dictionaries(
    words | printable,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4), max_leaves=12
    ),
    max_size=5,
)


def plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


@settings(max_examples=300, deadline=None)
@given(data)
def test_what_is_written_is_read_back_alike(value: dict[str, Any]) -> None:
    text = recipe_text(value)
    document = read_marked_yaml(text.encode())
    assert not document.mistakes
    assert plain(document.data) == value
    assert yaml.safe_load(text) == value


def test_it_looks_as_people_write_it() -> None:
    value = {
        "release": "v1.34.1+k3s1",
        "arch": ["amd64", "arm64"],
        "images": {"extra": ["nginx", {"archive": "./app.tar", "ref": "a.example/b:1"}]},
        "site": {"config": {"write-kubeconfig-mode": "0644", "x": ["https://a:1"]}},
        "registries": {},
    }
    assert recipe_text(value) == (
        "release: v1.34.1+k3s1\narch: [amd64, arm64]\n"
        "images:\n  extra:\n    - nginx\n    - archive: ./app.tar\n      ref: a.example/b:1\n"
        'site:\n  config:\n    write-kubeconfig-mode: "0644"\n    x: ["https://a:1"]\n'
        "registries: {}\n"
    )


def test_what_no_recipe_holds_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes has no place in a recipe"):
        recipe_text({"a": b""})
