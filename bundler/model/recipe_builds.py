"""The part of a recipe that names images which only a Docker engine has: built for the bundle, or there already."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, PlainValidator

from bundler.model.address import holds_account
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.reference import Reference, parse_reference
from bundler.model.strict import FrozenMapping, Strict, nothing

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(
    r"(?:^|_)(?:TOKEN|PASSWORD|PASSWD|PASSPHRASE|PASS|PWD|PAT|SECRET|CREDENTIALS?|AUTH|(?:API|PRIVATE|ACCESS|SSH)_?KEY)"
    r"S?(?:_|$|[0-9])",
    re.IGNORECASE,
)
_TOKEN_IN_URL = re.compile(r"://[^/\s@]+@")
_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

REF = "name of the image at the site, repository:tag; an archive needs it only when it names none or several"

NO_SECRETS = (
    "build arguments stay readable in the image's history: fetch what needs an account before the build, or build with "
    "`docker buildx build --secret` and write {archive: ./app.tar}"
)


def _named(value: object) -> Reference:
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str):
        raise ValueError("is not text: an image such as registry.example/app:1.0 is expected")  # noqa: TRY004
    reference = parse_reference(value)
    if reference.digest:
        raise ValueError("has a digest: the lock has that of the image, write repository:tag")
    return reference


def _folder(text: str) -> str:
    if not text or "\0" in text or "://" in text:
        raise ValueError("is not a folder such as ./app, from the folder of the recipe")
    return text


def _dockerfile(text: str) -> str:
    if not text or "\0" in text or text.startswith("/") or {"", ".."} & set(text.split("/")):
        raise ValueError("is not the path of a file in the context, such as docker/Dockerfile")
    return text.removeprefix("./")


def _stage(text: str) -> str:
    if not _STAGE.fullmatch(text):
        raise ValueError("is not the name of a stage of the Dockerfile")
    return text


def _argument(text: str) -> str:
    if not _ARGUMENT.fullmatch(text):
        raise ValueError("is not a name of a build argument: letters, digits and _ are expected")
    if _SECRET.search(text):
        raise ValueError(f"looks like a secret, and {NO_SECRETS}")
    return text


def _engine(value: object) -> object:
    if value != "docker":
        raise ValueError('is not "docker", the only engine that has images of its own')
    return value


class FromEnvironment(Strict):
    """A value that is read from the environment of the builder."""

    env: str = Field(description="name of the variable", examples=["BUILD_NUMBER"])


def _value(value: object) -> str | FromEnvironment:
    if isinstance(value, FromEnvironment):
        return value
    if isinstance(value, Mapping):
        name = value.get("env")
        if set(value) != {"env"} or not isinstance(name, str) or not _ARGUMENT.fullmatch(name):
            raise ValueError("is neither text nor {env: NAME}")
        if _SECRET.search(name):
            raise ValueError(f"takes {name}, which looks like a secret, and {NO_SECRETS}")
        return FromEnvironment(env=name)
    if not isinstance(value, str):
        raise ValueError("is neither text nor {env: NAME}: put numbers, true and false in quotes")  # noqa: TRY004
    if _TOKEN_IN_URL.search(value) or holds_account(value):
        raise ValueError(f"holds an account in a URL, and {NO_SECRETS}")
    return value


NamedReference = Annotated[
    Reference, PlainValidator(_named, json_schema_input_type=str), PlainSerializer(lambda ref: ref.name)
]
"""The name of an image, with a tag and without a digest."""

ArgumentValue = Annotated[
    str | FromEnvironment,
    PlainValidator(_value, json_schema_input_type=str | FromEnvironment),
    PlainSerializer(lambda value: value if isinstance(value, str) else {"env": value.env}),
]
"""The value of a build argument."""


class BuildSource(Strict):
    """An image that is built from a Dockerfile, for each architecture of the recipe."""

    build: Annotated[str, AfterValidator(_folder), Field(json_schema_extra={"minLength": 1, "format": PATH_FORMAT})] = (
        Field(
            description="folder of the build context, from the folder of the recipe; its .dockerignore is honoured",
            examples=["./app"],
        )
    )
    ref: NamedReference = Field(description=REF, examples=["registry.example/app:1.0"])
    dockerfile: Annotated[str, AfterValidator(_dockerfile), Field(json_schema_extra={"minLength": 1})] = Field(
        default="Dockerfile", description="path of the Dockerfile, from the context", examples=["docker/Dockerfile"]
    )
    target: Annotated[str, AfterValidator(_stage)] | None = Field(
        default=None,
        description="stage of the Dockerfile to build; the last one when it is not given",
        examples=["app"],
    )
    args: FrozenMapping[Annotated[str, AfterValidator(_argument)], ArgumentValue] = Field(
        default_factory=nothing,
        description="build arguments (ARG): text, or {env: NAME}; no secrets, they stay in the image's history",
        examples=[{"VERSION": "1.0", "COMMIT": {"env": "GIT_COMMIT"}}],
    )

    def __str__(self) -> str:
        return f"{self.ref.name} (built from {self.build})"


class EngineSource(Strict):
    """An image that exists only in the local Docker engine; it is never pulled."""

    ref: NamedReference = Field(description=REF, examples=["registry.example/app:1.0"])
    engine: Annotated[Literal["docker"], BeforeValidator(_engine)] = Field(
        description="where the image is: docker, the engine that DOCKER_HOST or the Docker context names",
        examples=["docker"],
    )

    def __str__(self) -> str:
        return f"{self.ref.name} (from the Docker engine)"
