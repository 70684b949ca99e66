"""The part of a recipe that says which images are carried, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, ValidationError, WithJsonSchema

from bundler.model.lock import LayerForm
from bundler.model.recipe_builds import REF, BuildSource, EngineSource, NamedReference
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.reference import Reference, parse_reference
from bundler.model.strict import KEY, Strict, no_repeats, several


def _reference(value: object) -> Reference:
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str):
        raise ValueError("is not text: an image such as docker.io/library/nginx:1.27 is expected")  # noqa: TRY004
    return parse_reference(value)


def _archive_path(text: str) -> str:
    if not text or "\0" in text or text.endswith("/"):
        raise ValueError("is not the path of a file such as ./app.tar, from the folder of the recipe")
    return text


class ArchiveSource(Strict):
    """An image from an archive of images."""

    archive: Annotated[
        str, AfterValidator(_archive_path), Field(json_schema_extra={"minLength": 1, "format": PATH_FORMAT})
    ] = Field(description="path of a docker save or OCI archive, from the folder of the recipe", examples=["./app.tar"])
    ref: NamedReference | None = Field(default=None, description=REF, examples=["registry.example/app:1.0"])

    def __str__(self) -> str:
        return f"{self.archive} ({self.ref.name})" if self.ref else self.archive


Extra = Reference | ArchiveSource | BuildSource | EngineSource
"""An image beyond those of k3s: from a registry, an archive, a Dockerfile, or the local engine."""

_FORMS: dict[str, type[ArchiveSource | BuildSource | EngineSource]] = {
    "archive": ArchiveSource,
    "build": BuildSource,
    "engine": EngineSource,
}
"""What kind an image is of that is written as a mapping, by the key that only this kind has."""


def _extra(value: object) -> Extra:
    if isinstance(value, ArchiveSource | BuildSource | EngineSource):
        return value
    if not isinstance(value, Mapping):
        return _reference(value)
    form = next((form for key, form in _FORMS.items() if key in value), None)
    if form is None:
        raise ValueError("has none of archive, build and engine: one says where the image comes from")
    known = form.model_fields
    mistakes = [((key, KEY), f"unknown key; known here: {', '.join(known)}") for key in value if key not in known] + [
        ((), f"needs {key} too") for key, field in known.items() if field.is_required() and key not in value
    ]
    kept = {key: each for key, each in value.items() if key in known}
    try:
        source = form.model_validate(kept)
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if detail["type"] != "missing"]
        raise several(mistakes, details) from None
    if mistakes:
        raise several(mistakes)
    return source


def _extra_text(item: Extra) -> str | dict[str, Any]:
    # What is not said stays unsaid: the fingerprint of a recipe depends on it.
    return str(item) if isinstance(item, Reference) else item.model_dump(mode="json", exclude_defaults=True)


def _extra_name(value: object) -> str:
    item = _extra(value)
    return str(item) if isinstance(item, ArchiveSource) else _reference_of(item).name


def _reference_of(item: Reference | BuildSource | EngineSource) -> Reference:
    return item if isinstance(item, Reference) else item.ref


@dataclass(frozen=True, order=True)
class Exclusion:
    """Images of the release's list to leave out: one tag of a repository, or all of them."""

    registry: str
    repository: str
    tag: str | None = None

    def matches(self, reference: Reference) -> bool:
        """Say whether `reference` is to be left out."""
        same = (reference.registry, reference.repository) == (self.registry, self.repository)
        return same and self.tag in {None, reference.tag}

    def __str__(self) -> str:
        name = f"{self.registry}/{self.repository}"
        return f"{name}:{self.tag}" if self.tag else name


def _exclusion(value: object) -> Exclusion:
    if isinstance(value, Exclusion):
        return value
    if not isinstance(value, str):
        raise ValueError("is not text: an image or a repository such as docker.io/rancher/klipper-lb is expected")  # noqa: TRY004
    reference = parse_reference(value)
    if reference.digest:
        raise ValueError(
            f"{value!r} has a digest: the list of the release has none, write repository or repository:tag"
        )
    tagged = ":" in value.rpartition("/")[2]
    return Exclusion(reference.registry, reference.repository, reference.tag if tagged else None)


ReferenceField = Annotated[
    Reference, PlainValidator(_reference), PlainSerializer(str), WithJsonSchema({"type": "string", "minLength": 1})
]

Ordered = TypeVar("Ordered", Extra, Exclusion)


def _by_name(values: tuple[Ordered, ...]) -> tuple[Ordered, ...]:
    return tuple(sorted(values, key=str))


ExtraField = Annotated[
    Extra,
    PlainValidator(
        _extra, json_schema_input_type=Annotated[str, Field(min_length=1)] | ArchiveSource | BuildSource | EngineSource
    ),
    PlainSerializer(_extra_text),
]
ExclusionField = Annotated[
    Exclusion, PlainValidator(_exclusion), PlainSerializer(str), WithJsonSchema({"type": "string", "minLength": 1})
]


class Images(Strict):
    """Which images are carried, and how."""

    extra: Annotated[tuple[ExtraField, ...], AfterValidator(_by_name), no_repeats(_extra_name)] = Field(
        default=(),
        examples=[
            [
                "docker.io/library/nginx:1.27",
                {"archive": "./app.tar"},
                {"build": "./app", "ref": "registry.example/app:1.0"},
                {"ref": "app:dev", "engine": "docker"},
            ]
        ],
        description="images beyond those of k3s: docker.io/library/nginx:1.27, {archive: ./app.tar}, "
        "{build: ./app, ref: ...} or {ref: ..., engine: docker}",
    )
    exclude: Annotated[tuple[ExclusionField, ...], AfterValidator(_by_name), no_repeats(_exclusion)] = Field(
        default=(),
        examples=[["docker.io/rancher/klipper-helm"]],
        description="images of the release's list to leave out: repository, or repository:tag",
    )
    layers: LayerForm = Field(
        default="zstd",
        examples=["registry"],
        description="form of layers in the archives: zstd (smallest, k3s from v1.22), plain, registry (as published)",
    )

    @property
    def references(self) -> tuple[Reference, ...]:
        """The extra images that come from registries."""
        return tuple(item for item in self.extra if isinstance(item, Reference))

    @property
    def archives(self) -> tuple[ArchiveSource, ...]:
        """The extra images that come from archives."""
        return tuple(item for item in self.extra if isinstance(item, ArchiveSource))

    @property
    def builds(self) -> tuple[BuildSource, ...]:
        """The extra images that are built from Dockerfiles."""
        return tuple(item for item in self.extra if isinstance(item, BuildSource))

    @property
    def from_engine(self) -> tuple[EngineSource, ...]:
        """The extra images that only the local Docker engine has."""
        return tuple(item for item in self.extra if isinstance(item, EngineSource))

    @property
    def named(self) -> tuple[Reference, ...]:
        """The names of the extra images that the recipe itself tells: of all but those from archives."""
        return tuple(_reference_of(item) for item in self.extra if not isinstance(item, ArchiveSource))
