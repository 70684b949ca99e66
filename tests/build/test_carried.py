"""Files that a recipe carries: locked, verified, and named to the installer."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from bundler.errors import RecipeNotFoundError, UsageError
from bundler.stages.carry import carry
from bundler.stages.read import parse_recipe
from bundler.store.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from tests.build.workshop import Workshop

FILES = """\
files:
  - {source: ./site-ca.pem, target: /etc/ssl/site-ca.pem}
  - source: 10-site.toml
    target: data-dir/agent/etc/containerd/config-v3.toml.d/10-site.toml
    mode: "600"
    role: agent
"""
CA = "files/any/etc/ssl/site-ca.pem"
DROP_IN = "files/agent/data-dir/agent/etc/containerd/config-v3.toml.d/10-site.toml"


@pytest.fixture
def carrying(workshop: Workshop) -> Workshop:
    (workshop.folder / "site-ca.pem").write_text("certificate\n")
    (workshop.folder / "10-site.toml").write_text("[plugins]\n")
    workshop.write_recipe(more=FILES)
    return workshop


def test_files_lie_in_the_bundle_and_the_installer_is_told_where_they_go(carrying: Workshop) -> None:
    bundle = carrying.build().path
    assert (bundle / CA).read_text() == "certificate\n"
    facts = (bundle / "bundle.facts").read_text().splitlines()
    assert f"file=644 any {CA} /etc/ssl/site-ca.pem" in facts
    target = "data-dir/agent/etc/containerd/config-v3.toml.d/10-site.toml"
    assert f"file=600 agent {DROP_IN} {target}" in facts
    digest = hashlib.sha256(b"certificate\n").hexdigest()
    assert f"{digest}  {CA}\n" in (bundle / "SHA256SUMS").read_text()


def test_another_machine_with_the_lock_and_the_files_builds_the_same(carrying: Workshop, tmp_path: Path) -> None:
    first = (carrying.build().path / "SHA256SUMS").read_bytes()
    again = carrying.build("--locked", "--cache-dir", tmp_path / "empty", "--output", tmp_path / "other")
    assert (again.path / "SHA256SUMS").read_bytes() == first


def test_a_changed_file_makes_the_lock_outdated(carrying: Workshop) -> None:
    assert carrying.build().code == 0
    (carrying.folder / "site-ca.pem").write_text("another\n")
    refused = carrying.build("--locked", "--replace")
    assert (refused.code, refused.error) == (6, "lock-outdated"), refused.err
    assert "./site-ca.pem changed since it was locked" in refused.err
    built = carrying.build("--replace")
    assert (built.path / CA).read_text() == "another\n"
    assert f"~ {CA}" in built.err


def test_plan_counts_carried_files(carrying: Workshop) -> None:
    plan = carrying.run("plan", carrying.recipe, "--cache-dir", carrying.cache, "--json").document
    assert {file["name"]: file["size"] for file in plan["files"] if "arch" not in file} == {CA: 12, DROP_IN: 10}


def test_verify_finds_a_file_that_was_exchanged_together_with_its_checksum(carrying: Workshop) -> None:
    bundle = carrying.build().path
    sums = (bundle / "SHA256SUMS").read_text()
    (bundle / CA).write_text("forged\n")
    before, after = (hashlib.sha256(data).hexdigest() for data in (b"certificate\n", b"forged\n"))
    (bundle / "SHA256SUMS").write_text(sums.replace(before, after))
    found = carrying.run("verify", bundle)
    assert (found.code, found.error) == (4, "bundle-damaged")
    assert f"{CA} is not the file that was locked" in found.err


def recipe_with(files: list[dict[str, str]]) -> bytes:
    return f"version: 1\nname: edge\nrelease: stable\narch: [arm64]\nfiles: {json.dumps(files)}\n".encode()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    recipe = parse_recipe(recipe_with([{"source": "absent.pem", "target": "/etc/a"}]), "edge.yaml")
    with pytest.raises(RecipeNotFoundError, match=r"files\[0\]\.source: there is no file .*absent\.pem"):
        carry(recipe, tmp_path, open_store(tmp_path / "cache"))


@pytest.mark.parametrize("other", ["/etc/a", "/etc/A"])
def test_two_files_for_one_place_are_refused_also_where_case_alone_differs(tmp_path: Path, other: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    files = [{"source": "a", "target": "/etc/a"}, {"source": "b", "target": other}]
    with pytest.raises(UsageError, match="a and b have the same place"):
        carry(parse_recipe(recipe_with(files), "edge.yaml"), tmp_path, open_store(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("role", "other"), [("server", "/etc/a"), ("agent", "/etc/a/b"), ("server", "/etc"), ("any", "/etc/a/b")]
)
def test_two_files_that_meet_on_a_node_are_refused(tmp_path: Path, role: str, other: str) -> None:
    (tmp_path / "a").write_bytes(b"")
    (tmp_path / "b").write_bytes(b"")
    files = [{"source": "a", "target": "/etc/a"}, {"source": "b", "target": other, "role": role}]
    with pytest.raises(UsageError, match="cannot both be on a node"):
        carry(parse_recipe(recipe_with(files), "edge.yaml"), tmp_path, open_store(tmp_path / "cache"))


def test_a_server_and_an_agent_may_have_different_files_at_one_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    files = [{"source": "a", "target": "/etc/a", "role": role} for role in ("server", "agent")]
    found = carry(parse_recipe(recipe_with(files), "edge.yaml"), tmp_path, open_store(tmp_path / "cache"))
    assert [file.path for file in found] == ["files/agent/etc/a", "files/server/etc/a"]


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ({"source": "a", "target": "etc/a"}, "is not a place at the site"),
        ({"source": "a", "target": "/etc/../root/a"}, "is not a place at the site"),
        ({"source": "a", "target": "/etc/a b"}, "is not a place at the site"),
        ({"source": "a", "target": "/proc/a"}, "a place that no file survives in"),
        ({"source": "a", "target": "/etc/rancher/k3s/config.yaml"}, "what the bundle always brings"),
        ({"source": "a", "target": "/etc/rancher/k3s/registries.yaml"}, "what the bundle always brings"),
        ({"source": "a/", "target": "/etc/a"}, "is not the path of a file"),
        ({"source": "a", "target": "/etc/a", "mode": "0644"}, "three octal digits"),
        ({"source": "a", "target": "/etc/a", "mode": "666"}, "lets everybody write"),
        ({"source": "a", "target": "/etc/a", "role": "master"}, '"master" is not one of any, server, agent'),
        ({"source": "a"}, "target: is missing"),
    ],
)
def test_what_cannot_be_placed_is_refused(file: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(recipe_with([file]), "edge.yaml")
    assert what in caught.value.what
