"""The part of a recipe that names manifests for k3s to deploy."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bundler.model.recipe_extends import PATH_FORMAT


def _pattern(text: str) -> str:
    if not text or "\0" in text:
        raise ValueError("is not a path such as ./manifests/*.yaml, from the folder of the recipe")
    return text


ManifestPattern = Annotated[
    str,
    AfterValidator(_pattern),
    Field(
        json_schema_extra={"minLength": 1, "format": PATH_FORMAT},
        examples=["./app.yaml", "./manifests", "./manifests/**/*.yaml"],
    ),
]
"""A manifest, a folder of manifests, or a glob, by its path from the recipe's folder."""
