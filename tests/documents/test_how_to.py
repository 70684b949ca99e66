"""The how-to pages: their recipes are recipes, their commands exist, and each leads from recipe to check."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from bundler.cli.main import command_line
from bundler.cli.shipped import shipped_recipes
from bundler.site.installer import install_script
from bundler.stages.read import parse_recipe

PAGES = sorted((Path(__file__).parents[2] / "docs" / "how-to").glob("*.md"))
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_there_are_ten_pages_and_the_readme_leads_to_each() -> None:
    assert len(PAGES) >= 10
    for page in PAGES:
        assert f"(docs/how-to/{page.name})" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_leads_from_recipe_to_check(page: Path) -> None:
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:5] == ["Recipe", "Build", "Carry", "Install", "Check"]
    assert headings[5:] in ([], ["Going back"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_recipe_of_a_page_is_a_recipe(page: Path) -> None:
    recipes = [block for block in blocks(page, "yaml") if block.startswith("version:")]
    assert recipes
    for block in recipes:
        parse_recipe(block.encode(), page.name)
    for block in blocks(page, "yaml"):
        assert yaml.safe_load(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_commands(page: Path, tmp_path: Path) -> None:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    ours = [line for line in lines if line.startswith("k3s-bundler ")]
    assert ours
    names = {path.stem for path in shipped_recipes()} | {
        yaml.safe_load(block)["name"] for block in blocks(page, "yaml") if block.startswith("version:")
    }
    for line in ours:
        args = command_line().parse_args(shlex.split(line, comments=True)[1:])
        for recipe in [args.recipe] if isinstance(getattr(args, "recipe", None), str) else []:
            assert Path(recipe).stem in names
    (tmp_path / "install.sh").write_bytes(install_script())
    told = subprocess.run(["sh", tmp_path / "install.sh", "--help"], capture_output=True, text=True, check=True).stdout
    for line in lines:
        for option in re.findall(r"install\.sh (--[a-z-]+)", line):
            assert option in told.split() or f"{option}\n" in told, option
