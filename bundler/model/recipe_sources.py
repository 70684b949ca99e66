"""The part of a recipe that says where the builder fetches from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from bundler.model.address import HttpUrl, parse_http_url
from bundler.model.reference import DOCKER_HUB, is_registry_host
from bundler.model.release import TagStyle
from bundler.model.strict import FrozenMapping, Strict, no_repeats, nothing


def _registry(text: str) -> str:
    if text in {"index.docker.io", "registry-1.docker.io"}:
        raise ValueError(f'is Docker Hub, whose images are called "{DOCKER_HUB}/…": write "{DOCKER_HUB}"')
    if not is_registry_host(text):
        raise ValueError('is not a registry: a host with an optional port is expected, such as "registry.example:5000"')
    return text


class Sources(Strict):
    """Where the builder fetches from."""

    releases: HttpUrl = Field(
        default="https://github.com/k3s-io/k3s/releases/download",
        examples=["https://mirror.example/k3s"],
        description="base URL of releases: files are at <base>/<tag>/<file>",
    )
    tag_style: TagStyle = Field(
        default="percent",
        examples=["dash"],
        description="how + of a tag is written in that URL: percent (%2B), dash (-) or plain (+)",
    )
    channels: HttpUrl = Field(
        default="https://update.k3s.io/v1-release/channels",
        examples=["https://mirror.example/channels"],
        description="URL of the channel server's list, JSON",
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
        examples=[{"docker.io": ["https://mirror.example/hub"]}],
        description="registry: URLs of mirrors for the builder, tried in order, then the registry itself; "
        "a path stands before the repository",
    )
