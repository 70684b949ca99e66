"""Recipes that extend others: what the result is, and that every mistake names the file it is in."""

from __future__ import annotations

import json
import os
import posixpath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import RecipeError
from bundler.model.marked_yaml import read_marked_yaml
from bundler.model.recipe import recipe_schema, schema_data
from bundler.model.recipe_extends import PATH_FORMAT, merged, moved, with_paths
from bundler.model.recipe_text import recipe_text
from bundler.model.yaml_nodes import Mapping
from bundler.model.yaml_values import plain_data
from bundler.stages.read import MOST_FILES, read_recipe
from tests.documents.recipe_keys import recipe_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA = schema_data()
BASE = """\
version: 1
name: base
release: v1.34
arch: [amd64, arm64]
images:
  extra: [docker.io/library/nginx:1.27]
  layers: plain
site:
  config:
    tls-san: [a.example]
    write-kubeconfig-mode: "0644"
"""


def write(folder: Path, **texts: str) -> Path:
    """Write recipes below `folder`, `__` in a name is a slash; gives the last one."""
    path = folder
    for name, text in texts.items():
        path = folder / (name.replace("__", "/") + ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    folder = f"{path.parent}{os.sep}"
    return [line.replace(folder, "") for line in caught.value.what.splitlines()[1:]]


def test_mappings_are_merged_lists_and_values_replaced(tmp_path: Path) -> None:
    own = "extends: base.yaml\nname: own\narch: [arm]\nsite:\n  config:\n    disable-network-policy: true\n"
    recipe = read_recipe(write(tmp_path, base=BASE, own=own))
    assert (recipe.name, recipe.release, recipe.arch) == ("own", "v1.34", ("arm",))
    assert recipe.images.layers == "plain"
    assert dict(recipe.site.config) == {
        "tls-san": ("a.example",),
        "write-kubeconfig-mode": "0644",
        "disable-network-policy": True,
    }


def test_a_plus_adds_to_the_list_of_the_base_through_the_whole_chain(tmp_path: Path) -> None:
    middle = "extends: base.yaml\nimages:\n  extra+: [busybox:1.36]\nsite: {config: {tls-san+: [b.example]}}\n"
    own = "extends: middle.yaml\nimages: {extra+: [docker.io/library/redis:7]}\nsite: {config: {tls-san+: [c.example]}}"
    recipe = read_recipe(write(tmp_path, base=BASE, middle=middle, own=own))
    assert [str(each).rpartition("/")[2] for each in recipe.images.extra] == ["busybox:1.36", "nginx:1.27", "redis:7"]
    assert recipe.site.config["tls-san"] == ("a.example", "b.example", "c.example")


def test_a_plus_of_k3s_itself_stays_where_the_base_has_no_such_list(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, base=BASE, own="extends: base.yaml\nsite: {config: {node-label+: [a=b]}}"))
    assert recipe.site.config["node-label+"] == ("a=b",)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("images: {exclude+: [rancher/klipper-lb]}",
         "own.yaml:2:10: images.exclude+: adds to a list of the recipe that this one extends, and there is none: write exclude"),  # noqa: E501
        ("images: {layers+: [zstd]}",
         "own.yaml:2:10: images.layers+: adds a list to that of base.yaml:7:11; one of them is no list: write layers"),
        ("images: {extra+: nginx}",
         "own.yaml:2:10: images.extra+: adds a list to that of base.yaml:6:10; one of them is no list: write extra"),
        ("images: {extra: [nginx], extra+: [busybox]}",
         "own.yaml:2:26: images.extra+: adds to a list of the recipe that this one extends, and there is none: write extra"),  # noqa: E501
        ("images: {extra+: [nginx:1.27]}", "own.yaml:2:19: images.extra[1]: is in the list twice: the first is item 1"),
        ("images:", "own.yaml:2:8: images: is empty: give it a value or remove the key"),
        ("extra: 1", "own.yaml:2:1: extra: unknown key here; did you mean images.extra?"),
    ],
)  # fmt: skip
def test_what_cannot_be_laid_over_a_base_is_told_at_its_place(tmp_path: Path, own: str, said: str) -> None:
    assert mistakes(write(tmp_path, base=BASE, own=f"extends: base.yaml\n{own}\n")) == [said]


def test_without_a_base_a_plus_is_a_mistake(tmp_path: Path) -> None:
    (said,) = mistakes(write(tmp_path, own=BASE.replace("extra:", "extra+:")))
    assert said.startswith("own.yaml:6:3: images.extra+: adds to a list of the recipe that this one extends")


def test_mistakes_name_the_file_line_and_column_they_are_in(tmp_path: Path) -> None:
    base = "version: 1\nname: Base\nengin: docker\npack: {level: 20}\nsite: {config: {v: 010, v: 1}}\n"
    middle = "extends: lower/base.yaml\nrelease: stabel\nimages: {extra: [a/B]}\n"
    own = "extends: middle.yaml\narch: [amr64]\npack: {leve: 3}\n"
    found = mistakes(write(tmp_path, lower__base=base, middle=middle, own=own))
    assert [each.partition(": ")[0] for each in found] == [
        "own.yaml:2:8",
        "own.yaml:3:8",
        "lower/base.yaml:2:7",
        "lower/base.yaml:3:1",
        "lower/base.yaml:4:15",
        "lower/base.yaml:5:20",
        "lower/base.yaml:5:25",
        "middle.yaml:2:10",
        "middle.yaml:3:18",
    ]


def test_a_missing_key_is_told_once_in_the_recipe_that_was_asked_for(tmp_path: Path) -> None:
    found = mistakes(write(tmp_path, base="version: 1\nname: base\n", own="# own\nextends: base.yaml\n"))
    assert [each.partition(": is missing")[0] for each in found] == ["own.yaml:2:1: release", "own.yaml:2:1: arch"]


def test_a_base_that_cannot_be_read_is_told_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    for base, what in {
        "absent.yaml": "absent.yaml is not there",
        "folder": "folder is a folder, not a recipe",
        "loop.yaml": "loop.yaml cannot be read",
        '"a\\0b"': "cannot be read",
        '""': "is a folder",
    }.items():
        found = mistakes(write(tmp_path, own=f"version: 1\nextends: {base}\n"))
        assert found[0].startswith("own.yaml:2:10: extends: ")
        assert what in found[0]
        assert len(found) == 1
    for base in ("3", "[a]", "{a: b}"):
        found = mistakes(write(tmp_path, own=f"version: 1\nextends: {base}\n"))
        assert any(each.startswith("own.yaml:2:10: extends: is ") for each in found)


def test_a_base_that_is_no_yaml_or_no_mapping_is_told_there(tmp_path: Path) -> None:
    for base, where in {"a: [1\n": "base.yaml:1:4", "- a\n": "base.yaml:1:1", "": "base.yaml:1:1"}.items():
        (found,) = mistakes(write(tmp_path, base=base, own="extends: base.yaml\nname: X\n"))
        assert found.startswith(where)


def test_recipes_that_extend_one_another_in_a_circle_are_refused(tmp_path: Path) -> None:
    texts = {"a": "extends: ./b.yaml\n", "b": "extends: sub/../c.yaml\n", "c": "# c\nextends: a.yaml\n"}
    (tmp_path / "sub").mkdir()
    write(tmp_path, **texts)
    (found,) = mistakes(tmp_path / "a.yaml")
    assert found == "sub/../c.yaml:2:10: extends: leads back to sub/../a.yaml: a recipe cannot extend itself"
    (found,) = mistakes(write(tmp_path, self="extends: self.yaml\n"))
    assert "cannot extend itself" in found


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    write(tmp_path, step0=BASE, **{f"step{n}": f"extends: step{n - 1}.yaml\n" for n in range(1, MOST_FILES + 1)})
    assert read_recipe(tmp_path / f"step{MOST_FILES - 1}.yaml").name == "base"
    (found,) = mistakes(tmp_path / f"step{MOST_FILES}.yaml")
    assert found == "step1.yaml:1:10: extends: is one file too many: at most 8 recipes extend one another"


def test_paths_in_a_base_are_from_its_own_folder(tmp_path: Path) -> None:
    lowest = BASE + "files: [{source: ./ca.pem, target: /etc/ca.pem}, {source: /abs.pem, target: /etc/abs.pem}]\n"
    middle = "extends: ../lowest/base.yaml\nimages: {extra+: [{archive: app.tar}, {build: ./app, ref: x/app:1}]}\n"
    own = "extends: shared/middle/middle.yaml\nname: own\nfiles+: [{source: own.pem, target: /etc/own.pem}]\n"
    recipe = read_recipe(write(tmp_path, shared__lowest__base=lowest, shared__middle__middle=middle, own=own))
    assert [file.source for file in recipe.files] == ["./shared/middle/../lowest/ca.pem", "/abs.pem", "own.pem"]
    assert [image.archive for image in recipe.images.archives] == ["shared/middle/app.tar"]
    assert [image.build for image in recipe.images.builds] == ["./shared/middle/app"]


def test_a_variable_in_a_path_of_a_base_may_hold_its_start(tmp_path: Path) -> None:
    base = (
        BASE
        + """\
sources: {releases: ["${mirror}", "./releases"], registries: {r.example: {tls: {ca_file: "${ca}"}}}}
charts: [{name: db, chart: "${chart}", version: 1.0.0}]
"""
    )
    own = """\
extends: ../base.yaml
variables:
  mirror: {default: "https://mirror.example/k3s"}
  ca: {default: ./ca.pem}
  chart: {default: "oci://registry.example/db"}
"""
    path = write(tmp_path, base=base, sub__own=own)
    recipe = read_recipe(path)
    assert [mirror.url for mirror in recipe.sources.releases or ()] == ["https://mirror.example/k3s", "../releases"]
    assert recipe.sources.registries["r.example"].tls is not None
    assert recipe.sources.registries["r.example"].tls.ca_file == "../ca.pem"
    assert recipe.charts[0].chart == "oci://registry.example/db"
    assert read_recipe(path, {"mirror": "/srv/k3s"}).sources.release_mirrors[0].url == "/srv/k3s"


def test_a_certificate_of_a_base_with_an_absolute_path_is_a_file_of_the_builder(tmp_path: Path) -> None:
    base = BASE.replace("site:\n", "site:\n  registries: {configs: {r.example: {tls: {ca_file: ./ca.pem}}}}\n")
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "er", target_is_directory=True)
    write(tmp_path, base__base=base, deep__er__own=f"extends: {tmp_path}/base/base.yaml\n")
    for path in (tmp_path / "deep/er/own.yaml", tmp_path / "link/own.yaml"):
        ((registry, key, source),) = read_recipe(path).site.registries.certificates()
        assert (registry, key, source) == ("r.example", "ca_file", "../../base/ca.pem")
        assert (path.parent / source).parent.resolve() == (tmp_path / "base").resolve()


def test_what_a_base_says_decides_the_fingerprint_and_how_it_is_said_does_not(tmp_path: Path) -> None:
    own = write(tmp_path, base=BASE, own="extends: base.yaml\nname: own\n")
    before = read_recipe(own).fingerprint()
    assert read_recipe(write(tmp_path, whole=BASE.replace("name: base", "name: own"))).fingerprint() == before
    write(tmp_path, base="# only a comment\n" + BASE)
    assert read_recipe(own).fingerprint() == before
    write(tmp_path, base=BASE.replace("nginx:1.27", "nginx:1.28"))
    assert read_recipe(own).fingerprint() != before


def test_editors_take_a_recipe_that_extends_and_leaves_out_or_adds(tmp_path: Path) -> None:
    import jsonschema  # slow to import

    schema = json.loads(recipe_schema())
    jsonschema.validate({"extends": "../base.yaml", "images": {"extra+": ["nginx"]}, "files+": []}, schema)
    for wrong in (
        {"name": "edge"},
        {"extends": "../base.yaml", "nam": "x"},
        {"extends": "a", "images": {"layers+": []}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def formats(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["format"]] if isinstance(part.get("format"), str) else []
        yield from (each for key, value in part.items() if key != "examples" for each in formats(value))
    elif isinstance(part, list):
        yield from (each for item in part for each in formats(item))


def test_every_key_that_is_a_path_from_the_recipe_moves_with_its_base() -> None:
    paths = [key for key in recipe_keys() if "folder of the recipe" in key.schema.get("description", "")]
    assert len(paths) >= 2
    for key in paths:
        assert PATH_FORMAT in formats(key.schema), f'{key.name}: give it json_schema_extra={{"format": PATH_FORMAT}}'


names = st.sampled_from(["a", "b", "c", "a+", "b+"])
values = st.recursive(
    st.integers(0, 9) | st.text("xy", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


def by_hand(own: Any, base: Any) -> Any:
    """The rules of merging, in another way: on plain data."""
    result = dict(base)
    for key, value in own.items():
        name = key.removesuffix("+")
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            result[key] = by_hand(value, base[key])
        elif key.endswith("+") and key not in {
            k for k in base if isinstance(base[k], dict) and isinstance(value, dict)
        }:
            if name in base and name not in own:
                if not (isinstance(value, list) and isinstance(base[name], list)):
                    raise ValueError(name)
                result[name] = base[name] + value
            else:
                result[key] = value
        else:
            result[key] = value
    return result


def node(data: dict[str, Any]) -> Mapping:
    root = read_marked_yaml(recipe_text(data).encode()).root
    assert isinstance(root, Mapping)
    return root


def lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: lists(item) for key, item in value.items()}
    return [lists(item) for item in value] if isinstance(value, tuple) else value


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, values, max_size=4), st.dictionaries(names, values, max_size=4))
def test_merging_follows_its_rules_whatever_two_recipes_say(own: dict[str, Any], base: dict[str, Any]) -> None:
    together, found = merged(node(own), moved(node(base), "base.yaml", "", SCHEMA))
    try:
        expected = by_hand(own, base)
    except ValueError:
        assert found
    else:
        assert not found
        assert lists(plain_data(together)[0]) == expected


pieces = st.sampled_from(["..", ".", "a", "b", "./c"])


@settings(deadline=None)
@given(st.lists(pieces, max_size=4), st.lists(pieces, min_size=1, max_size=4))
def test_a_moved_path_leads_to_the_same_file(folder: list[str], path: list[str]) -> None:
    there, text = "/".join(folder), "/".join([*path, "file"])
    data = {"files": [{"source": text}], "images": {"extra": [{"archive": text}, text]}, "name": text}
    together = lists(plain_data(with_paths(moved(node(data), "base.yaml", there, SCHEMA)))[0])
    start = "/1/2/3/4/5/6/7/8"
    for moved_text in (together["files"][0]["source"], together["images"]["extra"][0]["archive"]):
        assert posixpath.normpath(posixpath.join(start, moved_text)) == posixpath.normpath(
            posixpath.join(start, there, text)
        )
    assert together["images"]["extra"][1] == text
    assert together["name"] == text
