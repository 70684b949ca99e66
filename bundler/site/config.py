"""etc/config*.yaml of the bundle: flags of k3s for each role, with the components the recipe leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bundler.model.bundle import CONFIG, CONFIG_AGENT, CONFIG_FIRST_SERVER, CONFIG_SERVER
from bundler.model.flags import NODE_ROLES, knows, plain_name
from bundler.model.registries import PRESET_FLAGS
from bundler.site.yaml_text import yaml_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model.config import Component, ConfigValue
    from bundler.model.flags import NodeRole
    from bundler.model.recipe_site import Section, Site

Readers = Literal["every node", "servers", "the first server", "agents"]

_FILES: tuple[tuple[str, Readers, tuple[NodeRole, ...], tuple[Section, ...], str | None], ...] = (
    (CONFIG, "every node", NODE_ROLES, ("config",), None),
    (CONFIG_SERVER, "servers", ("server",), ("config", "server"), CONFIG),
    (CONFIG_FIRST_SERVER, "the first server", ("server",), ("config", "server", "first_server"), CONFIG_SERVER),
    (CONFIG_AGENT, "agents", ("agent",), ("config", "agent"), CONFIG),
)
"""Path, who reads it, which roles must know its flags, what lies in it (the last on top), what stands in for it."""


def config_files(site: Site, disabled: tuple[Component, ...]) -> dict[str, bytes]:
    """Write k3s's config.yaml for each kind of node, by path in the bundle; each is whole.

    A kind that is told nothing of its own has no file: it reads the one that stands in for it, first servers that of
    servers, and everybody `etc/config.yaml`, which is always there.
    """
    told: dict[str, Mapping[str, ConfigValue]] = {}
    files: dict[str, bytes] = {}
    for path, readers, roles, sections, stand_in in _FILES:
        told[path] = _flags(site, sections, roles, disabled)
        if stand_in is None or told[path] != told[stand_in]:
            files[path] = config_yaml(told[path], readers)
    return files


def _flags(
    site: Site, sections: tuple[Section, ...], roles: tuple[NodeRole, ...], disabled: tuple[Component, ...]
) -> dict[str, ConfigValue]:
    """Lay sections over each other and leave out what not all of `roles` know: agents refuse flags of servers."""
    data: dict[str, ConfigValue] = dict(PRESET_FLAGS[site.registries.preset])
    for section in sections:
        for key, value in site.section(section).items():
            name = plain_name(key)
            data[name] = (*_items(data.get(name, ())), *_items(value)) if key != name else value
    names = dict.fromkeys((*disabled, *_names(data.get("disable", ()))))
    if names:
        data["disable"] = tuple(names)
    return {name: value for name, value in data.items() if all(knows(role, name, site.unknown_flags) for role in roles)}


def config_yaml(config: Mapping[str, ConfigValue], readers: Readers) -> bytes:
    """Write one config.yaml."""
    return yaml_text(
        config,
        (
            "Written by k3s-bundler from site and components.disable of the recipe.",
            f"It is /etc/rancher/k3s/config.yaml of {readers}; files in config.yaml.d beside it come later and win.",
        ),
    )


def _items(value: ConfigValue) -> tuple[str | int | bool, ...]:
    return value if isinstance(value, tuple) else (value,)


def _names(value: ConfigValue) -> tuple[str, ...]:
    """Split what --disable takes: a list, or names with commas between."""
    return tuple(name.strip() for item in _items(value) for name in str(item).split(",") if name.strip())
