"""The recipes that are shipped, the schema, and the documentation agree with what is read."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bundler.cli.shipped import shipped_recipes, summary
from bundler.model.recipe import recipe_schema
from bundler.stages.read import parse_recipe, read_recipe
from bundler.workloads.chart import read_chart
from tests.workloads.packed import packed_folder

ROOT = Path(__file__).parents[2]
RECIPES = shipped_recipes()
GUIDE = (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = json.loads(recipe_schema())
SHORTEST = "version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {
        "k3s", "minimal", "china", "alpine", "ha", "agent-only", "raspberry-pi", "wireguard", "private-registry",
        "embedded-registry", "upgrade", "with-app", "selinux", "custom-cni",
    }  # fmt: skip
    assert {path.name for path in (ROOT / "recipes").iterdir()} == {
        path.name if path.parent.name == "recipes" else path.stem for path in RECIPES
    }


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_read_and_bears_its_file_name(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.release == "stable" or path.stem in {"upgrade", "custom-cni"}
    assert recipe.arch == ("amd64", "arm64", "arm") or path.stem in {"raspberry-pi", "selinux", "custom-cni"}
    assert summary(path)
    assert all(len(line) <= 120 for line in path.read_text().splitlines())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_fits_the_schema_its_first_line_names(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((path.parent / named).read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(path.read_bytes()), schema, cls=jsonschema.Draft202012Validator)


def test_custom_cni_replaces_flannel_by_what_its_page_shows() -> None:
    recipe = read_recipe(ROOT / "recipes" / "custom-cni.yaml")
    (chart,) = recipe.charts
    assert chart.bootstrap, "without a network no node is ready, and nothing installs the network"
    assert recipe.site.server["flannel-backend"] == "none"
    page = (ROOT / "docs" / "how-to" / "custom-cni.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shown = parse_recipe(block.encode(), "custom-cni.md")
    assert shown.charts == recipe.charts
    assert (shown.name, shown.release, shown.arch) == (recipe.name, recipe.release, recipe.arch)
    assert recipe.site.server.items() >= shown.site.server.items()


def test_the_packed_chart_of_with_app_is_the_folder_beside_it() -> None:
    """The compressed bytes are left alone: they differ between releases of zlib."""
    folder = ROOT / "recipes" / "with-app"
    (chart,) = read_recipe(folder / "with-app.yaml").charts
    right = packed_folder(folder / "chart", chart.name)
    again = f"Path('recipes/with-app/{chart.chart}').write_bytes(packed_folder(Path('recipes/with-app/chart'), 'app'))"
    assert gzip.decompress((folder / chart.chart).read_bytes()) == gzip.decompress(right), again
    packed = read_chart(right, "app")
    assert chart.chart == f"./{packed.name}-{packed.version}.tgz"


def test_with_app_has_one_image_which_is_built_and_given_to_its_chart() -> None:
    recipe = read_recipe(ROOT / "recipes" / "with-app" / "with-app.yaml", {"image": "registry.corp/shop:2.0"})
    (chart,), (image,) = recipe.charts, recipe.images.builds
    assert image.ref.name == "registry.corp/shop:2.0" == chart.values["image"]
    assert chart.images == (image.ref,)
    own = yaml.safe_load((ROOT / "recipes" / "with-app" / "chart" / "values.yaml").read_bytes())
    assert set(chart.values) == set(own), "a value that the chart does not know changes nothing"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize(
    "lines",
    ["name: Edge", "arch: []", "release: nightly", "engin: auto", "pack: {level: 20}", "images: {layers: gzip}",
     "components: {disable: [traefic]}", "sources: {releases: 'ftp://a'}", "site: {registries: {auths: {}}}",
     "site: {config: {a: {b: 1}}}", "sources: {registries: {docker.io: []}}"],
)  # fmt: skip
def test_editors_see_common_mistakes(lines: str) -> None:
    data = yaml.safe_load(SHORTEST) | yaml.safe_load(lines)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_what_the_shipped_recipes_show_in_comments_is_right() -> None:
    text = (ROOT / "recipes" / "k3s.yaml").read_text(encoding="utf-8")
    keys, _, optional = text.partition("# What follows is optional.")
    shown = [line[2:] for line in optional.splitlines() if re.match(r"# (?: |[a-z]+:$)", line)]
    recipe = parse_recipe((keys + "\n".join(shown) + "\n").encode(), "k3s.yaml")
    assert recipe.components.disable == ("servicelb", "traefik")
    assert recipe.images.extra
    assert recipe.site.config
    assert recipe.site.registries.mirrors


def examples() -> list[str]:
    return [block for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if not block.startswith("#")]


@pytest.mark.parametrize("block", examples())
def test_every_example_of_the_guide_is_a_recipe_or_a_part_of_one(block: str, tmp_path: Path) -> None:
    text = block if block.startswith(("version:", "extends:")) else SHORTEST + block
    (tmp_path / "base.yaml").write_text(SHORTEST + "images: {extra: [docker.io/library/nginx:1.27]}\n")
    file = tmp_path / "site" / "edge.yaml"
    file.parent.mkdir()
    file.write_text(text)
    read_recipe(file)
    jsonschema.validate(yaml.safe_load(text), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_mistakes_the_guide_shows_are_what_is_said() -> None:
    shown = re.search(r"```\nerror\[recipe-invalid\]: (.*?)\n```", GUIDE, re.DOTALL)
    assert shown
    with pytest.raises(Exception, match="2 mistakes") as caught:
        parse_recipe(b"version: 1\nname: edge\nrelease: 1.30\narch: [amr64]\n", "edge.yaml")
    assert str(caught.value).splitlines()[:3] == ("error[recipe-invalid]: " + shown.group(1)).splitlines()
