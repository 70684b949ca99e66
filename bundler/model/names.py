"""Names that become names of files and objects: in recipes as in locks, so that neither can lead out of a bundle."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

_RECIPE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?")
_K3S_ARCHIVE = "k3s-airgap"
_HELM_RELEASE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,51}[a-z0-9])?")


def _recipe_name(text: str) -> str:
    if not _RECIPE.fullmatch(text):
        raise ValueError("is not a name: 1 to 40 lower-case letters, digits and -, neither first nor last (RFC 1123)")
    if text == _K3S_ARCHIVE:
        raise ValueError(f'is taken: "{_K3S_ARCHIVE}-images" is what k3s calls its own archive')
    return text


def _chart_name(text: str) -> str:
    if not _HELM_RELEASE.fullmatch(text):
        raise ValueError("is not a name for a Helm release: 1 to 53 lower-case letters, digits and - are expected")
    return text


RecipeName = Annotated[
    str, AfterValidator(_recipe_name), Field(json_schema_extra={"pattern": "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"})
]
"""The name of a recipe inside a pydantic model; folders and archives are called by it."""

ChartName = Annotated[
    str, AfterValidator(_chart_name), Field(json_schema_extra={"pattern": f"^{_HELM_RELEASE.pattern}$"})
]
"""The name of a Helm release inside a pydantic model; manifests and charts are called by it."""
