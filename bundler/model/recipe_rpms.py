"""RPM packages that a recipe carries."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from bundler.model.recipe_files import SourcePath
from bundler.model.recipe_node import base_name
from bundler.model.strict import no_repeats

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~^-]*-[^-/\s]+-[^-/\s]+\.(?:noarch|x86_64|aarch64|armv7hl)\.rpm")


def _rpm(source: str) -> str:
    if not _NAME.fullmatch(base_name(source)):
        raise ValueError("is not called as packages are: name-version-release.architecture.rpm")
    return source


Rpms = Annotated[tuple[Annotated[SourcePath, AfterValidator(_rpm)], ...], no_repeats(base_name)]
"""Paths of packages from the recipe's folder."""
