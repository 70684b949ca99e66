"""Whether a release can do what a recipe tells its nodes: asked when it is locked, for only then it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.k3s.flags import NEWEST_READ, flags_too_new
from bundler.model.recipe_site import SECTIONS

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
