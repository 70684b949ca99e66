"""The part of a recipe that says which images are carried, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from bundler.model.lock import LayerForm
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.reference import Reference, parse_reference
from bundler.model.strict import KEY, Strict, no_repeats, several


def _reference(value: object) -> Reference:
    if isinstance(value, Reference):
        return value
    if not isinstance(value, str):
        raise ValueError("is not text: an image such as docker.io/library/nginx:1.27 is expected")  # noqa: TRY004
    return parse_reference(value)


@dataclass(frozen=True, order=True)
class ArchiveSource:
    """An image from an archive of images; `path` is relative to the recipe, `ref` its name, where that is needed."""

    path: str
    ref: Reference | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.ref.name})" if self.ref else self.path


def _extra(value: object) -> Reference | ArchiveSource:
    if isinstance(value, ArchiveSource):
        return value
    if not isinstance(value, Mapping):
        return _reference(value)
    path, ref = value.get("archive"), None
    mistakes: list[tuple[tuple[str, ...], str]] = [
        ((key, KEY), "unknown key; known here: archive, ref") for key in value if key not in {"archive", "ref"}
    ]
    if not isinstance(path, str) or not path or "\0" in path or path.endswith("/"):
        mistakes.append((("archive",), "is not the path of a file such as ./app.tar, from the folder of the recipe"))
    try:
        ref = _reference(value["ref"]) if "ref" in value else None
        if ref and ref.digest:
            mistakes.append((("ref",), "has a digest: the lock has those of the archive, write repository:tag"))
    except ValueError as error:
        mistakes.append((("ref",), str(error)))
    if mistakes:
        raise several(mistakes)
    return ArchiveSource(str(path), ref)


def _extra_text(item: Reference | ArchiveSource) -> str | dict[str, str]:
    if isinstance(item, Reference):
        return str(item)
    return {"archive": item.path} | ({"ref": item.ref.name} if item.ref else {})


def _extra_name(value: object) -> str:
    item = _extra(value)
    return item.name if isinstance(item, Reference) else str(item)


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


Ordered = TypeVar("Ordered", Reference | ArchiveSource, Exclusion)


def _by_name(values: tuple[Ordered, ...]) -> tuple[Ordered, ...]:
    return tuple(sorted(values, key=str))


ExtraField = Annotated[
    Reference | ArchiveSource,
    PlainValidator(_extra),
    PlainSerializer(_extra_text),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {
                        "archive": {
                            "type": "string",
                            "minLength": 1,
                            "format": PATH_FORMAT,
                            "examples": ["./app.tar"],
                            "description": "path of a docker save or OCI archive, from the folder of the recipe",
                        },
                        "ref": {
                            "type": "string",
                            "minLength": 1,
                            "examples": ["registry.example/app:1.0"],
                            "description": "name of the image, when the archive names none or several",
                        },
                    },
                    "required": ["archive"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
ExclusionField = Annotated[
    Exclusion, PlainValidator(_exclusion), PlainSerializer(str), WithJsonSchema({"type": "string", "minLength": 1})
]


class Images(Strict):
    """Which images are carried, and how."""

    extra: Annotated[tuple[ExtraField, ...], AfterValidator(_by_name), no_repeats(_extra_name)] = Field(
        default=(),
        examples=[["docker.io/library/nginx:1.27", {"archive": "./app.tar"}]],
        description="images beyond those of k3s, such as docker.io/library/nginx:1.27, or {archive: ./app.tar}",
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
