"""What nodes are told: the files below etc/ of a bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bundler.model.bundle import REGISTRIES
from bundler.site.config import config_files
from bundler.site.registries import asked, registries_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model.recipe import Recipe
    from bundler.model.secret import SiteSecrets


@dataclass(frozen=True)
class Told:
    """The files by path in the bundle; `private` ones hold secrets, `asked` is what the operator fills in, in words."""

    files: Mapping[str, bytes] = field(repr=False)
    private: frozenset[str]
    asked: tuple[str, ...]


def told_by(recipe: Recipe, secrets: SiteSecrets) -> Told:
    """Write everything below etc/ of the bundle."""
    registries = recipe.site.registries
    files = {REGISTRIES: registries_yaml(registries, secrets), **config_files(recipe.site, recipe.components.disable)}
    private = frozenset({REGISTRIES} if any(not secret.ask for _, _, secret in registries.secrets()) else ())
    return Told(files, private, tuple(f"{name} {key}" for name, key in asked(registries)))
