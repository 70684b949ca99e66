"""etc/registries.yaml of the bundle: where nodes look for images beyond those they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.site.yaml_text import yaml_text

if TYPE_CHECKING:
    from bundler.model.registries import Registries


def registries_yaml(registries: Registries) -> bytes:
    """Write k3s's registries.yaml; without mirrors and configs it is an empty mapping, which k3s accepts."""
    written = registries.model_dump(mode="json", exclude_defaults=True)
    mirrors = {name: mirror or {} for name, mirror in written.get("mirrors", {}).items()}
    parts = {"mirrors": mirrors, "configs": written.get("configs", {})}
    return yaml_text(
        {name: part for name, part in parts.items() if part},
        (
            "Written by k3s-bundler from site.registries of the recipe.",
            "k3s reads it as /etc/rancher/k3s/registries.yaml on every node, once, when it starts.",
        ),
    )
