"""The parts of a recipe's `site` that lie around k3s: containerd, kubelet, kernel."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from bundler.model.recipe_files import SourcePath
from bundler.model.strict import FrozenMapping, Strict, no_repeats

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")
_SYSCTL = re.compile(r"[a-z0-9_]+(?:[./][A-Za-z0-9_*-]+)+")
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def base_name(source: str) -> str:
    """Give the last part of a path, by which a file is called at the site."""
    return source.rpartition("/")[2]


def _toml(source: str) -> str:
    return _drop_in(source, ".toml", "containerd")


def _conf(source: str) -> str:
    return _drop_in(source, ".conf", "the kubelet")


def _drop_in(source: str, suffix: str, reader: str) -> str:
    if not source.endswith(suffix):
        raise ValueError(f"does not end in {suffix}: {reader} would not read it")
    if not _PLAIN_NAME.fullmatch(base_name(source)):
        raise ValueError("has a name that is not plain: letters, digits and ._@+- are")
    return source


def _sysctl_name(text: str) -> str:
    if not _SYSCTL.fullmatch(text):
        raise ValueError("is not the name of a kernel setting such as net.ipv4.ip_forward")
    return text


def _sysctl_value(value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("is not a value of a kernel setting: a whole number or text is expected")  # noqa: TRY004  pydantic makes findings of ValueError alone
    if isinstance(value, str) and not (value.strip() and value.isprintable()):
        raise ValueError("is not one line of printable text")
    return value


def _module(text: str) -> str:
    if not _MODULE.fullmatch(text):
        raise ValueError("is not the name of a kernel module such as br_netfilter")
    return text


Sysctl = FrozenMapping[
    Annotated[str, AfterValidator(_sysctl_name)],
    Annotated[str | int, PlainValidator(_sysctl_value), WithJsonSchema({"type": ["string", "integer"]})],
]
"""Kernel settings inside a pydantic model."""

Modules = Annotated[tuple[Annotated[str, AfterValidator(_module)], ...], no_repeats(str)]
"""Kernel modules inside a pydantic model."""


class Containerd(Strict):
    """What containerd is told beyond k3s's own words (k3s pkg/agent/templates)."""

    version: Literal[2, 3] = Field(
        default=3,
        examples=[2],
        description="version of containerd's configuration that these files are in: 3 is containerd 2's, of k3s from "
        "v1.31.6 and v1.32.2 on",
    )
    template: SourcePath | None = Field(
        default=None,
        examples=["./config-v3.toml.tmpl"],
        description='file that stands instead of k3s\'s own configuration; {{ template "base" . }} in it is that one',
    )
    drop_ins: Annotated[tuple[Annotated[SourcePath, AfterValidator(_toml)], ...], no_repeats(base_name)] = Field(
        default=(),
        examples=[["./10-runtimes.toml"]],
        description="files that containerd reads after its configuration, by their names",
    )


class Kubelet(Strict):
    """What kubelets are told beyond k3s's own words."""

    drop_ins: Annotated[tuple[Annotated[SourcePath, AfterValidator(_conf)], ...], no_repeats(base_name)] = Field(
        default=(),
        examples=[["./10-eviction.conf"]],
        description="KubeletConfiguration files that are read after k3s's own, by their names; k3s from v1.32.1 on",
    )
