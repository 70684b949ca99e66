"""k3s's config.yaml as a recipe may write it.

Keys are the long flags of k3s; values become text on its command line (k3s pkg/configfilearg/parser.go): a list repeats
the flag, a mapping would become nonsense, a number with a fraction loses its zeros.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, PlainSerializer, PlainValidator, WithJsonSchema

from bundler.model.address import holds_account
from bundler.model.flag_values import value_mistakes
from bundler.model.strict import FrozenMapping, several, together

if TYPE_CHECKING:
    from bundler.model.yaml_nodes import Path

Component = Literal["coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"]
"""What k3s brings and can leave out (k3s pkg/cli/cmds/stage.go)."""

COMPONENTS: tuple[Component, ...] = get_args(Component)

ConfigScalar: TypeAlias = str | int | bool
ConfigValue: TypeAlias = ConfigScalar | tuple[ConfigScalar, ...]

_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*\+?")
_ACCOUNT_IN_DATASTORE = re.compile(r"://[^@]*:.*@|[?&]password=|^nats://[^/]*@", re.IGNORECASE)
"""A password may have a slash for MySQL, or stand behind the question mark for PostgreSQL; NATS takes a bare token."""
_ACCOUNT = "holds an account in a URL: secrets do not belong in a recipe, add it at the site"
_TOKEN = "is a secret, and secrets do not belong in a recipe: give the installer K3S_TOKEN, or write token-file"  # noqa: S105
_SECRET = "is a secret, and secrets do not belong in a recipe: add it at the site in /etc/rancher/k3s/config.yaml.d"  # noqa: S105

_REFUSED = {
    "token": _TOKEN,
    "t": _TOKEN,
    "agent-token": "is a secret, and secrets do not belong in a recipe: write agent-token-file",
    "cluster-secret": _TOKEN,
    "etcd-s3-access-key": _SECRET,
    "etcd-s3-secret-key": _SECRET,
    "etcd-s3-session-token": _SECRET,
    "vpn-auth": "is a secret, and secrets do not belong in a recipe: write vpn-auth-file",
    "disable+": "is not needed: write disable, it is joined with components.disable",
    "no-deploy": "stops k3s from v1.25 on: write components.disable",
    "config": "would make k3s read another file than the one the bundle brings",
    "c": "would make k3s read another file than the one the bundle brings",
    "private-registry": "would make k3s read another file than the bundle's registries.yaml: write site.registries",
}


def config_key(text: str) -> str:
    """Check the form of a key; raises ValueError. Whether k3s has such a flag is asked in `bundler.model.flags`."""
    if why := _REFUSED.get(text) or _REFUSED.get(text.removesuffix("+")):
        raise ValueError(why)
    if not _KEY.fullmatch(text) or len(text) > 80:
        near = text.lower().strip("-").replace("_", "-")
        hint = f': write "{near}"' if _KEY.fullmatch(near) and len(near) <= 80 else ""
        raise ValueError(f"is not a flag of k3s without its dashes{hint}")
    return text


def _value(value: Any) -> ConfigValue:
    if isinstance(value, tuple):
        if not value:
            raise ValueError("is an empty list: give it a value or remove the key")
        wrong = [((index,), why) for index, item in enumerate(value) if (why := _why_no_scalar(item))]
        if wrong:
            raise several(wrong)
        return value
    if why := _why_no_scalar(value):
        raise ValueError(why)
    checked: ConfigScalar = value
    return checked


def _why_no_scalar(value: object) -> str | None:
    match value:
        case bool() | int():
            return None
        case str():
            return _why_no_text(value)
        case None:
            return "is empty: give it a value or remove the key"
        case float():
            return "is a number with a fraction, which k3s may write otherwise: put it in quotes"
        case _:
            return "is a list or mapping, but k3s takes text, numbers, true, false, or one list of these"


def _why_no_text(text: str) -> str | None:
    if holds_account(text):
        return _ACCOUNT
    if not text.isprintable():
        return "has line ends or characters that cannot be printed, which a command line cannot carry"
    return None


def _mistakes(config: Any) -> list[tuple[Path, str]]:
    components = _components_disabled(config)
    readable = {
        key: value
        for key, value in (config.items() if isinstance(config, Mapping) else ())
        if not any(map(_why_no_scalar, value if isinstance(value, tuple) else (value,)))
    }
    endpoint = readable.get("datastore-endpoint")
    if isinstance(endpoint, str) and _ACCOUNT_IN_DATASTORE.search(endpoint):
        del readable["datastore-endpoint"]
        components.append((("datastore-endpoint",), _ACCOUNT))
    return components + value_mistakes(readable)  # never quotes a value that may hold an account


def _components_disabled(config: Any) -> list[tuple[Path, str]]:
    """Find components that are disabled here: only under components.disable are their images left out too."""
    value = config.get("disable") if isinstance(config, Mapping) else None
    items: list[tuple[Path, object]] = (
        [(("disable", index), item) for index, item in enumerate(value)]
        if isinstance(value, tuple)
        else [(("disable",), value)]
    )
    return [
        (
            path,
            f'names the component "{part.strip()}": write it under components.disable, so that its images stay out too',
        )
        for path, item in items
        if isinstance(item, str)
        for part in item.split(",")
        if part.strip() in COMPONENTS
    ]


def _written(value: ConfigValue) -> ConfigValue:
    # Without this, pydantic 2.14 serializes what stands behind a PlainValidator twice, and warns of lists.
    return value


_SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "integer", "boolean"]}

Config = Annotated[
    FrozenMapping[
        Annotated[str, AfterValidator(config_key)],
        Annotated[
            ConfigValue,
            PlainValidator(_value),
            PlainSerializer(_written, return_type=Any),
            WithJsonSchema({"anyOf": [_SCALAR_SCHEMA, {"type": "array", "items": _SCALAR_SCHEMA, "minItems": 1}]}),
        ],
    ],
    together(_mistakes),
]
"""k3s's config.yaml inside a pydantic model."""
