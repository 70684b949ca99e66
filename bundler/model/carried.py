"""Files a recipe adds to the bundle beside images, and where the installer puts them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bundler.model.digest import Digest, DigestField, hex_of
from bundler.model.frozen import Frozen, Size

FileRole = Literal["any", "server", "agent"]
"""Which nodes get a file."""

DATA_DIR = "data-dir/"
"""How a target begins that lies below k3s's data directory, wherever that is at the site."""

MANIFESTS = "manifests/"
"""Folder of the bundle whose files a server deploys."""

CHARTS = "charts/"
"""Folder of the bundle whose files a server hands out to its Helm controller."""

_TARGET = re.compile(r"(?:/|data-dir/)[A-Za-z0-9._@+-]+(?:/[A-Za-z0-9._@+-]+)*")
_NOT_OURS = ("/dev/", "/proc/", "/sys/", "/run/", "/tmp/", "/var/lib/k3s-bundler/")  # noqa: S108  refused, not used
_WRITTEN = {
    "/etc/rancher/k3s/config.yaml": "site.config, or carry a file for /etc/rancher/k3s/config.yaml.d/",
    "/etc/rancher/k3s/registries.yaml": "site.registries",
}
_FOLDERS = (MANIFESTS, CHARTS, "rpms/", "files/")
_PART = re.compile(r"[^\s/\\\0]+")  # the lists of files in a bundle have lines, and blanks between words
_MODE = re.compile(r"[0-7]{3}")


def _target(text: str) -> str:
    if not _TARGET.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError(
            'is not a place at the site: an absolute path, or one that begins with "data-dir/", of letters, digits '
            "and ._@+- is expected"
        )
    if text.startswith(_NOT_OURS):
        raise ValueError("is a place that no file survives in, or the installer's own: choose another")
    if text in _WRITTEN:
        raise ValueError(f"is what the bundle always brings: write {_WRITTEN[text]}")
    return text


def _mode(text: str) -> str:
    if not _MODE.fullmatch(text):
        raise ValueError('is not a mode: three octal digits in quotes are expected, such as "644"')
    if int(text, 8) & 0o022:
        raise ValueError("lets everybody write to the file: take 644, 600 or 755")
    return text


SiteTarget = Annotated[
    str, AfterValidator(_target), Field(json_schema_extra={"pattern": "^(/|data-dir/)[A-Za-z0-9._@+/-]+$"})
]
"""An absolute path at the site, or one below k3s's data directory that begins with `data-dir/`."""

FileMode = Annotated[str, AfterValidator(_mode), Field(json_schema_extra={"pattern": "^[0-7]{3}$"})]
"""Permissions of a file at the site: three octal digits."""


def _path(text: str) -> str:
    folder, slash, below = text.partition("/")
    if f"{folder}{slash}" not in _FOLDERS or not _is_plain(below):
        raise ValueError(f"is not a place in a bundle for what a recipe adds: below {', '.join(_FOLDERS)}")
    return text


def _is_plain(path: str) -> bool:
    return all(part not in {"", ".", ".."} and _PART.fullmatch(part) for part in path.split("/"))


BundlePath = Annotated[str, AfterValidator(_path)]
"""Where a file that a recipe adds lies in a bundle, inside a pydantic model."""


class CarriedFile(Frozen):
    """A file in the bundle, at `path`.

    `source` is what the recipe calls it: a path from the recipe's folder, or where `url` is given a name for people.
    Without a `target` the installer places it by the folder it lies in: manifests, charts, rpms.
    """

    source: str
    path: BundlePath
    size: Size
    digest: DigestField
    mode: FileMode = "644"
    role: FileRole = "any"
    target: SiteTarget | None = None
    url: str | None = None


def carried_path(role: FileRole, target: str) -> str:
    """Say where a file for `target` lies in the bundle."""
    return f"files/{role}/{target.lstrip('/')}"


def chart_path(name: str, digest: Digest) -> str:
    """Say where a chart lies in the bundle: other bytes, another name, or the Helm controller would see no change."""
    return f"{CHARTS}{name}-{hex_of(digest)[:12]}.tgz"


def manifest_path(file_name: str) -> str:
    """Say where a manifest lies in the bundle; k3s tells manifests apart by file name alone: there are no folders."""
    return f"{MANIFESTS}{file_name}"
