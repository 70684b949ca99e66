"""Variables of recipes: where they stand, where values come from, and what stays untouched."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bundler.errors import RecipeError
from bundler.model.recipe_text import recipe_text
from bundler.stages.read import parse_recipe

SHORTEST = "version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"
REGISTRY = "variables:\n  registry: {default: registry.example:5000, description: the site's own}\n  tag: {}\n"


def mistakes(more: str, **settings: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        parse_recipe((SHORTEST + more).encode(), "edge.yaml", settings)
    return [str(each) for each in caught.value.mistakes]


def extra(more: str, **settings: str) -> list[str]:
    return [str(each) for each in parse_recipe((SHORTEST + more).encode(), "edge.yaml", settings).images.extra]


def test_a_variable_has_its_default_or_what_is_given() -> None:
    use = REGISTRY + "images:\n  extra: ['${registry}/team/${tag}-app:${tag}']\n"
    assert extra(use, tag="1.0") == ["registry.example:5000/team/1.0-app:1.0"]
    assert extra(use, tag="2", registry="other.example") == ["other.example/team/2-app:2"]


def test_plain_texts_and_keys_of_every_depth_take_variables() -> None:
    text = SHORTEST + "variables: {zone: {default: b}}\nsite:\n  unknown_flags: {x: [server, agent]}\n"
    text += "  config:\n    node-label: ['zone=${zone}']\n    x: a-${zone}\n"
    recipe = parse_recipe(text.encode(), "edge.yaml")
    assert dict(recipe.site.config) == {"node-label": ("zone=b",), "x": "a-b"}


def test_a_value_is_text_whatever_it_looks_like() -> None:
    text = SHORTEST + 'variables: {mode: {default: "0644"}}\n'
    text += 'site: {unknown_flags: {x: [server], y: [server]}, config: {x: "${mode}", y: "${mode}1"}}\n'
    for value in ("true", "0644", "1.50", "~", "a: b", "- x"):
        recipe = parse_recipe(text.encode(), "edge.yaml", {"mode": value})
        assert dict(recipe.site.config) == {"x": value, "y": f"{value}1"}
    (found,) = mistakes('variables: {level: {default: "9"}}\npack: {level: "${level}"}\n')
    assert found == '6:15: pack.level: is the text "9", and a whole number is expected'


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mirror/$1", "mirror/$1"),
        ("mirror/${1}x", "mirror/${1}x"),
        ("$${tag}", "${tag}"),
        ("a$${tag}$${tag}b", "a${tag}${tag}b"),
        ("a$$b", "a$$b"),
        ("$", "$"),
        ("$ {tag}", "$ {tag}"),
        ("${tag}$${tag}", "1.0${tag}"),
        ("$$${tag}", "$${tag}"),
    ],
)
def test_only_a_name_in_braces_is_special(written: str, meant: str) -> None:
    more = REGISTRY + f"site: {{registries: {{mirrors: {{docker.io: {{rewrite: {{'^a(.*)': '{written}'}}}}}}}}}}\n"
    recipe = parse_recipe((SHORTEST + more).encode(), "edge.yaml", {"tag": "1.0"})
    mirror = recipe.site.registries.mirrors["docker.io"]
    assert mirror is not None
    assert mirror.rewrite["^a(.*)"] == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("'${regisrty}/app:1'", '8:18: images.extra[0]: there is no variable "regisrty"; did you mean "registry"?'),
        ("'${zone}/app:1'", '8:18: images.extra[0]: there is no variable "zone"; there are: registry, tag'),
        ("'a/b:${tag}'", "8:18: images.extra[0]: the variable tag has no value: give --set tag=..., or write a default under variables"),  # noqa: E501
        ("'${Tag}'", '8:18: images.extra[0]: "${Tag}" is not a variable: write ${name}, or $${ for a dollar and a brace'),  # noqa: E501
        ("'${tag:-1}'", '8:18: images.extra[0]: "${tag:-1}" is not a variable: write ${name}, or $${ for a dollar and a brace'),  # noqa: E501
        ("'${}'", '8:18: images.extra[0]: "${}" is not a variable: write ${name}, or $${ for a dollar and a brace'),
        ("'a/b:${tag'", '8:18: images.extra[0]: "${tag" is not a variable: write ${name}, or $${ for a dollar and a brace'),  # noqa: E501
    ],
)  # fmt: skip
def test_a_name_that_means_nothing_is_told_once_where_it_stands(text: str, said: str) -> None:
    assert mistakes(REGISTRY + f"images: {{extra: [{text}]}}\n") == [said]


def test_a_variable_without_value_that_nothing_uses_is_no_mistake() -> None:
    assert extra(REGISTRY) == []


def test_there_is_no_variable_where_none_is_declared() -> None:
    (found,) = mistakes("images: {extra: ['${registry}/app:1']}\n", registry="a.example")
    assert found.endswith('there is no variable "registry": write it under variables')


def test_keys_hold_no_variables() -> None:
    found = mistakes(REGISTRY + "site: {registries: {mirrors: {'${registry}': {endpoint: ['http://${registry}']}}}}\n")
    assert found[0] == '8:31: site.registries.mirrors."${registry}": is a key, and variables stand in values only'
    assert len(found) == 1


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ("{Tag: {}}", "5:13: variables.Tag: is not a name of a variable"),
        ("{a-b: {}}", "5:13: variables.a-b: is not a name of a variable"),
        ("{tag: x}", '5:18: variables.tag: is the text "x", and a mapping (key: value) is expected'),
        ("{tag: {default: 1.50}}", "5:28: variables.tag.default: is read as a number, and text is expected"),
        ("{tag: {defualt: x}}", '5:19: variables.tag.defualt: unknown key; did you mean "default"?'),
        ("[tag]", "5:12: variables: is a list, and a mapping (key: value) is expected"),
    ],
)  # fmt: skip
def test_a_declaration_that_is_wrong_is_told(variables: str, said: str) -> None:
    (found,) = mistakes(f"variables: {variables}\n")
    assert found.startswith(said)


def test_what_a_value_makes_wrong_is_told_where_it_is_used() -> None:
    found = mistakes(REGISTRY + "images: {extra: ['${registry}/app:1']}\n", registry="http://x")
    assert [each.partition(": '")[0] for each in found] == ["8:18: images.extra[0]"]


def test_values_decide_the_fingerprint_and_descriptions_do_not() -> None:
    def fingerprint(more: str, **settings: str) -> str:
        return parse_recipe((SHORTEST + more).encode(), "edge.yaml", settings).fingerprint()

    use = "variables: {tag: {default: '1'}}\nimages: {extra: ['a.example/b:${tag}']}\n"
    written = fingerprint("images: {extra: ['a.example/b:1']}\n")
    assert fingerprint(use) == written
    assert fingerprint(use, tag="2") != written
    assert fingerprint(use.replace("default", "description: x, default")) == written


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_a_text_with_its_dollars_doubled_before_braces_comes_out_as_it_was(text: str) -> None:
    data = {
        "version": 1, "name": "edge", "release": "stable", "arch": ["arm64"],
        "site": {"unknown_flags": {"x": ["server"]}, "config": {"x": re.sub(r"\$\{(?![0-9])", "$${", text)}},
    }  # fmt: skip
    assume("://" not in text)  # an account in a URL is refused
    assert parse_recipe(recipe_text(data).encode(), "x").site.config["x"] == text
