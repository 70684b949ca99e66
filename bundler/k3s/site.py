"""Whether a release can do what a recipe tells its nodes: asked when it is locked, for only then it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.k3s.behaviour import names_images_by_digest
from bundler.k3s.flags import NEWEST_READ, Version, flags_too_new, knows_flag
from bundler.model.recipe_site import SECTIONS
from bundler.model.registries import EVERY_REGISTRY, PRESET_FLAGS

if TYPE_CHECKING:
    from bundler.model.recipe_site import Site
    from bundler.model.release import Release


@dataclass(frozen=True)
class Fit:
    """What does not work with a release, and what is worth knowing of what does; in words, each with its place."""

    mistakes: tuple[str, ...]
    notes: tuple[str, ...]


def fit_of(site: Site, release: Release) -> Fit:
    """Compare everything in `site` with what `release` knows."""
    flags = tuple(dict.fromkeys(flags_too_new(site, release)))
    mistakes = [what for what, answer in flags if answer == "no"]
    notes = [what for what, answer in flags if answer == "perhaps"]
    mistakes += _registries_too_new(site, release)
    mistakes += _node_files_too_new(site, release)
    notes += _registries_worth_knowing(site, release)
    told = any(site.section(name) for name in SECTIONS)
    if told and release.version[:2] > NEWEST_READ[:2]:
        notes.append(
            f"{release} is newer than the flags this k3s-bundler knows (v1.{NEWEST_READ[1]}): flags that were removed "
            "since are not found"
        )
    notes += [
        f"site.unknown_flags: {name} is written for {' and '.join(f'{role}s' for role in roles)} as you say; nothing "
        "is known of it here"
        for name, roles in site.unknown_flags.items()
    ]
    return Fit(tuple(mistakes), tuple(notes))


_WILDCARDS = {(1, 26): 15, (1, 27): 12, (1, 28): 8, (1, 29): 3}  # k3s-io/k3s#9729, March 2024: first patch
_REWRITES_AGAIN = {(1, 29): 11, (1, 30): 7, (1, 31): 3}  # containerd of December 2024: first patch in which they work


def _registries_too_new(site: Site, release: Release) -> list[str]:
    """Find what of registries.yaml a release drops without a word."""
    registries = site.registries
    named = {*registries.all_mirrors(), *registries.configs}
    found = [
        f"site.registries.preset: {registries.preset} sets {flag}, which {release} does not know"
        for flag in PRESET_FLAGS[registries.preset]
        if knows_flag(release, flag, "server") == "no"
    ]
    if EVERY_REGISTRY in named and not _since(release, _WILDCARDS):
        place = "preset" if registries.preset and EVERY_REGISTRY not in registries.mirrors else f'"{EVERY_REGISTRY}"'
        versions = ", ".join(f"v{major}.{minor}.{first}" for (major, minor), first in _WILDCARDS.items())
        found.append(f"site.registries: {place} is for every registry, which k3s knows from {versions} on")
    return found


def _registries_worth_knowing(site: Site, release: Release) -> list[str]:
    registries = site.registries
    found = []
    rewrites = any(mirror.rewrite for mirror in registries.all_mirrors().values() if mirror)
    line, patch = release.version[:2], release.version[2]
    if rewrites and patch < _REWRITES_AGAIN.get(line, 0):
        found.append(
            f"site.registries.mirrors: rewrite did not work in releases before v{line[0]}.{line[1]}."
            f"{_REWRITES_AGAIN[line]} of this line: try it, or take that one"
        )
    shares = registries.preset == "embedded" or any(
        site.section(section).get("embedded-registry") is True for section in SECTIONS
    )
    if shares and not names_images_by_digest(release):
        found.append(
            f"embedded-registry: nodes of {release} share images they pulled, not those of the bundle "
            "(they do from v1.32.11, v1.33.7, v1.34.3 and v1.35.0 on); the bundle's archive is on every node anyway"
        )
    return found


_CONTAINERD_2 = {(1, 31): 6, (1, 32): 2}  # February 2025: first patch
_CONTAINERD_DROP_INS = {(1, 33): 10, (1, 34): 6, (1, 35): 3}  # k3s b51167a99, February 2026: first patch
_KUBELET_DROP_INS: Version = (1, 32, 1)  # k3s 6381ae93e, merged after the tag of v1.32.0+k3s1


def _node_files_too_new(site: Site, release: Release) -> list[str]:
    containerd = site.containerd
    has_containerd_2 = _since(release, _CONTAINERD_2)
    found = []
    if containerd.version == 3 and (containerd.template or containerd.drop_ins) and not has_containerd_2:
        found.append("site.containerd.version: 3 is for k3s from v1.31.6 and v1.32.2 on: write version: 2")
    if containerd.drop_ins and not _since(release, _CONTAINERD_DROP_INS):
        found.append(
            "site.containerd.drop_ins: k3s reads them from v1.33.10, v1.34.6, v1.35.3 and v1.36.0 on: write a template"
        )
    elif containerd.drop_ins and containerd.version == 2 and not containerd.template:
        found.append("site.containerd.drop_ins: of version 2 are read with a template of version 2 alone")
    if site.kubelet.drop_ins and release.version < _KUBELET_DROP_INS:
        found.append("site.kubelet.drop_ins: k3s reads them from v1.32.1 on: write kubelet-arg")
    return found


def _since(release: Release, patches: dict[tuple[int, int], int]) -> bool:
    """Say whether a release is of a newer line than all of these, or has the patch of its own line."""
    line, patch = release.version[:2], release.version[2]
    return line > max(patches) or patch >= patches.get(line, 1 << 30)
