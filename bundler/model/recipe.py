"""The recipe: what a person wrote, checked and frozen. Reading the file is `bundler.stages.read`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from bundler.errors import UsageError
from bundler.model.config import COMPONENTS, Component
from bundler.model.digest import Digest, digest_of
from bundler.model.names import RecipeName
from bundler.model.platform import ARCHITECTURES, Architecture
from bundler.model.recipe_charts import Chart
from bundler.model.recipe_extends import for_editors
from bundler.model.recipe_files import FileToCarry, SourcePath
from bundler.model.recipe_images import Images
from bundler.model.recipe_manifests import ManifestPattern
from bundler.model.recipe_mistakes import findings
from bundler.model.recipe_rpms import Rpms
from bundler.model.recipe_site import Site, site_mistakes
from bundler.model.recipe_sources import Sources
from bundler.model.recipe_variables import Variables
from bundler.model.release import is_channel, is_tag
from bundler.model.strict import Strict, no_repeats, nothing, together
from bundler.model.yaml_nodes import path_text

CHANNELS = ("stable", "latest", "testing")
"""The channels beside those of one minor version (k3s channel.yaml)."""

EngineChoice = Literal["auto", "docker", "registry"]


def _version(value: object) -> object:
    # True and 1.0 equal 1 in Python, and so to pydantic's Literal.
    if type(value) is not int or value != 1:
        raise ValueError("this k3s-bundler reads version 1: write 1, without quotes")
    return value


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


def _chart_name(value: Any) -> str:
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    if not isinstance(name, str):
        raise ValueError("has no name")  # noqa: TRY004  its type says so
    return name


ReleaseName = Annotated[
    str, AfterValidator(_release), Field(json_schema_extra={"pattern": "^(stable|latest|testing|v[0-9]+\\.[0-9]+.*)$"})
]
Level = Annotated[int, Field(ge=1, le=19)]


class Components(Strict):
    """What k3s brings along."""

    disable: Annotated[tuple[Component, ...], AfterValidator(_components), no_repeats(str)] = Field(
        json_schema_extra={"uniqueItems": True},
        default=(),
        examples=[["traefik", "servicelb"]],
        description="components to leave out, with their images; also written to the site's config.yaml",
    )


class Pack(Strict):
    """How archives are compressed."""

    level: Level = Field(
        default=7, examples=[19], description="zstd level, 1 (fast) to 19 (small); the window is always 32 MiB"
    )


class Recipe(Strict):
    """A recipe of k3s-bundler."""

    version: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        examples=[1], description="version of this format: 1"
    )
    extends: SourcePath | None = Field(
        default=None, examples=["../base.yaml"], description="recipe that this one is laid over, a path from its folder"
    )
    variables: Variables = Field(
        default_factory=nothing,
        examples=[{"registry": {"default": "registry.example:5000", "description": "the site's own registry"}}],
        description="texts that `--set` can change; `${name}` in a value stands for one",
    )
    name: RecipeName = Field(
        examples=["edge"], description="name of the recipe; files and folders of the bundle are called by it"
    )
    release: ReleaseName = Field(
        examples=["v1.34"], description="k3s release: a channel (stable, v1.34) or an exact tag (v1.34.1+k3s1)"
    )
    arch: Annotated[tuple[Architecture, ...], Field(min_length=1), AfterValidator(_architectures), no_repeats(str)] = (
        Field(
            json_schema_extra={"uniqueItems": True},
            examples=[["amd64", "arm64"]],
            description="CPU architectures of the site's machines: amd64, arm64, arm",
        )
    )
    components: Components = Field(default_factory=Components, description="what k3s brings along")
    images: Images = Field(default_factory=Images, description="which images are carried, and how")
    site: Annotated[Site, together(site_mistakes)] = Field(default_factory=Site, description="what nodes are told")
    manifests: Annotated[tuple[ManifestPattern, ...], no_repeats(str)] = Field(
        default=(),
        description="manifests that k3s deploys by itself, from the folder of the recipe: files, folders, globs; "
        "the images they name are carried",
        examples=[["./app.yaml", "./manifests/*.yaml"]],
    )
    charts: Annotated[tuple[Chart, ...], no_repeats(_chart_name)] = Field(
        default=(),
        description="Helm charts that k3s installs by itself; the images they need are carried",
        examples=[[{"name": "redis", "chart": "./redis-1.0.0.tgz"}]],
    )
    files: tuple[FileToCarry, ...] = Field(
        default=(),
        examples=[[{"source": "./site-ca.pem", "target": "/etc/ssl/site-ca.pem"}]],
        description="files to put somewhere at the site",
    )
    rpms: Rpms = Field(
        default=(),
        examples=[["./k3s-selinux-1.6-1.el9.noarch.rpm"]],
        description="RPM packages to carry; the installer takes k3s-selinux where SELinux enforces without it",
    )
    sources: Sources = Field(default_factory=Sources, description="where the builder fetches from")
    engine: EngineChoice = Field(
        default="auto",
        examples=["registry"],
        description="what pulls images: docker, the embedded registry client, or auto",
    )
    pack: Pack = Field(default_factory=Pack, description="how archives are compressed")

    def fingerprint(self) -> Digest:
        """Hash all that decides what is in the bundle: everything but the engine, both give the same bundle.

        What the recipe extends and its variables have done their work: the result counts.
        """
        data = self.model_dump(mode="json", exclude={"engine", "extends", "variables"})
        return digest_of(json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

    def changed_by(self, settings: Mapping[str, str]) -> bool:
        """Say whether `settings` give a variable another value than its default."""
        return any(settings.get(name, each.default) != each.default for name, each in self.variables.items())

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
        return checked(data, "the command line does not fit the recipe")

    def resolved(self) -> dict[str, Any]:
        """Give all that counts as plain data, defaults written out: the recipe without what it extends."""
        data: dict[str, Any] = self.model_dump(mode="json", exclude={"extends", "variables"}, exclude_none=True)
        return data


def checked(data: Mapping[str, Any], complaint: str) -> Recipe:
    """Check a recipe that no file holds; raises UsageError, which begins with `complaint`."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        found = [f"{path_text(each.path)}: {each.what}" for each in findings(error, schema_data(), lambda _: "")]
        raise UsageError(
            f"{complaint}: " + "; ".join(found), hint="see docs/reference/recipe.md, and --help of this command"
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
    return json.dumps(for_editors(schema_data()), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
