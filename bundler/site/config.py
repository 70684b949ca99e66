"""etc/config.yaml of the bundle: flags of k3s, with the components the recipe leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.site.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model.config import Component, ConfigValue


def config_yaml(config: Mapping[str, ConfigValue], disabled: tuple[Component, ...]) -> bytes:
    """Write k3s's config.yaml; `disabled` components come before what `config` disables beside them."""
    data = dict(config)
    names = dict.fromkeys((*disabled, *_names(config.get("disable", ()))))
    if names:
        data["disable"] = tuple(names)
    return yaml_text(
        data,
        (
            "Written by k3s-bundler from site.config and components.disable of the recipe.",
            "k3s reads it as /etc/rancher/k3s/config.yaml; files in config.yaml.d beside it are read after it and win.",
        ),
    )


def _names(value: ConfigValue) -> tuple[str, ...]:
    """Split what --disable takes: a list, or names with commas between."""
    items = value if isinstance(value, tuple) else (value,)
    return tuple(name.strip() for item in items for name in str(item).split(",") if name.strip())
