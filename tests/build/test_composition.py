"""Recipes that extend others and have variables, through the whole command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.build.workshop import Workshop

USE = 'variables: {zone: {default: "1"}}\nsite: {config: {kubelet-arg: ["zone=${zone}"]}}\n'


def zone(workshop: Workshop, *more: object, env: dict[str, str] | None = None) -> str:
    """Build for one zone and read what the site will be told."""
    bundle = workshop.build("--replace", *more, env=env).path
    return next(line for line in (bundle / "etc/config.yaml").read_text().splitlines() if "zone=" in line).strip()


def test_a_value_from_the_command_line_wins_over_the_environment_and_both_over_the_default(workshop: Workshop) -> None:
    workshop.write_recipe(more=USE)
    environment = {"K3S_BUNDLER_SET_ZONE": "2", "K3S_BUNDLER_SET_OTHER": "of another recipe"}
    assert zone(workshop) == '- "zone=1"'
    assert zone(workshop, env=environment) == '- "zone=2"'
    assert zone(workshop, "--set", "zone=3", env=environment) == '- "zone=3"'
    assert zone(workshop, "--set", "zone=3", "--set", "zone=a=b") == '- "zone=a=b"'


def test_another_value_is_locked_apart_and_the_default_beside_the_recipe(workshop: Workshop) -> None:
    workshop.write_recipe(more=USE)
    lock = ("lock", workshop.recipe, "--cache-dir", workshop.cache)
    assert workshop.run(*lock, "--set", "zone=1").path == workshop.lock
    before = workshop.lock.read_bytes()
    apart = workshop.run(*lock, "--set", "zone=2").path
    assert apart.is_relative_to(workshop.cache)
    assert workshop.run(*lock, env={"K3S_BUNDLER_SET_ZONE": "2"}).path == apart
    assert workshop.lock.read_bytes() == before


def test_a_variable_without_a_value_is_refused_and_one_that_is_given_builds(workshop: Workshop) -> None:
    workshop.write_recipe(more=USE.replace('default: "1"', ""))
    result = workshop.build()
    assert result.error == "recipe-invalid"
    assert "the variable zone has no value: give --set zone=..." in result.err
    assert workshop.build("--set", "zone=7").code == 0
    assert not workshop.lock.exists()


def test_a_name_on_the_command_line_that_no_variable_has_is_refused(workshop: Workshop) -> None:
    workshop.write_recipe(more=USE)
    result = workshop.build("--set", "zona=3")
    assert (result.code, result.error) == (2, "wrong-use")
    assert 'there is no variable "zona"; did you mean "zone"?' in result.err
    for wrong in ("zone", "=3"):
        assert workshop.build("--set", wrong).error == "wrong-use"


def test_a_lock_is_outdated_when_a_base_changes_and_not_when_its_comments_do(workshop: Workshop) -> None:
    base = workshop.folder / "base.yaml"
    base.write_text(workshop.recipe.read_text())
    workshop.recipe.write_text('extends: ./base.yaml\nsite: {config: {node-label: ["a=b"]}}\n')
    lock = ("lock", workshop.recipe, "--cache-dir", workshop.cache)
    assert workshop.run(*lock).path == workshop.lock
    base.write_text("# more words\n" + base.read_text())
    assert workshop.run(*lock, "--check").code == 0
    base.write_text(base.read_text().replace("level: 1", "level: 2"))
    assert workshop.run(*lock, "--check").error == "lock-outdated"


def test_mistakes_of_a_base_name_its_file_also_for_github(workshop: Workshop) -> None:
    (workshop.folder / "base.yaml").write_text("version: 1\nengine: podman\n")
    workshop.recipe.write_text("extends: base.yaml\nname: edge\nrelease: stable\narch: [amr64]\n")
    result = workshop.build(env={"GITHUB_ACTIONS": "true"})
    assert f"\n{workshop.folder}/base.yaml:2:9: engine: " in result.err
    assert f"\n{workshop.recipe}:4:8: arch[0]: " in result.err
    assert f"\n::error file={workshop.folder}/base.yaml,line=2,col=9::engine: " in result.err
    assert f"\n::error file={workshop.recipe},line=4,col=8::arch[0]: " in result.err


def test_files_of_a_base_are_taken_from_its_folder(workshop: Workshop) -> None:
    shared = workshop.folder / "shared"
    shared.mkdir()
    (shared / "ca.pem").write_text("certificate\n")
    (shared / "base.yaml").write_text(
        workshop.recipe.read_text() + "files: [{source: ./ca.pem, target: /etc/ssl/ca.pem}]\n"
    )
    workshop.recipe.write_text("extends: shared/base.yaml\n")
    bundle = workshop.build().path
    assert (bundle / "files/any/etc/ssl/ca.pem").read_text() == "certificate\n"
    assert [file["source"] for file in json.loads(workshop.lock.read_text())["files"]] == ["./shared/ca.pem"]
