"""Which releases know what a recipe tells its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bundler.k3s.flags import _BACKPORTED, _SINCE, _SINCE_ON_AGENTS, knows_flag
from bundler.k3s.site import fit_of
from bundler.model.flags import FLAGS
from bundler.model.recipe_site import Site
from bundler.model.release import parse_release

if TYPE_CHECKING:
    from bundler.model.flags import NodeRole


def fit(release: str, **site: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = fit_of(Site.model_validate(site), parse_release(release))
    return found.mistakes, found.notes


@pytest.mark.parametrize(
    ("release", "name", "role", "answer"),
    [
        ("v1.29.1+k3s1", "embedded-registry", "server", "yes"),
        ("v1.29.0+k3s1", "embedded-registry", "server", "no"),
        ("v1.28.6+k3s1", "embedded-registry", "server", "yes"),
        ("v1.28.5+k3s1", "embedded-registry", "server", "no"),
        ("v1.36.3+k3s1", "helm-controller-arg", "server", "yes"),
        ("v1.35.6+k3s1", "helm-controller-arg", "server", "no"),
        ("v1.32.9+k3s1", "helm-controller-arg", "server", "no"),
        ("v1.34.10+k3s1", "helm-controller-arg", "server", "yes"),
        ("v1.30.5+k3s1", "nonroot-devices", "agent", "perhaps"),
        ("v1.30.0+k3s1", "nonroot-devices", "agent", "no"),
        ("v1.27.16+k3s1", "nonroot-devices", "agent", "no"),
        ("v1.29.4+k3s1", "bind-address", "agent", "perhaps"),
        ("v1.26.0+k3s1", "bind-address", "agent", "no"),
        ("v1.21.0+k3s1", "bind-address", "server", "yes"),
        ("v1.40.0+k3s1", "write-kubeconfig-name", "server", "yes"),
    ],
)
def test_flags_are_known_from_the_release_that_brought_them(
    release: str, name: str, role: NodeRole, answer: str
) -> None:
    assert knows_flag(parse_release(release), name, role) == answer


def test_the_tables_of_versions_name_flags_of_the_table() -> None:
    assert {*_SINCE, *_SINCE_ON_AGENTS, *_BACKPORTED} <= FLAGS.keys()
    for name, patches in _BACKPORTED.items():
        assert all(line < _SINCE[name][:2] for line in patches), name


def test_everything_too_new_is_told_at_once_with_its_place_and_role() -> None:
    mistakes, notes = fit(
        "v1.28.4+k3s1",
        config={"embedded-registry": False, "bind-address": "10.0.0.1"},
        agent={"default-runtime": "kata", "nonroot-devices": True},
        first_server={"etcd-s3-retention": 3},
    )
    assert mistakes == (
        "site.config.embedded-registry: servers know it from v1.26.13, v1.27.10, v1.28.6, v1.29.1 on",
        "site.first_server.etcd-s3-retention: servers know it from v1.31.12, v1.32.8, v1.33.4 on",
        "site.agent.default-runtime: agents know it from v1.28.5 on",
    )
    assert notes == (
        "site.config.bind-address: agents know it from v1.30.2 on; whether v1.28.4+k3s1 does is not known here",
        "site.agent.nonroot-devices: agents know it from v1.31.3 on; whether v1.28.4+k3s1 does is not known here",
    )


def test_a_release_beyond_the_table_is_noted_when_flags_are_told() -> None:
    assert fit("v1.40.0+k3s1") == ((), ())
    assert fit("v1.36.9+k3s1", config={"debug": True}) == ((), ())
    (note,) = fit("v1.40.0+k3s1", config={"debug": True})[1]
    assert "newer than the flags this k3s-bundler knows (v1.36)" in note


def test_flags_taken_on_trust_are_named() -> None:
    mistakes, notes = fit("v1.36.3+k3s1", config={"new": True}, unknown_flags={"new": ("server", "agent")})
    assert mistakes == ()
    assert notes == (
        "site.unknown_flags: new is written for servers and agents as you say; nothing is known of it here",
    )


def test_presets_and_wildcards_need_the_release_that_knows_them() -> None:
    mistakes, _ = fit("v1.29.2+k3s1", registries={"preset": "offline"})
    assert mistakes == (
        "site.registries: preset is for every registry, which k3s knows from v1.26.15, v1.27.12, v1.28.8, v1.29.3 on",
    )
    mistakes, _ = fit("v1.28.5+k3s1", registries={"preset": "embedded", "mirrors": {"*": None}})
    assert mistakes == (
        "site.registries.preset: embedded sets embedded-registry, which v1.28.5+k3s1 does not know",
        'site.registries: "*" is for every registry, which k3s knows from v1.26.15, v1.27.12, v1.28.8, v1.29.3 on',
    )
    assert fit("v1.29.3+k3s1", registries={"preset": "offline"}) == ((), ())
    assert fit("v1.26.15+k3s1", registries={"mirrors": {"*": {"endpoint": ("https://a",)}}}) == ((), ())
    assert fit("v1.20.0+k3s1", registries={"mirrors": {"a": {"endpoint": ("https://a:443",)}}}) == ((), ())


def test_what_works_otherwise_than_one_thinks_is_noted() -> None:
    mirrors = {"a": {"endpoint": ("https://m.example",), "rewrite": {"^x": "y"}}}
    assert (
        "rewrite did not work in releases before v1.30.7" in fit("v1.30.6+k3s1", registries={"mirrors": mirrors})[1][0]
    )
    assert fit("v1.30.7+k3s1", registries={"mirrors": mirrors}) == ((), ())
    assert "share images they pulled" in fit("v1.34.1+k3s1", registries={"preset": "embedded"})[1][0]
    assert fit("v1.34.3+k3s1", registries={"preset": "embedded"}) == ((), ())
