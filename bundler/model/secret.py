"""Secrets in a recipe: never the secret itself, only where it is found when it is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bundler.model.recipe_files import SourcePath
from bundler.model.strict import Strict

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError("is not the name of an environment variable: letters, digits and _ are expected")
    return text


class Secret(Strict):
    """Where a secret is: in an environment variable of the builder, or in a file."""

    ways: ClassVar[str] = "{env: NAME} or {file: PATH}"

    env: Annotated[str, AfterValidator(_variable)] | None = Field(
        default=None, examples=["REGISTRY_PASSWORD"], description="environment variable that holds it"
    )
    file: SourcePath | None = Field(
        default=None,
        examples=["./password.txt"],
        description="file that holds it, from the folder of the recipe; the end of its line is left out",
    )

    @model_validator(mode="before")
    @classmethod
    def _not_written_out(cls, value: Any) -> Any:
        # The sentence for a wrong kind of value would repeat it.
        if not isinstance(value, Mapping | Secret):
            raise ValueError(f"is written out, and secrets do not belong in a recipe: say where it is, {cls.ways}")  # noqa: TRY004  pydantic's protocol
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(value is not None for value in self.__dict__.values()) != 1:
            raise ValueError(f"says nowhere, or in several places, where it is: {self.ways}")
        return self


class SiteSecret(Secret):
    """Where a secret is that nodes are told: with the builder, or with the operator at the site."""

    ways: ClassVar[str] = "{env: NAME}, {file: PATH} or {ask: true}"

    ask: Literal[True] | None = Field(
        default=None,
        description="true: it is left empty, and the operator fills it in at the site",
        examples=[True],
    )


@dataclass(frozen=True, repr=False)
class SiteSecrets:
    """Secrets that were read, by where they come from. Not shown anywhere by accident: it has no text of its own."""

    values: Mapping[SiteSecret, str]

    def of(self, secret: SiteSecret) -> str:
        """Give a secret; empty when the operator is asked for it."""
        return "" if secret.ask else self.values[secret]
