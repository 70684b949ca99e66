"""Secrets that nodes are told: a recipe never holds them, it says where they come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bundler.model.recipe_files import SourcePath
from bundler.model.strict import Strict, several

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WAYS = "{env: NAME}, {file: PATH} or {ask: true}"


def _not_written_out(value: Any) -> Any:
    """Refuse a secret that stands in the recipe, in words that do not repeat it."""
    if isinstance(value, Mapping | SiteSecret):
        return value
    raise ValueError(f"is written out, and secrets do not belong in a recipe: say where it comes from, {_WAYS}")


class SiteSecret(Strict):
    """Where a secret comes from: the builder's environment, a file of the builder, or the operator at the site."""

    env: str | None = Field(
        default=None,
        description="variable of the builder's environment that holds it when the bundle is built",
        examples=["REGISTRY_PASSWORD"],
    )
    file: SourcePath | None = Field(
        default=None,
        description="file that holds it when the bundle is built, from the folder of the recipe",
        examples=["./password.txt"],
    )
    ask: Literal[True] | None = Field(
        default=None,
        description="true: it is left empty, and the operator fills it in at the site",
        examples=[True],
    )

    @model_validator(mode="after")
    def _one_way(self) -> SiteSecret:
        if [self.env, self.file, self.ask].count(None) != 2:
            raise ValueError(f"says nowhere, or in several places, where it comes from: {_WAYS}")
        if self.env is not None and not _VARIABLE.fullmatch(self.env):
            raise several([(("env",), "is not the name of a variable such as REGISTRY_PASSWORD")])
        return self


SiteSecretField = Annotated[SiteSecret, BeforeValidator(_not_written_out)]
"""A secret inside a pydantic model."""


@dataclass(frozen=True, repr=False)
class SiteSecrets:
    """Secrets that were read, by where they come from. Not shown anywhere by accident: it has no text of its own."""

    values: Mapping[SiteSecret, str]

    def of(self, secret: SiteSecret) -> str:
        """Give a secret; empty when the operator is asked for it."""
        return "" if secret.ask else self.values[secret]
