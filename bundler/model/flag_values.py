"""What flags of k3s may be set to. Each check gives what is wrong in words, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bundler.model.flags import FLAGS, plain_name
from bundler.model.reference import parse_reference
from bundler.model.yaml_nodes import shown

if TYPE_CHECKING:
    from bundler.model.flags import Flag
    from bundler.model.yaml_nodes import Path

Check = Callable[[str], str | None]

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?", re.IGNORECASE)
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ARGUMENT = re.compile(r"(?:--)?[A-Za-z][A-Za-z0-9._-]*[+-]?(?:=.*)?")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

_KUBELET_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
"""What a kubelet may set of the names that belong to Kubernetes (k8s.io/kubelet pkg/apis/well_known_labels.go)."""


def value_mistakes(config: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Check a whole mapping of flags as written; what is no flag of the table is checked elsewhere."""
    found: list[tuple[Path, str]] = []
    for key, value in config.items():
        flag = FLAGS.get(plain_name(key))
        if flag is None:
            continue
        items = enumerate(value) if isinstance(value, tuple) else [(None, value)]
        if isinstance(value, tuple) and flag.takes != "list":
            found.append(((key,), f"is a list, but k3s takes {_WANTED[flag.takes]}: of several, it keeps the last"))
            continue
        if key.endswith("+") and flag.takes != "list":
            found.append(((key,), f"has a + to add to a list, but {flag.name} takes {_WANTED[flag.takes]}"))
            continue
        for index, item in items:
            if why := _why_not(flag, item):
                found.append(((key,) if index is None else (key, index), why))
    return found


_WANTED = {
    "text": "one text",
    "number": "one whole number without quotes",
    "switch": "true or false without quotes",
    "duration": "one duration such as 5m",
    "list": "text",
}


def _why_not(flag: Flag, item: object) -> str | None:
    """Check one value by what the flag takes; kinds that no flag takes are told by the type."""
    if not isinstance(item, str | int):
        return None
    kinds = {"switch": bool, "number": int}
    fits = isinstance(item, kinds.get(flag.takes, str | int)) and isinstance(item, bool) == (flag.takes == "switch")
    if not fits:
        given = shown(item) if isinstance(item, str) else str(item).lower()
        return f"is {given}, and {_WANTED[flag.takes]} is expected"
    check = _CHECKS.get(flag.name, _duration if flag.takes == "duration" else _anything)
    return _first_wrong(check, str(item), split=flag.takes == "list" and flag.name not in _WHOLE)


def _anything(_: str) -> None:
    return None


def _first_wrong(check: Check, text: str, *, split: bool) -> str | None:
    """Go through what k3s takes apart at commas (urfave/cli StringSlice)."""
    parts = [part.strip() for part in text.split(",")] if split else [text]
    return next((why for part in parts if (why := check(part))), None)


def _one_of(*choices: str, others: Mapping[str, str] = MappingProxyType({})) -> Check:
    def check(text: str) -> str | None:
        if text in choices:
            return None
        return others.get(text, f"{shown(text)} is not one of {', '.join(choices)}")

    return check


def _matches(pattern: str, what: str) -> Check:
    return lambda text: None if re.fullmatch(pattern, text) else f"is not {what}"


def _duration(text: str) -> str | None:
    return None if _DURATION.fullmatch(text) else "is not a duration such as 5m, 30s or 1h30m"


def _address(text: str) -> str | None:
    try:
        ip_address(text)
    except ValueError:
        return f"{shown(text)} is not an IP address"
    return None


def _network(text: str) -> str | None:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or "/" not in text:
        return f"{shown(text)} is not a network such as 10.42.0.0/16"
    return None


def _host_or_address(text: str) -> str | None:
    if _address(text) and not (_HOST.fullmatch(text) and len(text) <= 253):
        return f"{shown(text)} is neither a host name nor an IP address"
    return None


def _host(text: str) -> str | None:
    return None if _HOST.fullmatch(text) and len(text) <= 253 else f"{shown(text)} is not a host name"


def _port(text: str) -> str | None:
    return None if 1 <= int(text) <= 65535 else f"is {text}: a port is 1 to 65535"


def _path(text: str) -> str | None:
    return (
        None if re.fullmatch(r"/[!-~]+", text) else "is not a path at the site: it must begin with / and have no spaces"
    )


def _server(text: str) -> str | None:
    return (
        None if re.fullmatch(r"https://[^/\s]+/?", text) else "is not the URL of a server such as https://10.0.0.1:6443"
    )


def _registry(text: str) -> str | None:
    if "://" in text:
        return "is a URL: a registry is written without its scheme, such as registry.example:5000"
    return (
        None
        if re.fullmatch(r"[A-Za-z0-9.:\[\]-]+(?:/[a-z0-9._-]+)*", text)
        else "is not a registry: host[:port][/path]"
    )


def _image(text: str) -> str | None:
    try:
        parse_reference(text)
    except ValueError as error:
        return f"is not an image: {error}"
    return None


def _port_range(text: str) -> str | None:
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]) <= 65535:
        return "is not a range of ports such as 30000-32767"
    return None


def _qualified(name: str) -> str | None:
    prefix, slash, last = name.rpartition("/")
    if not _LABEL_NAME.fullmatch(last) or (slash and not _PREFIX.fullmatch(prefix)):
        return f"{shown(name)} is not a name for it: letters, digits and -_. with an optional domain/ before"
    return None


def _label(text: str) -> str | None:
    name, equals, value = text.partition("=")
    if not equals:
        return f"{shown(text)} is not name=value"
    if why := _qualified(name):
        return why
    if value and not _LABEL_NAME.fullmatch(value):
        return f"{shown(value)} is not a value of a label: up to 63 letters, digits and -_."
    return _why_not_the_kubelets(name)


def _why_not_the_kubelets(name: str) -> str | None:
    """Find labels of Kubernetes with which a kubelet does not start (kubelet cmd/options)."""
    prefix = name.rpartition("/")[0]
    ours = prefix.split(".")[-2:] in (["kubernetes", "io"], ["k8s", "io"])
    if not ours or name in _KUBELET_LABELS:
        return None
    if any(prefix == own or prefix.endswith(f".{own}") for own in ("kubelet.kubernetes.io", "node.kubernetes.io")):
        return None
    return f"{name} is a label that no kubelet may set itself, and with it none starts: set it later with kubectl"


def _taint(text: str) -> str | None:
    pair, colon, effect = text.rpartition(":")
    if not colon or effect not in _EFFECTS:
        return f"{shown(text)} is not name=value:effect or name:effect; effects are {', '.join(_EFFECTS)}"
    name, _, value = pair.partition("=")
    if value and not _LABEL_NAME.fullmatch(value):
        return f"{shown(value)} is not a value of a taint: up to 63 letters, digits and -_."
    return _qualified(name)


def _argument(text: str) -> str | None:
    if not _ARGUMENT.fullmatch(text):
        return f"{shown(text)} is not name=value, the flag of the program without its dashes"
    return None


_CHECKS: dict[str, Check] = {
    "flannel-backend": _one_of(
        "vxlan",
        "host-gw",
        "wireguard-native",
        "none",
        others={
            "wireguard": "is gone from k3s: write wireguard-native",
            "ipsec": "is gone from k3s: write wireguard-native",
        },
    ),
    "egress-selector-mode": _one_of("agent", "cluster", "pod", "disabled"),
    "secrets-encryption-provider": _one_of("aescbc", "secretbox"),
    "etcd-s3-bucket-lookup-type": _one_of("auto", "dns", "path"),
    "write-kubeconfig-mode": _matches("0?[0-7]{3}", 'a mode: three octal digits in quotes, such as "0600"'),
    "service-node-port-range": _port_range,
    "system-default-registry": _registry,
    "airgap-extra-registry": _registry,
    "pause-image": _image,
    "helm-job-image": _image,
    "server": _server,
    "cluster-domain": _host,
    "node-name": _host,
    "tls-san": _host_or_address,
    "node-internal-dns": _host,
    "node-external-dns": _host,
    "node-label": _label,
    "node-taint": _taint,
    **dict.fromkeys(("cluster-cidr", "service-cidr"), _network),
    **dict.fromkeys(
        ("cluster-dns", "node-ip", "node-external-ip", "bind-address", "advertise-address", "apiserver-bind-address"),
        _address,
    ),
    **dict.fromkeys(
        ("https-listen-port", "supervisor-port", "apiserver-port", "advertise-port", "lb-server-port"), _port
    ),
    **dict.fromkeys(
        (
            *("data-dir", "resolv-conf", "token-file", "agent-token-file", "vpn-auth-file", "write-kubeconfig", "log"),
            *("datastore-cafile", "datastore-certfile", "datastore-keyfile", "etcd-s3-endpoint-ca"),
            *("etcd-snapshot-dir", "default-local-storage-path", "image-credential-provider-bin-dir"),
            *("image-credential-provider-config", "flannel-conf", "flannel-cni-conf"),
        ),
        _path,
    ),
    **dict.fromkeys((name for name in FLAGS if name.endswith("-arg")), _argument),
}

_WHOLE = frozenset(name for name in FLAGS if name.endswith("-arg"))
"""Flags whose commas belong to what they hand on; the program behind takes them apart, or not."""
