"""Recipe to secrets: what a recipe wants in the bundle in clear, read from where it says; in no lock and no log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import SecretMissingError
from bundler.model.secret import SiteSecret, SiteSecrets

if TYPE_CHECKING:
    from bundler.engines.secrets import Secrets
    from bundler.model.recipe import Recipe
    from bundler.progress import Progress


def read_secrets(recipe: Recipe, secrets: Secrets, progress: Progress) -> SiteSecrets:
    """Read every secret that nodes are told. Says aloud what will lie in the bundle in clear.

    Raises SecretMissingError with all that cannot be had; it never repeats what was read.
    """
    found: dict[SiteSecret, str] = {}
    missing: list[str] = []
    for registry, key, secret in recipe.site.registries.secrets():
        if secret.ask:
            continue
        try:
            found[secret] = secrets.read(secret)
        except SecretMissingError as error:
            missing.append(f"site.registries.configs.{registry}.auth.{key}: {error.what}")
            continue
        progress.note(
            f"etc/registries.yaml of the bundle holds {key} of {registry} in clear, as the recipe asks: "
            "whoever has the bundle has it"
        )
    if missing:
        raise SecretMissingError(
            "\n".join(("secrets of the recipe cannot be had:", *missing)),
            hint="set the variables, or make the files one line of text; {ask: true} leaves it to the operator",
        )
    for registry, key, source in recipe.site.registries.certificates():
        if key == "key_file":
            progress.note(f"the bundle holds the private key {source} for {registry}: whoever has the bundle has it")
    return SiteSecrets(found)
