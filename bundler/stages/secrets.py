"""Recipe to secrets: what a recipe wants in the bundle in clear, read from where it says; in no lock and no log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import SecretMissingError
from bundler.model.site_secret import SiteSecret, SiteSecrets

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.model.recipe import Recipe
    from bundler.progress import Progress

_LONGEST = 64 << 10


def read_secrets(recipe: Recipe, folder: Path, environment: Mapping[str, str], progress: Progress) -> SiteSecrets:
    """Read every secret of the recipe; `folder` is its own. Says aloud what will lie in the bundle in clear.

    Raises SecretMissingError with all that cannot be had; it never repeats what was read.
    """
    found: dict[SiteSecret, str] = {}
    missing: list[str] = []
    for registry, key, secret in recipe.site.registries.secrets():
        place = f"site.registries.configs.{registry}.auth.{key}"
        if secret.ask:
            continue
        try:
            found[secret] = _read(secret, folder, environment)
        except (OSError, ValueError) as error:
            missing.append(f"{place}: {error.strerror if isinstance(error, OSError) else error} ({_origin(secret)})")
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


def _read(secret: SiteSecret, folder: Path, environment: Mapping[str, str]) -> str:
    """Give the text of one secret; raises OSError and ValueError."""
    if secret.env is not None:
        text = environment.get(secret.env, "")
    else:
        with (folder / (secret.file or "")).open("rb") as file:
            data = file.read(_LONGEST)
        try:
            text = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError("is no text in UTF-8") from None
    if not text:
        raise ValueError("is empty or not set")
    if not text.isprintable() or len(text) == _LONGEST:
        raise ValueError("is not one line of printable text")
    return text


def _origin(secret: SiteSecret) -> str:
    return f"variable {secret.env}" if secret.env else f"file {secret.file}"
