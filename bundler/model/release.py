"""Versions of k3s."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator

TagStyle = Literal["percent", "dash", "plain"]
"""How a server wants the `+` of a tag: `%2B` (GitHub, S3), `-` (the cn mirror), or as it is (plain folders)."""

_TAG = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-(alpha|beta|rc)\.?(\d+))?\+k3s(\d+)", re.ASCII)
_CHANNEL = re.compile(r"stable|latest|testing|v\d+\.\d+(?:-testing)?", re.ASCII)
_PRE_RELEASES = {"alpha": 0, "beta": 1, "rc": 2, None: 3}


@dataclass(frozen=True)
class Release:
    """An exact k3s release, such as `v1.34.1+k3s1`."""

    tag: str
    version: tuple[int, int, int]
    pre_release: tuple[int, int]
    build: int

    @property
    def sort_key(self) -> tuple[tuple[int, int, int], tuple[int, int], int]:
        """Order releases as k3s means it: SemVer ignores +k3s1 against +k3s2, Python's packaging sorts 10 before 2."""
        return self.version, self.pre_release, self.build

    @property
    def path_name(self) -> str:
        """The tag as part of a file name: `+` becomes `-`, as in k3s's own image tags."""
        return self.tag.replace("+", "-")

    def __str__(self) -> str:
        return self.tag


def parse_release(text: str) -> Release:
    """Read an exact tag of the form used since v1.17.2+k3s1 (k3s scripts/version.sh); raises ValueError."""
    match = _TAG.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not a k3s release tag: they look like v1.34.1+k3s1")
    major, minor, patch, kind, number, build = match.groups()
    return Release(text, (int(major), int(minor), int(patch)), (_PRE_RELEASES[kind], int(number or 0)), int(build))


def _tag(text: str) -> str:
    return parse_release(text).tag


ReleaseTag = Annotated[str, AfterValidator(_tag)]
"""An exact tag, as text inside a pydantic model."""


def is_tag(text: str) -> bool:
    """Say whether `text` is an exact release tag."""
    return _TAG.fullmatch(text) is not None


def is_channel(text: str) -> bool:
    """Say whether `text` could be a channel of update.k3s.io (k3s channel.yaml)."""
    return _CHANNEL.fullmatch(text) is not None
