"""The part of a recipe that names files to carry."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bundler.model.carried import FileMode, FileRole, SiteTarget
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.strict import Strict


def _source(text: str) -> str:
    if not text or "\0" in text or text.endswith("/"):
        raise ValueError("is not the path of a file such as ./ca.pem, from the folder of the recipe")
    return text


SourcePath = Annotated[str, AfterValidator(_source), Field(json_schema_extra={"minLength": 1, "format": PATH_FORMAT})]
"""A file on the builder's disk, by its path from the recipe's folder."""


class FileToCarry(Strict):
    """A file that the installer puts somewhere at the site."""

    source: SourcePath = Field(
        examples=["./site-ca.pem"], description="path of the file, from the folder of the recipe"
    )
    target: SiteTarget = Field(
        examples=["data-dir/agent/etc/containerd/config-v3.toml.d/10-site.toml"],
        description="where the installer puts it: an absolute path, or data-dir/... below k3s's data directory",
    )
    mode: FileMode = Field(
        default="644", examples=["600"], description="its permissions there: three octal digits, in quotes"
    )
    role: FileRole = Field(default="any", examples=["server"], description="nodes that get it: any, server or agent")
