"""Which files a recipe wants at the site, and where each lies in the bundle and there. Reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bundler.model.carried import carried_path
from bundler.model.recipe_node import base_name
from bundler.model.registries import certificate_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundler.model.carried import FileRole
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_site import Site

Content = Literal["anything", "certificate", "private key", "package"]
"""What has to be in a file."""


SYSCTL = "/etc/sysctl.d/90-k3s-bundler.conf"
MODULES = "/etc/modules-load.d/k3s-bundler.conf"
_CONTAINERD = "data-dir/agent/etc/containerd/"
_TEMPLATES = {2: "config.toml.tmpl", 3: "config-v3.toml.tmpl"}
_DROP_INS = {2: "config.toml.d/", 3: "config-v3.toml.d/"}
_KUBELET = "data-dir/agent/etc/kubelet.conf.d/"


@dataclass(frozen=True)
class WrittenFile:
    """A file that the recipe holds itself: `source` is the key it is made of."""

    source: str
    target: str
    content: bytes

    @property
    def path(self) -> str:
        """Where it lies in the bundle."""
        return carried_path("any", self.target)


@dataclass(frozen=True)
class WantedFile:
    """A file of the builder's: `source` from the recipe's folder, `place` in the recipe, `path` in the bundle."""

    source: str
    place: str
    path: str
    target: str | None
    mode: str = "644"
    role: FileRole = "any"
    content: Content = "anything"


def wanted_files(recipe: Recipe) -> Iterator[WantedFile]:
    """Give every file of the builder's that the recipe names, in the order of the recipe."""
    for index, file in enumerate(recipe.files):
        path = carried_path(file.role, file.target)
        yield WantedFile(file.source, f"files[{index}].source", path, file.target, file.mode, file.role)
    for registry, key, source in recipe.site.registries.certificates():
        target = certificate_target(registry, key)
        place = f"site.registries.configs.{registry}.tls.{key}"
        path = carried_path("any", target)
        if key == "key_file":
            yield WantedFile(source, place, path, target, mode="600", content="private key")
        else:
            yield WantedFile(source, place, path, target, content="certificate")
    yield from _node_files(recipe.site)
    for index, source in enumerate(recipe.rpms):
        yield WantedFile(source, f"rpms[{index}]", f"rpms/{base_name(source)}", None, content="package")


def _node_files(site: Site) -> Iterator[WantedFile]:
    containerd = site.containerd
    wanted = [("site.containerd.template", containerd.template, _CONTAINERD + _TEMPLATES[containerd.version])]
    wanted += [
        (f"site.containerd.drop_ins[{index}]", source, _CONTAINERD + _DROP_INS[containerd.version] + base_name(source))
        for index, source in enumerate(containerd.drop_ins)
    ]
    wanted += [
        (f"site.kubelet.drop_ins[{index}]", source, _KUBELET + base_name(source))
        for index, source in enumerate(site.kubelet.drop_ins)
    ]
    for place, source, target in wanted:
        if source is not None:
            yield WantedFile(source, place, carried_path("any", target), target)


def written_files(site: Site) -> Iterator[WrittenFile]:
    """Give every file whose content stands in the recipe."""
    if site.sysctl:
        lines = [f"{name} = {site.sysctl[name]}" for name in sorted(site.sysctl)]
        yield WrittenFile("site.sysctl", SYSCTL, _text("site.sysctl", lines))
    if modules := site.all_modules():
        yield WrittenFile("site.modules", MODULES, _text("site.modules", modules))


def _text(key: str, lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in (f"# Written by k3s-bundler from {key} of the recipe.", *lines)).encode()
