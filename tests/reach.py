"""Ways to local servers for tests: what a recipe would say of registries, and no secrets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bundler.engines.access import RegistryAccess
from bundler.engines.releases import Releases
from bundler.engines.secrets import Secrets
from bundler.model.recipe_sources import RegistrySource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from requests import Session

    from bundler.model.recipe import Recipe

NO_SECRETS = Secrets(Path(), {})


def through(mirrors: Mapping[str, Sequence[str]] | None = None) -> RegistryAccess:
    """Reach registries through mirrors alone."""
    sources = {registry: RegistrySource(mirrors=tuple(urls)) for registry, urls in (mirrors or {}).items()}
    return RegistryAccess(sources, NO_SECRETS)


def releases_of(recipe: Recipe, session: Session) -> Releases:
    """Reach the releases of a recipe that needs no secrets."""
    return Releases(recipe, NO_SECRETS, session)
