"""k3s's registries.yaml, checked more strictly than k3s does.

k3s ignores keys it does not know and does not start when a type is wrong (rancher/wharfie pkg/registries/types.go).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from bundler.model.address import HttpUrl, host_of, parse_http_url
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.reference import DOCKER_HUB, is_registry_host
from bundler.model.rewrites import Pattern, overlapping
from bundler.model.secret import SiteSecret
from bundler.model.strict import KEY, FrozenMapping, Strict, no_repeats, nothing, require_pair, several, together

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EVERY_REGISTRY = "*"
NOBODY = "http://127.0.0.1:1"
"""An endpoint that refuses every pull at once: without any endpoint k3s writes nothing for a registry, and containerd
would go on asking the internet."""

Preset = Literal["offline", "embedded", "private"]

PRESET_FLAGS: Mapping[Preset | None, Mapping[str, bool]] = {
    "offline": {"disable-default-registry-endpoint": True},
    "embedded": {"embedded-registry": True},
    "private": {"disable-default-registry-endpoint": True},
    None: {},
}
"""Flags of k3s that a preset sets, below everything the recipe writes itself."""

CERTIFICATE_NAMES = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key"}
"""What carried files of `tls` are called at the site."""

_DOCKER_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")


def _registry_name(text: str) -> str:
    if text in _DOCKER_HUB_HOSTS:
        raise ValueError(f'is Docker Hub, which k3s knows as "{DOCKER_HUB}": write that')
    if text == EVERY_REGISTRY or is_registry_host(text):
        return text
    if "://" in text:
        raise ValueError('is a URL: registries are named by host and port alone, such as "registry.example:5000"')
    raise ValueError('is not a registry: a host with an optional port is expected, or "*" for every registry')


def _certificate(text: str) -> str:
    if text.startswith("/"):
        if not re.fullmatch(r"/[!-~]+", text) or "/../" in f"{text}/":
            raise ValueError("is not a path at the site: it must have no spaces and no ..")
    elif not text or "\0" in text or text.endswith("/"):
        raise ValueError("is neither a file such as ./ca.pem, from the folder of the recipe, nor a path at the site")
    return text


def _registry_host(text: str) -> str:
    if not is_registry_host(text):
        raise ValueError('is not a host with an optional port, such as "registry.example:5000"')
    return text


def _username(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("is not the name of a user")
    return text


RegistryName = Annotated[str, AfterValidator(_registry_name)]
CertificatePath = Annotated[
    str, AfterValidator(_certificate), Field(json_schema_extra={"minLength": 1, "format": PATH_FORMAT})
]
"""A file of the builder's that the bundle carries, from the recipe's folder; with / at its start, one at the site."""


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
    rewrite: Annotated[FrozenMapping[Pattern, str], together(overlapping)] = Field(
        default_factory=nothing,
        examples=[{"^rancher/(.*)": "mirror/rancher/$1"}],
        description="expression over the repository name (not the tag): what replaces it; Go's RE2, $1 for groups",
    )


class EndpointAuth(Strict):
    """Who nodes say they are to one host: a user with a password, both in one text, or a token."""

    username: Annotated[str, AfterValidator(_username)] | None = Field(
        default=None, examples=["puller"], description="name of the user; it is no secret"
    )
    password: SiteSecret | None = Field(
        default=None, examples=[{"env": "REGISTRY_PASSWORD"}], description="where the password of the user comes from"
    )
    auth: SiteSecret | None = Field(
        default=None,
        examples=[{"file": "./auth.txt"}],
        description="where user:password in base64 comes from, as in a Docker login",
    )
    identity_token: SiteSecret | None = Field(
        default=None, examples=[{"ask": True}], description="where an identity token comes from"
    )

    @model_validator(mode="after")
    def _one_account(self) -> Self:
        if self.username and not self.password:
            raise several([(("username", KEY), "needs password beside it")])
        if self.password and not self.username:
            raise several([(("password", KEY), "needs username beside it")])
        if [self.username, self.auth, self.identity_token].count(None) != 2:
            raise ValueError("is not one account: give it username and password, or auth, or identity_token")
        return self


class RegistryTls(Strict):
    """How nodes trust the server of an endpoint."""

    ca_file: CertificatePath | None = Field(
        default=None,
        examples=["./site-ca.pem"],
        description="certificate of the authority: a file from the recipe's folder, or an absolute path at the site",
    )
    cert_file: CertificatePath | None = Field(
        default=None, examples=["/etc/ssl/node.pem"], description="client certificate, likewise"
    )
    key_file: CertificatePath | None = Field(
        default=None, examples=["/etc/ssl/node.key"], description="key of the client certificate, likewise"
    )
    insecure_skip_verify: bool = Field(default=False, examples=[True], description="true: believe any certificate")

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        require_pair(self, "cert_file", "key_file")
        return self


class RegistryConfig(Strict):
    """How nodes speak to one host."""

    auth: EndpointAuth | None = Field(
        default=None,
        examples=[{"username": "puller", "password": {"env": "REGISTRY_PASSWORD"}}],
        description="account; what is secret of it comes from elsewhere",
    )
    tls: RegistryTls | None = Field(
        default=None,
        examples=[{"cert_file": "/etc/ssl/node.pem", "key_file": "/etc/ssl/node.key"}],
        description="certificates",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.auth and not self.tls:
            raise ValueError("says nothing: give it auth or tls")
        return self


class Registries(Strict):
    """The whole file."""

    preset: Preset | None = Field(
        default=None,
        examples=["offline"],
        description="mirrors and flags for a usual site: offline, embedded, private; what is written beside it wins",
    )
    host: Annotated[str, AfterValidator(_registry_host)] | None = Field(
        default=None,
        examples=["registry.example:5000"],
        description="host[:port] of the registry that preset: private asks for every image, by https",
    )
    mirrors: FrozenMapping[RegistryName, RegistryMirror | None] = Field(
        default_factory=nothing,
        examples=[{"docker.io": {"endpoint": ["https://registry.example:5000"]}}],
        description='registry (or "*"): its mirrors; an empty one only lets the embedded registry share its images',
    )
    configs: FrozenMapping[RegistryName, RegistryConfig] = Field(
        default_factory=nothing,
        examples=[{"registry.example:5000": {"tls": {"ca_file": "/etc/ssl/site-ca.pem"}}}],
        description="host[:port] of an endpoint, exactly as written there: account and certificates",
    )

    @model_validator(mode="after")
    def _host_with_preset(self) -> Self:
        if self.preset == "private" and not self.host:
            raise several([(("preset", KEY), "needs host beside it: the registry that has the images")])
        if self.host and self.preset != "private":
            raise several([(("host", KEY), "is for preset: private alone")])
        return self

    @model_validator(mode="after")
    def _names_meet(self) -> Self:
        """Check what k3s would drop silently (k3s pkg/agent/containerd/config.go)."""
        hosts = sorted({host_of(url) for mirror in self.all_mirrors().values() if mirror for url in mirror.endpoint})
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

    def all_mirrors(self) -> Mapping[str, RegistryMirror | None]:
        """Give the mirrors with those of the preset; what is written wins."""
        return {**_preset_mirrors(self.preset, self.host), **self.mirrors}

    def secrets(self) -> Iterator[tuple[str, str, SiteSecret]]:
        """Give every secret with the registry and the key it is for."""
        for name, config in self.configs.items():
            for key in ("password", "auth", "identity_token") if config.auth else ():
                if isinstance(secret := getattr(config.auth, key), SiteSecret):
                    yield name, key, secret

    def certificates(self) -> Iterator[tuple[str, str, str]]:
        """Give every file of the builder's with the registry and the key it is for."""
        for name, config in self.configs.items():
            for key in CERTIFICATE_NAMES if config.tls else ():
                source = getattr(config.tls, key)
                if source and not source.startswith("/"):
                    yield name, key, source


def certificate_target(registry: str, key: str) -> str:
    """Say where at the site a carried certificate lies; `key` is that of `tls`."""
    return f"/etc/rancher/k3s/certs/{re.sub(r'[^A-Za-z0-9.-]', '_', registry)}/{CERTIFICATE_NAMES[key]}"


def _preset_mirrors(preset: Preset | None, host: str | None) -> dict[str, RegistryMirror | None]:
    match preset:
        case "offline":
            return {EVERY_REGISTRY: RegistryMirror(endpoint=(NOBODY,))}
        case "embedded":
            return {EVERY_REGISTRY: None}
        case "private":
            return {EVERY_REGISTRY: RegistryMirror(endpoint=(f"https://{host}",))}
        case None:
            return {}


def _same_machine(name: str, hosts: list[str]) -> str | None:
    return next((host for host in hosts if _without_port(host) == _without_port(name)), None)


def _without_port(host: str) -> str:
    return re.sub(r":[0-9]+\Z", "", host)
