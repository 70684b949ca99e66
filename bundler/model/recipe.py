"""The recipe: what a person wrote, checked and frozen. Reading the file is `bundler.stages.read`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
)

from bundler.errors import UsageError
from bundler.model.address import HttpUrl, parse_http_url
from bundler.model.config import COMPONENTS, Component, Config
from bundler.model.digest import Digest, digest_of
from bundler.model.lock import LayerForm
from bundler.model.marked_yaml import path_text
from bundler.model.platform import ARCHITECTURES, Architecture
from bundler.model.recipe_mistakes import findings
from bundler.model.reference import DOCKER_HUB, Reference, is_registry_host, parse_reference
from bundler.model.registries import Registries
from bundler.model.release import TagStyle, is_channel, is_tag
from bundler.model.strict import KEY, FrozenMapping, Strict, no_repeats, nothing, several

CHANNELS = ("stable", "latest", "testing")
"""The channels beside those of one minor version (k3s channel.yaml)."""

EngineChoice = Literal["auto", "docker", "registry"]

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,38}[a-z0-9])?")
_K3S_ARCHIVE = "k3s-airgap"


def _version(value: object) -> object:
    # True and 1.0 equal 1 in Python, and so to pydantic's Literal.
    if type(value) is not int or value != 1:
        raise ValueError("this k3s-bundler reads version 1: write 1, without quotes")
    return value


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("is not a name: 1 to 40 lower-case letters, digits and -, neither first nor last (RFC 1123)")
    if text == _K3S_ARCHIVE:
        raise ValueError(f'is taken: "{_K3S_ARCHIVE}-images" is what k3s calls its own archive')
    return text


def _release(text: str) -> str:
    if is_channel(text) or is_tag(text):
        return text
    raise ValueError(
        "is neither a channel (stable, latest, testing, v1.34) nor a tag (v1.34.1+k3s1)" + _release_suggestion(text)
    )


def _release_suggestion(text: str) -> str:
    """Guess what was meant: a forgotten v, a dash for the plus, no +k3s1."""
    cut = text[:40].lower().strip()
    guess = re.sub(r"[-.+_ ]k3s\.?(\d+)$", r"+k3s\1", cut if cut.startswith("v") else f"v{cut}")
    for candidate in (guess, f"{guess}+k3s1"):
        if is_channel(candidate) or is_tag(candidate):
            return f'; did you mean "{candidate}"?'
    near = get_close_matches(cut, CHANNELS, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _architectures(values: tuple[Architecture, ...]) -> tuple[Architecture, ...]:
    return tuple(sorted(values, key=ARCHITECTURES.index))


def _components(values: tuple[Component, ...]) -> tuple[Component, ...]:
    return tuple(sorted(values, key=COMPONENTS.index))


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


def _registry(text: str) -> str:
    if text in {"index.docker.io", "registry-1.docker.io"}:
        raise ValueError(f'is Docker Hub, whose images are called "{DOCKER_HUB}/…": write "{DOCKER_HUB}"')
    if not is_registry_host(text):
        raise ValueError('is not a registry: a host with an optional port is expected, such as "registry.example:5000"')
    return text


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
                            "description": "path of a docker save or OCI archive, from the folder of the recipe",
                        },
                        "ref": {
                            "type": "string",
                            "minLength": 1,
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
ReleaseName = Annotated[
    str, AfterValidator(_release), Field(json_schema_extra={"pattern": "^(stable|latest|testing|v[0-9]+\\.[0-9]+.*)$"})
]
Level = Annotated[int, Field(ge=1, le=19)]


class Components(Strict):
    """What k3s brings along."""

    disable: Annotated[tuple[Component, ...], AfterValidator(_components), no_repeats(str)] = Field(
        json_schema_extra={"uniqueItems": True},
        default=(),
        description="components to leave out, with their images; also written to the site's config.yaml",
    )


class Images(Strict):
    """Which images are carried, and how."""

    extra: Annotated[tuple[ExtraField, ...], AfterValidator(_by_name), no_repeats(_extra_name)] = Field(
        default=(),
        description="images beyond those of k3s, such as docker.io/library/nginx:1.27, or {archive: ./app.tar}",
    )
    exclude: Annotated[tuple[ExclusionField, ...], AfterValidator(_by_name), no_repeats(_exclusion)] = Field(
        default=(), description="images of the release's list to leave out: repository, or repository:tag"
    )
    layers: LayerForm = Field(
        default="zstd",
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


class Site(Strict):
    """What nodes are told."""

    registries: Registries = Field(
        default_factory=Registries, description="goes to /etc/rancher/k3s/registries.yaml on every node"
    )
    config: Config = Field(
        default_factory=nothing, description="goes to /etc/rancher/k3s/config.yaml: flags of k3s without their dashes"
    )


class Sources(Strict):
    """Where the builder fetches from."""

    releases: HttpUrl = Field(
        default="https://github.com/k3s-io/k3s/releases/download",
        description="base URL of releases: files are at <base>/<tag>/<file>",
    )
    tag_style: TagStyle = Field(
        default="percent", description="how + of a tag is written in that URL: percent (%2B), dash (-) or plain (+)"
    )
    channels: HttpUrl = Field(
        default="https://update.k3s.io/v1-release/channels", description="URL of the channel server's list, JSON"
    )
    registries: FrozenMapping[
        Annotated[str, AfterValidator(_registry)],
        Annotated[
            tuple[HttpUrl, ...],
            Field(min_length=1),
            no_repeats(parse_http_url),
        ],
    ] = Field(
        default_factory=nothing,
        description="registry: URLs of mirrors for the builder, tried in order, then the registry itself; "
        "a path stands before the repository",
    )


class Pack(Strict):
    """How archives are compressed."""

    level: Level = Field(default=9, description="zstd level, 1 (fast) to 19 (small); the window is always 32 MiB")


class Recipe(Strict):
    """A recipe of k3s-bundler."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(description="version of this format: 1")
    name: Annotated[
        str, AfterValidator(_name), Field(json_schema_extra={"pattern": "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"})
    ] = Field(description="name of the recipe; files and folders of the bundle are called by it")
    release: ReleaseName = Field(description="k3s release: a channel (stable, v1.34) or an exact tag (v1.34.1+k3s1)")
    arch: Annotated[tuple[Architecture, ...], Field(min_length=1), AfterValidator(_architectures), no_repeats(str)] = (
        Field(
            json_schema_extra={"uniqueItems": True},
            description="CPU architectures of the site's machines: amd64, arm64, arm",
        )
    )
    components: Components = Field(default_factory=Components, description="what k3s brings along")
    images: Images = Field(default_factory=Images, description="which images are carried, and how")
    site: Site = Field(default_factory=Site, description="what nodes are told")
    sources: Sources = Field(default_factory=Sources, description="where the builder fetches from")
    engine: EngineChoice = Field(
        default="auto", description="what pulls images: docker, the embedded registry client, or auto"
    )
    pack: Pack = Field(default_factory=Pack, description="how archives are compressed")

    def fingerprint(self) -> Digest:
        """Hash all that decides what is in the bundle: everything but the engine, both give the same bundle."""
        data = self.model_dump(mode="json", exclude={"engine"})
        return digest_of(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

    def with_overrides(
        self,
        *,
        arch: tuple[str, ...] | None = None,
        release: str | None = None,
        level: int | None = None,
        layers: str | None = None,
    ) -> Recipe:
        """Give the recipe with what the command line says instead; raises UsageError."""
        data = self.model_dump()
        data |= {key: value for key, value in {"arch": arch, "release": release}.items() if value is not None}
        data["pack"] |= {} if level is None else {"level": level}
        data["images"] |= {} if layers is None else {"layers": layers}
        try:
            return Recipe.model_validate(data)
        except ValidationError as error:
            found = [f"{path_text(each.path)}: {each.what}" for each in findings(error, schema_data(), lambda _: "")]
            raise UsageError(
                "the command line does not fit the recipe: " + "; ".join(found),
                hint="see `k3s-bundler build --help`",
            ) from None


def schema_data() -> dict[str, Any]:
    """Give the JSON Schema of a recipe, draft 2020-12, as decoded JSON."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:k3s-bundler:recipe:1",
        **Recipe.model_json_schema(),
    }


def recipe_schema() -> str:
    """Write the JSON Schema of a recipe; `bundler/model/recipe.schema.json` is this text."""
    return json.dumps(schema_data(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
