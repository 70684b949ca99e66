"""Since when k3s knows a flag. What flags there are is in `bundler.model.flags`.

Read from the history of k3s pkg/cli/cmds: a flag that came while go.mod named Kubernetes v1.N.P is in v1.N.(P+1).
That rule was checked where both ends are known: the tags up to v1.21.2, sixteen flags on the branches release-1.31 to
release-1.36, and the releases that k3s's notes name for embedded-registry and helm-controller-arg.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bundler.model.flags import FLAGS, plain_name
from bundler.model.recipe_site import SECTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.model.flags import NodeRole
    from bundler.model.recipe_site import Site
    from bundler.model.release import Release

Version = tuple[int, int, int]

NEWEST_READ: Version = (1, 36, 3)
"""The newest release whose flags are in the table."""

_SINCE: dict[str, Version] = {
    "service-node-port-range": (1, 20, 3),
    "etcd-snapshot-name": (1, 20, 3),
    "etcd-expose-metrics": (1, 20, 3),
    "airgap-extra-registry": (1, 20, 3),
    "disable-controller-manager": (1, 20, 3),
    "disable-etcd": (1, 20, 3),
    "lb-server-port": (1, 20, 5),
    **dict.fromkeys((name for name in FLAGS if name.startswith("etcd-s3")), (1, 20, 5)),
    "image-credential-provider-bin-dir": (1, 21, 1),
    "image-credential-provider-config": (1, 21, 1),
    "system-default-registry": (1, 21, 1),
    "disable-apiserver": (1, 21, 1),
    "disable-helm-controller": (1, 21, 2),
    "etcd-s3-insecure": (1, 22, 2),
    "etcd-s3-timeout": (1, 22, 3),
    "etcd-arg": (1, 22, 4),
    "etcd-snapshot-compress": (1, 23, 2),
    "flannel-ipv6-masq": (1, 23, 2),
    "egress-selector-mode": (1, 24, 1),
    "servicelb-namespace": (1, 24, 2),
    "flannel-cni-conf": (1, 24, 2),
    "enable-pprof": (1, 24, 2),
    "flannel-external-ip": (1, 25, 4),
    "prefer-bundled-bin": (1, 25, 5),
    "vpn-auth-file": (1, 27, 3),
    "helm-job-image": (1, 27, 4),
    "tls-san-security": (1, 28, 2),
    "image-service-endpoint": (1, 28, 3),
    "disable-apiserver-lb": (1, 28, 4),
    "default-runtime": (1, 28, 5),
    "disable-default-registry-endpoint": (1, 29, 1),
    "embedded-registry": (1, 29, 1),
    "kine-tls": (1, 29, 4),
    "supervisor-metrics": (1, 30, 2),
    "write-kubeconfig-group": (1, 30, 2),
    "etcd-s3-config-secret": (1, 30, 3),
    "etcd-s3-proxy": (1, 30, 3),
    "node-internal-dns": (1, 31, 4),
    "node-external-dns": (1, 31, 4),
    "nonroot-devices": (1, 31, 3),
    "supervisor-port": (1, 31, 4),
    "apiserver-port": (1, 31, 4),
    "apiserver-bind-address": (1, 31, 4),
    "etcd-snapshot-reconcile-interval": (1, 32, 3),
    "secrets-encryption-provider": (1, 32, 4),
    "etcd-s3-bucket-lookup-type": (1, 33, 1),
    "etcd-s3-retention": (1, 33, 4),
    "helm-controller-arg": (1, 36, 3),
    "write-kubeconfig-name": (1, 36, 4),
}
"""First release on the newest line of its time; flags that are not here are older than all of these."""

_SINCE_ON_AGENTS: dict[str, Version] = {"bind-address": (1, 30, 2), "enable-pprof": (1, 30, 2)}

_BACKPORTED: dict[str, dict[tuple[int, int], int]] = {
    "disable-default-registry-endpoint": {(1, 28): 6, (1, 27): 10, (1, 26): 13},
    "embedded-registry": {(1, 28): 6, (1, 27): 10, (1, 26): 13},
    "etcd-snapshot-reconcile-interval": {(1, 31): 7},
    "secrets-encryption-provider": {(1, 31): 8},
    "etcd-s3-bucket-lookup-type": {(1, 31): 9, (1, 32): 5},
    "etcd-s3-retention": {(1, 31): 12, (1, 32): 8},
    "helm-controller-arg": {(1, 33): 14, (1, 34): 10, (1, 35): 7},
}
"""First patch on older lines, by line, where it is known."""

_LINES_KEPT = 3
"""How many older lines k3s brings new flags to."""

Answer = Literal["yes", "no", "perhaps"]


def knows_flag(release: Release, name: str, role: NodeRole) -> Answer:
    """Say whether nodes of `role` know the flag; "perhaps" on older lines that may have got it later."""
    since = (_SINCE_ON_AGENTS.get(name) if role == "agent" else None) or _SINCE.get(name)
    version, line = release.version, release.version[:2]
    if since is None or version >= since:
        return "yes"
    first_patch = _BACKPORTED.get(name, {}).get(line)
    if first_patch is not None:
        return "yes" if version[2] >= first_patch else "no"
    older = since[1] - version[1]
    return "perhaps" if 0 < older <= _LINES_KEPT and version[2] > 0 else "no"


def flags_too_new(site: Site, release: Release) -> Iterator[tuple[str, Answer]]:
    """Give in words the flags of a recipe that `release` does not know ("no") or perhaps does not, with their place."""
    for section, readers in SECTIONS.items():
        for key in site.section(section):
            name = plain_name(key)
            if name not in FLAGS:
                continue
            for role in (role for role in readers if role in FLAGS[name].roles):
                answer = knows_flag(release, name, role)
                if answer != "yes":
                    ending = "" if answer == "no" else f"; whether {release} does is not known here"
                    yield f"site.{section}.{key}: {role}s know it from {_since(name, role)} on{ending}", answer


def _since(name: str, role: NodeRole) -> str:
    since = (_SINCE_ON_AGENTS.get(name) if role == "agent" else None) or _SINCE[name]
    patches = _BACKPORTED.get(name, {})
    versions = sorted([since, *((*line, patch) for line, patch in patches.items())])
    return ", ".join("v" + ".".join(map(str, version)) for version in versions)
