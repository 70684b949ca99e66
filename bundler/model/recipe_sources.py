"""The part of a recipe that says where the builder fetches from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from bundler.model.address import HttpUrl, host_of, parse_http_url
from bundler.model.recipe_extends import PATH_FORMAT
from bundler.model.recipe_files import SourcePath
from bundler.model.reference import DOCKER_HUB, is_registry_host
from bundler.model.release import TagStyle
from bundler.model.secret import Secret
from bundler.model.strict import KEY, FrozenMapping, Strict, no_repeats, nothing, require_pair, several
from bundler.model.yaml_nodes import path_text

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_FILE = "file://"
_PLACE_SCHEMA: dict[str, Any] = {
    "pattern": "^(https?://[^@/?#\\s]+(/[^?#\\s]*)?|file:///.+|\\.{0,2}/.*)$",
    "format": PATH_FORMAT,
}

Preset = Literal["upstream", "cn"]

_RELEASES: Mapping[Preset, tuple[str, TagStyle]] = {
    "upstream": ("https://github.com/k3s-io/k3s/releases/download", "percent"),
    "cn": ("https://rancher-mirror.rancher.cn/k3s", "dash"),
}
"""Where releases are by preset. The second is what INSTALL_K3S_MIRROR=cn means (rancher-mirror.rancher.cn)."""


def _registry(text: str) -> str:
    if text in {"index.docker.io", "registry-1.docker.io"}:
        raise ValueError(f'is Docker Hub, whose images are called "{DOCKER_HUB}/…": write "{DOCKER_HUB}"')
    if not is_registry_host(text):
        raise ValueError('is not a registry: a host with an optional port is expected, such as "registry.example:5000"')
    return text


def _place(text: str) -> str:
    """Check the address of a release mirror: a URL, or a folder on this machine."""
    if text.startswith(("./", "../", "/")) and "\0" not in text:
        return text.rstrip("/") or "/"
    if not text.startswith(_FILE):
        return parse_http_url(text)
    parts = urlsplit(text)
    if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment or "%00" in text:
        raise ValueError("is not the URL of a folder: file:// and an absolute path are expected, as in file:///srv/k3s")
    return text.rstrip("/")


ReleasePlace = Annotated[str, AfterValidator(_place), Field(json_schema_extra=_PLACE_SCHEMA)]
"""An http or https URL, or a folder on the builder's disk: `file:///…`, or a path from the folder of the recipe."""


_USERNAME, _PASSWORD = {"env": "MIRROR_USER"}, {"file": "./mirror-password"}
_CERTIFICATES = {"ca_file": "./corporate-ca.pem", "cert_file": "./builder.pem", "key_file": "./builder.key"}


class Tls(Strict):
    """How the builder trusts a server, and shows who it is; the files are on the builder's disk."""

    ca_file: SourcePath | None = Field(
        default=None,
        examples=["./corporate-ca.pem"],
        description="certificate of the authority, a file, trusted for this server beside the usual ones",
    )
    cert_file: SourcePath | None = Field(
        default=None, examples=["./builder.pem"], description="client certificate, a file"
    )
    key_file: SourcePath | None = Field(
        default=None, examples=["./builder.key"], description="key of the client certificate, a file; without password"
    )

    @model_validator(mode="after")
    def _certificate_with_key(self) -> Self:
        require_pair(self, "cert_file", "key_file")
        return self


class RegistryAuth(Strict):
    """Who the builder is to a registry."""

    username: Secret = Field(examples=[_USERNAME], description="where the user name is: {env: NAME} or {file: PATH}")
    password: Secret = Field(examples=[_PASSWORD], description="where the password is: {env: NAME} or {file: PATH}")


class ReleaseAuth(Strict):
    """Who the builder is to a server of releases."""

    token: Secret | None = Field(
        default=None,
        examples=[{"env": "MIRROR_TOKEN"}],
        description="where the bearer token is: {env: NAME} or {file: PATH}",
    )
    username: Secret | None = Field(
        default=None, examples=[_USERNAME], description="where the user name is, instead of a token"
    )
    password: Secret | None = Field(
        default=None, examples=[_PASSWORD], description="where the password is, instead of a token"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("needs username and password together")
        if (self.token is None) == (self.username is None):
            raise ValueError("needs either token, or username and password")
        return self


class ReleaseMirror(Strict):
    """One place that has the files of releases."""

    url: ReleasePlace = Field(
        examples=["https://artifacts.example/k3s"],
        description="base URL, or a folder: file:///srv/k3s, or a path that begins with ./",
    )
    tag_style: TagStyle | None = Field(
        default=None, examples=["dash"], description="how this one writes the + of a tag, when not as the others"
    )
    auth: ReleaseAuth | None = Field(
        default=None,
        examples=[{"username": _USERNAME, "password": _PASSWORD}],
        description="account there; without it ~/.netrc is looked at",
    )
    tls: Tls | None = Field(default=None, examples=[_CERTIFICATES], description="certificates")

    @property
    def folder(self) -> str | None:
        """The folder on this machine, from that of the recipe; None for a server."""
        if self.url.startswith(_FILE):
            return unquote(self.url.removeprefix(_FILE))
        return None if "://" in self.url else self.url

    @model_validator(mode="after")
    def _fits_the_place(self) -> Self:
        given = [key for key in ("auth", "tls") if getattr(self, key) is not None]
        if self.folder is not None and given:
            raise several([((key, KEY), "does nothing for a folder on this machine") for key in given])
        if self.tls and self.url.startswith("http://"):
            raise several([(("tls", KEY), "does nothing for http://, which has no certificates")])
        return self


class RegistrySource(Strict):
    """How the builder reaches one registry."""

    mirrors: Annotated[tuple[HttpUrl, ...], no_repeats(parse_http_url)] = Field(
        default=(),
        examples=[["https://mirror.example/hub"]],
        description="URLs tried in order before the registry itself; a path stands before the repository",
    )
    plain_http: bool = Field(
        default=False, examples=[True], description="true: the registry itself speaks http, not https"
    )
    auth: RegistryAuth | None = Field(
        default=None,
        examples=[{"username": _USERNAME, "password": _PASSWORD}],
        description="account at this registry, before what docker login left, also for charts from a repo on the same "
        "host; mirrors have their own",
    )
    tls: Tls | None = Field(
        default=None, examples=[_CERTIFICATES], description="certificates of this registry and its mirrors"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.plain_http and self.tls:
            raise several([(("tls", KEY), "does nothing beside plain_http: true")])
        return self


class _OneOrMore:
    """Takes a text for a list of one, and the text of a release mirror for the mirror."""

    @staticmethod
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if value is None or isinstance(value, Mapping):
            return handler(value)
        items = value if isinstance(value, tuple) else (value,)
        written = tuple(item if isinstance(item, Mapping) else {"url": item} for item in items)
        try:
            return handler(written)
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            index, *rest = detail["loc"] or (None,)
            if isinstance(index, int) and not isinstance(items[index], Mapping):
                rest = rest[1:]
            detail["loc"] = (*((index,) if isinstance(value, tuple) and index is not None else ()), *rest)
        raise several((), details)

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        listed = next(choice for choice in found["anyOf"] if choice.get("type") == "array")
        text = {"type": "string", **_PLACE_SCHEMA}
        return {"anyOf": [listed | {"items": {"anyOf": [listed["items"], text]}}, text]}


class _OrMirrors:
    """Takes a list of mirrors for a registry that is reached through them."""

    @staticmethod
    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        if not isinstance(value, tuple):
            if not isinstance(value, Mapping):
                raise ValueError("is neither a list of mirrors nor a mapping of mirrors, plain_http, auth and tls")  # noqa: TRY004  pydantic's protocol
            return handler(value)
        if not value:
            raise ValueError("is an empty list: name at least one")
        try:
            return handler({"mirrors": value})
        except ValidationError as error:
            details = error.errors(include_url=False)
        for detail in details:
            detail["loc"] = detail["loc"][1:]
        raise several((), details)

    @staticmethod
    def __get_pydantic_json_schema__(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler(schema)
        mirrors = handler.resolve_ref_schema(mapping)["properties"]["mirrors"]
        return {"anyOf": [mapping, {"type": "array", "items": mirrors["items"], "minItems": 1}]}


def _place_of(item: Any) -> str:
    url = item.get("url") if isinstance(item, Mapping) else item
    if not isinstance(url, str):
        raise TypeError("no text")  # the type says so better
    return _place(url)


class Sources(Strict):
    """Where the builder fetches from."""

    preset: Preset = Field(
        default="upstream",
        examples=["cn"],
        description="where releases are unless said otherwise: upstream (GitHub), or cn (the mirror for China)",
    )
    releases: Annotated[
        tuple[ReleaseMirror, ...] | None,
        Field(min_length=1),
        WrapValidator(_OneOrMore.validate),
        _OneOrMore,
        no_repeats(_place_of),
    ] = Field(
        default=None,
        examples=[["https://mirror.example/k3s", {"url": "https://artifacts.example/k3s", "tag_style": "dash"}]],
        description="instead of the preset, base URL or folder of releases, or a list of them, tried in order: files "
        "are at <base>/<tag>/<file>",
    )
    tag_style: TagStyle | None = Field(
        default=None,
        examples=["dash"],
        description="instead of the preset, how + of a tag is written in URLs: percent (%2B), dash (-) or plain (+)",
    )
    channels: HttpUrl = Field(
        default="https://update.k3s.io/v1-release/channels",
        examples=["https://mirror.example/channels"],
        description="URL of the channel server's list, JSON",
    )
    registries: FrozenMapping[
        Annotated[str, AfterValidator(_registry)],
        Annotated[RegistrySource, WrapValidator(_OrMirrors.validate), _OrMirrors],
    ] = Field(
        default_factory=nothing,
        examples=[
            {
                "docker.io": ["https://mirror.example/hub"],
                "registry.example:5000": {"mirrors": ["https://mirror.example/registry"]},
            }
        ],
        description="registry: a list of its mirrors for the builder, or how it is reached",
    )

    @property
    def release_mirrors(self) -> tuple[ReleaseMirror, ...]:
        """Where releases are, in order, each with its way of writing tags."""
        url, style = _RELEASES[self.preset]
        mirrors = self.releases or (ReleaseMirror(url=url),)
        return tuple(
            mirror.model_copy(update={"tag_style": mirror.tag_style or self.tag_style or style}) for mirror in mirrors
        )

    @property
    def tls(self) -> Mapping[str, Tls]:
        """Certificates by host, with a port when one is written: those of a registry hold for its mirrors too."""
        return {host: tls for host, tls, _ in reversed(tuple(self._tls_by_host()))}

    def _tls_by_host(self) -> Iterator[tuple[str, Tls, tuple[str | int, ...]]]:
        """Give host, certificates and the path in the recipe; what a host has of its own comes first."""
        for name, source in self.registries.items():
            if source.tls:
                yield _host_of_registry(name), source.tls, ("registries", name)
        own = set(self.registries)
        for index, mirror in enumerate(self.releases or ()):
            if mirror.tls:
                yield host_of(mirror.url), mirror.tls, ("releases", index)
        for name, source in self.registries.items():
            for url in source.mirrors:
                if source.tls and url.startswith("https://") and host_of(url) not in own:
                    yield host_of(url), source.tls, ("registries", name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        mistakes: list[tuple[tuple[str | int, ...], str]] = []
        if (hub := self.registries.get(DOCKER_HUB)) and hub.plain_http:
            mistakes.append((("registries", DOCKER_HUB, "plain_http"), "Docker Hub speaks https alone"))
        first: dict[str, tuple[Tls, tuple[str | int, ...]]] = {}
        for host, tls, path in self._tls_by_host():
            before, where = first.setdefault(host, (tls, path))
            if before != tls:
                said = path_text(("sources", *where))
                what = f"differs from what {said} says of {host}: give {host} an entry of its own in registries"
                mistakes.append(((*path, "tls", KEY), what))
        if mistakes:
            raise several(mistakes)
        return self


def _host_of_registry(name: str) -> str:
    return "registry-1.docker.io" if name == DOCKER_HUB else name
