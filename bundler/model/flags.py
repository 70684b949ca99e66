"""The flags of `k3s server` and `k3s agent`: which role knows them, and what they take.

From k3s pkg/cli/cmds/{server,agent,log,root}.go, read at every commit that touched them until August 2026 (v1.36.3).
Since when a release knows a flag is in `bundler.k3s.flags`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

NodeRole = Literal["server", "agent"]
"""What a node does; servers run pods too, unless they are told otherwise."""

NODE_ROLES: tuple[NodeRole, ...] = get_args(NodeRole)

Takes = Literal["text", "number", "switch", "list", "duration"]


@dataclass(frozen=True)
class Flag:
    """A flag by its long name without dashes; `list` flags may be repeated."""

    name: str
    roles: frozenset[NodeRole]
    takes: Takes


_ROWS: tuple[tuple[tuple[NodeRole, ...], Takes, str], ...] = (
    (NODE_ROLES, "switch", "debug alsologtostderr with-node-id selinux protect-kernel-defaults docker rootless"),
    (NODE_ROLES, "switch", "disable-default-registry-endpoint nonroot-devices enable-pprof prefer-bundled-bin"),
    (NODE_ROLES, "number", "v lb-server-port"),
    (NODE_ROLES, "text", "vmodule log token-file server data-dir node-name bind-address resolv-conf vpn-auth-file"),
    (NODE_ROLES, "text", "image-credential-provider-bin-dir image-credential-provider-config pause-image snapshotter"),
    (NODE_ROLES, "text", "container-runtime-endpoint image-service-endpoint default-runtime"),
    (NODE_ROLES, "text", "flannel-iface flannel-conf flannel-cni-conf"),
    (NODE_ROLES, "list", "node-label node-taint node-ip node-external-ip node-internal-dns node-external-dns"),
    (NODE_ROLES, "list", "airgap-extra-registry kubelet-arg kube-proxy-arg"),
    (("agent",), "switch", "disable-apiserver-lb"),
    (("server",), "switch", "tls-san-security flannel-ipv6-masq flannel-external-ip cluster-init kine-tls etcd-s3"),
    (("server",), "switch", "etcd-expose-metrics etcd-disable-snapshots etcd-snapshot-compress"),
    (("server",), "switch", "etcd-s3-skip-ssl-verify etcd-s3-insecure secrets-encryption disable-agent"),
    (("server",), "switch", "disable-scheduler disable-cloud-controller disable-kube-proxy disable-network-policy"),
    (("server",), "switch", "disable-helm-controller disable-apiserver disable-controller-manager disable-etcd"),
    (("server",), "switch", "embedded-registry supervisor-metrics"),
    (("server",), "number", "https-listen-port supervisor-port apiserver-port advertise-port"),
    (("server",), "number", "etcd-snapshot-retention etcd-s3-retention"),
    (("server",), "duration", "etcd-snapshot-reconcile-interval etcd-s3-timeout"),
    (("server",), "text", "apiserver-bind-address advertise-address service-node-port-range cluster-domain"),
    (("server",), "text", "flannel-backend egress-selector-mode servicelb-namespace system-default-registry"),
    (("server",), "text", "write-kubeconfig write-kubeconfig-mode write-kubeconfig-group write-kubeconfig-name"),
    (("server",), "text", "helm-job-image agent-token-file default-local-storage-path secrets-encryption-provider"),
    (("server",), "text", "datastore-endpoint datastore-cafile datastore-certfile datastore-keyfile"),
    (("server",), "text", "etcd-snapshot-name etcd-snapshot-schedule-cron etcd-snapshot-dir"),
    (("server",), "text", "etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-bucket etcd-s3-bucket-lookup-type"),
    (("server",), "text", "etcd-s3-region etcd-s3-folder etcd-s3-proxy etcd-s3-config-secret"),
    (("server",), "list", "tls-san cluster-cidr service-cidr cluster-dns disable"),
    (("server",), "list", "kube-apiserver-arg etcd-arg kube-controller-manager-arg kube-scheduler-arg"),
    (("server",), "list", "helm-controller-arg kube-cloud-controller-manager-arg"),
)

FLAGS: Mapping[str, Flag] = MappingProxyType(
    {name: Flag(name, frozenset(roles), takes) for roles, takes, names in _ROWS for name in names.split()}
)
"""Every flag that may stand in a recipe, by name."""

_INSTEAD = {
    "d": "is short for data-dir: write that",
    "i": "is short for node-ip: write that",
    "l": "is short for log: write that",
    "o": "is short for write-kubeconfig: write that",
    "s": "is short for server: write that",
    "no-flannel": "is gone from v1.26 on: write flannel-backend: none",
    "disable-selinux": "is gone from v1.26 on: SELinux is off unless selinux is true",
    "multi-cluster-cidr": "is gone from v1.29 on",
    "disable-api-server": "has been renamed: write disable-apiserver",
    "kube-controller-arg": "has been renamed: write kube-controller-manager-arg",
    "kube-cloud-controller-arg": "has been renamed: write kube-cloud-controller-manager-arg",
    "storage-endpoint": "has been renamed: write datastore-endpoint",
    "cluster-reset": "is for one run by hand: k3s would forget the other servers at every start",
    "cluster-reset-restore-path": "is for one run by hand: k3s would restore the snapshot at every start",
}
"""Flags that do not belong in a recipe, and why."""


def why_unknown(name: str) -> str:
    """Say in words why `name` is no flag of the table, and what to do."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    if near := get_close_matches(name[:64], FLAGS, n=1, cutoff=0.75):
        return f'is not a flag of k3s; did you mean "{near[0]}"?'
    return (
        f"is not a flag of k3s up to v1.36: k3s servers ignore it, agents do not start. If your release has it, say "
        f"which nodes know it: site.unknown_flags: {{{name[:64]}: [server]}}"
    )


def plain_name(key: str) -> str:
    """Take off the `+` with which a key adds to what stands there already."""
    return key.removesuffix("+")


def knows(role: NodeRole, name: str, unknown: Mapping[str, tuple[NodeRole, ...]]) -> bool:
    """Say whether nodes of `role` know the flag; `unknown` are the recipe's own words on flags beyond the table."""
    return role in (FLAGS[name].roles if name in FLAGS else unknown.get(name, ()))
