"""Which files a recipe wants at the site, and where each lies in the bundle and there. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bundler.model.carried import carried_path
from bundler.model.registries import certificate_target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.model.carried import FileRole
    from bundler.model.recipe import Recipe

Content = Literal["anything", "certificate", "private key"]
"""What has to be in a file."""


@dataclass(frozen=True)
class WantedFile:
    """A file of the builder's: `source` from the recipe's folder, `place` in the recipe, `path` in the bundle."""

    source: str
    place: str
    path: str
    target: str | None
    mode: str = "644"
    role: FileRole = "any"
    content: Content = "anything"


def wanted_files(recipe: Recipe) -> Iterator[WantedFile]:
    """Give every file of the builder's that the recipe names, in the order of the recipe."""
    for index, file in enumerate(recipe.files):
        path = carried_path(file.role, file.target)
        yield WantedFile(file.source, f"files[{index}].source", path, file.target, file.mode, file.role)
    for registry, key, source in recipe.site.registries.certificates():
        target = certificate_target(registry, key)
        place = f"site.registries.configs.{registry}.tls.{key}"
        path = carried_path("any", target)
        if key == "key_file":
            yield WantedFile(source, place, path, target, mode="600", content="private key")
        else:
            yield WantedFile(source, place, path, target, content="certificate")
