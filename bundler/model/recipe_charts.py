"""The part of a recipe that names Helm charts to install."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from bundler.model.address import HttpUrl
from bundler.model.names import ChartName
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.recipe_images import ReferenceField
from bundler.model.strict import FrozenMapping, Strict, no_repeats, nothing

OCI = "oci://"

_NAMESPACE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"v?[0-9]+(?:\.[0-9]+){0,2}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?")


def _namespace(text: str) -> str:
    if not _NAMESPACE.fullmatch(text):
        raise ValueError("is not a namespace: 1 to 63 lower-case letters, digits and - are expected")
    return text


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError("is not one exact version such as 1.2.3: ranges are decided by hand")
    return text


def _chart(text: str) -> str:
    if text.startswith(OCI) and "@" in text:
        raise ValueError("holds an account or a digest: accounts are those of docker login, the lock has the digest")
    if not text or "\0" in text:
        raise ValueError("is not a chart: a path such as ./app-1.0.0.tgz, oci://..., or a name in repo is expected")
    return text


class Chart(Strict):
    """A Helm chart that k3s installs by itself."""

    name: ChartName = Field(description="name of the Helm release, and of the HelmChart object", examples=["redis"])
    chart: Annotated[str, AfterValidator(_chart), Field(json_schema_extra={"minLength": 1, "format": PATH_FORMAT})] = (
        Field(
            description="a packed chart, from the folder of the recipe; oci://registry/repository; or a name in repo",
            examples=["./redis-1.0.0.tgz", "oci://registry.example/charts/redis"],
        )
    )
    repo: HttpUrl | None = Field(
        default=None,
        description="URL of a chart repository, which has an index.yaml",
        examples=["https://charts.example"],
    )
    version: Annotated[str, AfterValidator(_version)] | None = Field(
        default=None,
        description="exact version; needed for oci://, the newest one of a repo without it, and checked",
        examples=["1.0.0"],
    )
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        default="default", description="namespace it is installed into; made when it is not there", examples=["cache"]
    )
    values: FrozenMapping[str, Any] = Field(
        default_factory=nothing, description="values that the chart is installed with", examples=[{"replicas": 2}]
    )
    bootstrap: bool = Field(
        default=False,
        description="install it before the cluster has a network, from a server and by its host's network: for a CNI",
        examples=[True],
    )
    images: Annotated[tuple[ReferenceField, ...], no_repeats(str)] | None = Field(
        default=None,
        description="the images it needs; found by themselves when helm is installed, and then checked",
        examples=[["docker.io/library/redis:7.2"]],
    )

    @model_validator(mode="after")
    def _one_source(self) -> Chart:
        if self.chart.startswith(OCI) and self.repo:
            raise ValueError("is oci:// and has a repo: remove one of the two")
        if self.chart.startswith(OCI) and not self.version:
            raise ValueError("is oci:// without a version: registries have no newest one")
        return self

    @property
    def name_in_repo(self) -> str:
        """What the repository calls the chart: names have no slash, and one from a base recipe has got a folder."""
        return self.chart.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Say whether the chart is a file on the builder's disk."""
        return not self.repo and not self.chart.startswith(OCI)
