"""The part of a recipe that says what nodes are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from bundler.model.config import Config, ConfigValue, config_key
from bundler.model.flags import FLAGS, NODE_ROLES, NodeRole, knows, plain_name, why_unknown
from bundler.model.recipe_node import Containerd, Kubelet, Modules, Sysctl
from bundler.model.registries import NOBODY, Registries
from bundler.model.strict import KEY, FrozenMapping, Strict, no_repeats, nothing

if TYPE_CHECKING:
    from bundler.model.yaml_nodes import Path

Section = Literal["config", "server", "first_server", "agent"]

SECTIONS: dict[Section, tuple[NodeRole, ...]] = {
    "config": ("server", "agent"),
    "server": ("server",),
    "first_server": ("server",),
    "agent": ("agent",),
}
"""The parts of `site` that hold flags, and whose nodes read them."""


_JOINING = "write it under site.agent for agents, and give other servers K3S_URL at the site"


def _unknown_flag(name: str) -> str:
    config_key(name)
    if name in FLAGS:
        raise ValueError("is a flag k3s-bundler knows: it needs no leave, remove it here")
    return name


class Site(Strict):
    """What nodes are told."""

    registries: Registries = Field(
        default_factory=Registries,
        examples=[{"preset": "private", "host": "registry.example:5000"}],
        description="goes to /etc/rancher/k3s/registries.yaml on every node",
    )
    config: Config = Field(
        default_factory=nothing,
        description="flags of k3s without their dashes, for /etc/rancher/k3s/config.yaml of every node; each role gets "
        "those it knows",
        examples=[{"write-kubeconfig-mode": "0644", "tls-san": ["k3s.example"]}],
    )
    server: Config = Field(
        default_factory=nothing,
        description="the same for servers, over site.config: a key stands instead of the one there, key+ adds to it",
        examples=[{"tls-san": ["k3s.example"]}],
    )
    first_server: Config = Field(
        default_factory=nothing,
        description="the same for the server that joins no other one, over site.server",
        examples=[{"cluster-init": True}],
    )
    agent: Config = Field(
        default_factory=nothing,
        description="the same for agents, over site.config",
        examples=[{"node-label+": ["role=worker"]}],
    )
    unknown_flags: FrozenMapping[
        Annotated[str, AfterValidator(_unknown_flag)],
        Annotated[tuple[NodeRole, ...], Field(min_length=1), no_repeats(str)],
    ] = Field(
        default_factory=nothing,
        description="flags that your release of k3s has and this k3s-bundler does not know: the roles that know them",
        examples=[{"new-flag": ["server", "agent"]}],
    )

    containerd: Containerd = Field(default_factory=Containerd, description="what containerd is told beyond registries")
    kubelet: Kubelet = Field(default_factory=Kubelet, description="what kubelets are told beyond kubelet-arg")
    sysctl: Sysctl = Field(
        default_factory=nothing,
        examples=[{"fs.inotify.max_user_instances": 512}],
        description="kernel settings, for /etc/sysctl.d/90-k3s-bundler.conf",
    )
    modules: Modules = Field(
        default=(),
        examples=[["br_netfilter"]],
        description="kernel modules to load when the machine starts, for /etc/modules-load.d/k3s-bundler.conf; "
        "wireguard is there by itself with flannel-backend: wireguard-native",
    )

    def all_modules(self) -> tuple[str, ...]:
        """Give the kernel modules with those that flags need, sorted."""
        backends = {self.section(name).get("flannel-backend") for name in SECTIONS}
        return tuple(sorted({*self.modules, *(("wireguard",) if "wireguard-native" in backends else ())}))

    def section(self, name: Section) -> Mapping[str, ConfigValue]:
        """Give one of the parts that hold flags."""
        parts = {
            "config": self.config,
            "server": self.server,
            "first_server": self.first_server,
            "agent": self.agent,
        }
        return parts[name]


def site_mistakes(site: Any) -> list[tuple[Path, str]]:
    """Find, in `site` as written, what only shows when its parts are seen together."""
    if not isinstance(site, Mapping):
        return []
    unknown = {
        name: roles if isinstance(roles, tuple) else NODE_ROLES  # the type says what is wrong with the roles
        for name, roles in _mapping(site, "unknown_flags").items()
    }
    return [
        mistake
        for name, roles in SECTIONS.items()
        for mistake in _section_mistakes(name, _mapping(site, name), roles, unknown)
    ] + [*_first_server_joins(site), *_flags_without_mirrors(site)]


def _section_mistakes(
    section: Section,
    config: Mapping[str, Any],
    roles: tuple[NodeRole, ...],
    unknown: Mapping[str, tuple[NodeRole, ...]],
) -> Iterator[tuple[Path, str]]:
    for key in config:
        name, place = plain_name(key), (section, key, KEY)
        if not _well_formed(key):
            continue  # the type says so
        if name not in FLAGS and name not in unknown:
            yield place, why_unknown(name)
        elif not any(knows(role, name, unknown) for role in roles):
            yield place, f"is a flag that {roles[0]}s do not know: write it under {_where(roles[0])}"
        elif key != name and name in config:
            yield place, f"stands beside {name}: write one list"
    if section == "first_server" and "server" in config:
        yield (section, "server", KEY), f"makes it a server that joins another: {_JOINING}"


def _first_server_joins(site: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Find a server to join that the first one is told of too, because it stands below what that one is told."""
    return [
        ((section, "server", KEY), f"is told to the server of site.first_server too, which joins no other: {_JOINING}")
        for section in ("config", "server")
        if _mapping(site, "first_server") and "server" in _mapping(site, section)
    ]


def _flags_without_mirrors(site: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Find flags that k3s drops without a word because no mirror is named (pkg/agent/containerd, pkg/spegel)."""
    registries = _mapping(site, "registries")
    mirrors = _mapping(registries, "mirrors")
    preset = registries.get("preset")
    set_in = {
        flag: [name for name in SECTIONS if _mapping(site, name).get(flag) is True]
        for flag in ("embedded-registry", "disable-default-registry-endpoint")
    }
    if not mirrors and preset is None:
        return [
            ((section, flag, KEY), "does nothing without site.registries.mirrors, which name the registries it is for")
            for flag, sections in set_in.items()
            for section in sections
        ]
    shares = set_in["embedded-registry"] or preset == "embedded"
    if shares or not (set_in["disable-default-registry-endpoint"] or preset in {"offline", "private"}):
        return []
    return [
        (
            ("registries", "mirrors", name),
            f"has no endpoint, so its images are still asked for on the internet: give it one, such as {NOBODY}",
        )
        for name, mirror in mirrors.items()
        if not (isinstance(mirror, Mapping) and mirror.get("endpoint"))
    ]


def _well_formed(key: str) -> bool:
    try:
        config_key(key)
    except ValueError:
        return False
    return True


def _where(role: NodeRole) -> str:
    return "site.server" if role == "agent" else "site.agent"


def _mapping(site: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = site.get(name)
    return found if isinstance(found, Mapping) else {}
