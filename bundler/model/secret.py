"""Secrets in a recipe: never the secret itself, only where it is found when it is needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from bundler.model.recipe_files import SourcePath
from bundler.model.strict import Strict

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _variable(text: str) -> str:
    if not _VARIABLE.fullmatch(text):
        raise ValueError("is not the name of an environment variable: letters, digits and _ are expected")
    return text


class Secret(Strict):
    """Where a secret is: in an environment variable, or in a file."""

    env: Annotated[str, AfterValidator(_variable)] | None = Field(
        default=None, examples=["MIRROR_SECRET"], description="environment variable that holds it"
    )
    file: SourcePath | None = Field(
        default=None,
        examples=["./mirror-secret"],
        description="file that holds it, from the folder of the recipe; the end of its line is left out",
    )

    @model_validator(mode="before")
    @classmethod
    def _not_written_out(cls, value: Any) -> Any:
        # The sentence for a wrong kind of value would repeat it.
        if not isinstance(value, Mapping | Secret):
            raise ValueError("is not {env: NAME} or {file: PATH}: a secret itself does not belong in a recipe")  # noqa: TRY004  pydantic's protocol
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("needs one of env and file")
        return self
