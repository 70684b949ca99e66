"""What nodes are told, from a recipe through the whole command line into a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.build.workshop import Workshop


def test_flags_the_release_does_not_know_yet_are_refused_all_at_once_when_it_is_locked(workshop: Workshop) -> None:
    workshop.write_recipe(more="site:\n  config: {helm-controller-arg: [a=b]}\n  agent: {debug: true}\n")
    told = "site.config.helm-controller-arg: servers know it from"
    refused = workshop.build()
    assert (refused.code, refused.error) == (2, "wrong-use"), refused.err
    assert told in refused.err
    assert not workshop.lock.exists()
    assert workshop.left_in_output() == []


def test_each_kind_of_node_finds_its_configuration_in_the_bundle(workshop: Workshop) -> None:
    workshop.write_recipe(
        more="site:\n  config: {debug: true, brand-new: 1}\n  first_server: {cluster-init: true}\n"
        "  agent: {node-label: [a=b]}\n  unknown_flags: {brand-new: [server]}\n"
    )
    built = workshop.build()
    found = {path.name: path.read_text() for path in (built.path / "etc").glob("config*.yaml")}
    assert found.keys() == {"config.yaml", "config-server.yaml", "config-first-server.yaml", "config-agent.yaml"}
    assert "cluster-init: true" in found.pop("config-first-server.yaml")
    assert not [name for name, text in found.items() if "cluster-init" in text]
    assert "brand-new: 1" in found["config-server.yaml"]
    assert "brand-new" not in found["config.yaml"] + found["config-agent.yaml"]
    assert "site.unknown_flags: brand-new is written for servers as you say" in built.err
