"""k3s's registries.yaml, checked more strictly than k3s does.

k3s ignores keys it does not know and does not start when a type is wrong (rancher/wharfie pkg/registries/types.go).
Accounts are left out on purpose: secrets do not travel in recipes or bundles.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from bundler.model.address import HttpUrl, host_of, parse_http_url
from bundler.model.reference import DOCKER_HUB, is_registry_host
from bundler.model.strict import KEY, FrozenMapping, Strict, no_repeats, nothing, several

EVERY_REGISTRY = "*"
_DOCKER_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")

_BEYOND_RE2 = re.compile(r"\(\?(?:[=!>]|<[=!])|\\[1-9]")
_BEYOND_PYTHON = re.compile(r"\\[pPzQEC]|\[\[:|\(\?[a-zA-Z]*U|\\x\{")
_LONGEST_PATTERN = 200


def _registry_name(text: str) -> str:
    if text in _DOCKER_HUB_HOSTS:
        raise ValueError(f'is Docker Hub, which k3s knows as "{DOCKER_HUB}": write that')
    if text == EVERY_REGISTRY or is_registry_host(text):
        return text
    if "://" in text:
        raise ValueError('is a URL: registries are named by host and port alone, such as "registry.example:5000"')
    raise ValueError('is not a registry: a host with an optional port is expected, or "*" for every registry')


def _pattern(text: str) -> str:
    """Check what can be checked here of an expression that Go's RE2 will read."""
    if not text or len(text) > _LONGEST_PATTERN:
        raise ValueError(f"is not a usable expression: 1 to {_LONGEST_PATTERN} characters are expected")
    if found := _BEYOND_RE2.search(text):
        raise ValueError(f'has "{found.group()}", which the expressions of Go (RE2) do not know')
    if not _BEYOND_PYTHON.search(text):
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is not a regular expression: {error}") from None
    return text


def _site_path(text: str) -> str:
    if not re.fullmatch(r"/[!-~]+", text) or "/../" in f"{text}/":
        raise ValueError("is not a path at the site: it must begin with / and have no spaces or ..")
    return text


RegistryName = Annotated[str, AfterValidator(_registry_name)]
SitePath = Annotated[str, AfterValidator(_site_path), Field(json_schema_extra={"pattern": "^/"})]


class RegistryMirror(Strict):
    """Where nodes look for the images of one registry, before they ask the registry itself."""

    endpoint: Annotated[
        tuple[HttpUrl, ...],
        no_repeats(parse_http_url),
    ] = Field(
        default=(),
        examples=[["https://registry.example:5000"]],
        description="URLs of registries that hold the images, asked in this order",
    )
    rewrite: FrozenMapping[Annotated[str, AfterValidator(_pattern)], str] = Field(
        default_factory=nothing,
        examples=[{"^rancher/(.*)": "mirror/rancher/$1"}],
        description="expression over the repository name (not the tag): what replaces it; Go's RE2, $1 for groups",
    )


class RegistryTls(Strict):
    """How nodes trust the server of an endpoint; the files are at the site."""

    ca_file: SitePath | None = Field(
        default=None, examples=["/etc/ssl/site-ca.pem"], description="certificate of the authority, a path at the site"
    )
    cert_file: SitePath | None = Field(
        default=None, examples=["/etc/ssl/node.pem"], description="client certificate, a path at the site"
    )
    key_file: SitePath | None = Field(
        default=None, examples=["/etc/ssl/node.key"], description="key of the client certificate, a path at the site"
    )
    insecure_skip_verify: bool = Field(default=False, examples=[True], description="true: believe any certificate")

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        if self.cert_file and not self.key_file:
            raise several([(("cert_file", KEY), "needs key_file beside it")])
        if self.key_file and not self.cert_file:
            raise several([(("key_file", KEY), "needs cert_file beside it")])
        return self


class RegistryConfig(Strict):
    """How nodes speak to one host."""

    tls: RegistryTls = Field(
        examples=[{"cert_file": "/etc/ssl/node.pem", "key_file": "/etc/ssl/node.key"}], description="certificates"
    )


class Registries(Strict):
    """The whole file."""

    mirrors: FrozenMapping[RegistryName, RegistryMirror | None] = Field(
        default_factory=nothing,
        examples=[{"docker.io": {"endpoint": ["https://registry.example:5000"]}}],
        description='registry (or "*"): its mirrors; an empty one only lets the embedded registry share its images',
    )
    configs: FrozenMapping[RegistryName, RegistryConfig] = Field(
        default_factory=nothing,
        examples=[{"registry.example:5000": {"tls": {"ca_file": "/etc/ssl/site-ca.pem"}}}],
        description="host[:port] of an endpoint, exactly as written there: its certificates",
    )

    @model_validator(mode="after")
    def _names_meet(self) -> Self:
        """Check what k3s would drop silently (k3s pkg/agent/containerd/config.go)."""
        hosts = sorted({host_of(url) for mirror in self.mirrors.values() if mirror for url in mirror.endpoint})
        mistakes = [
            (
                ("configs", name, KEY),
                f'has another port than the endpoint "{near}", and k3s compares both: write "{near}"',
            )
            for name in self.configs
            if name not in hosts and name not in self.mirrors and (near := _same_machine(name, hosts))
        ]
        mistakes += [
            (
                ("mirrors", name, "rewrite"),
                f'does nothing for the endpoint "{host}", which is the registry itself: write its port there (:443)',
            )
            for name, mirror in self.mirrors.items()
            if mirror and mirror.rewrite
            for host in dict.fromkeys(map(host_of, mirror.endpoint))
            if host == name or (name == DOCKER_HUB and host in _DOCKER_HUB_HOSTS)
        ]
        if mistakes:
            raise several(mistakes)
        return self


def _same_machine(name: str, hosts: list[str]) -> str | None:
    return next((host for host in hosts if _without_port(host) == _without_port(name)), None)


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]+\Z", "", host)
