"""How k3s names what it deploys from its manifests folder (k3s pkg/deploy/controller.go)."""

from __future__ import annotations

import re

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
"""What k3s deploys; any other file in the folder is left alone (shouldSkipFile)."""

_FILE = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,251}[a-z0-9])?(?:\.[A-Za-z0-9_-]+)+")

PACKAGED = frozenset(
    {
        "aggregated-metrics-reader",
        "auth-delegator",
        "auth-reader",
        "ccm",
        "coredns",
        "gateway-api-crd",
        "local-storage",
        "metrics-apiservice",
        "metrics-server-deployment",
        "metrics-server-service",
        "resource-reader",
        "rolebindings",
        "runtimes",
        "traefik",
    }
)
"""Names of k3s's own (k3s manifests/, v1.18 to v1.36): their files are written anew at every start of a server."""


def addon_name(file_name: str) -> str:
    """Give the name k3s deploys a file by: all before the first period, so `app.v1.yaml` and `app.v2.yaml` are one."""
    return file_name.partition(".")[0]


def why_no_addon(file_name: str) -> str | None:
    """Say why k3s cannot deploy a file of that name; None when it can."""
    if not file_name.endswith(MANIFEST_SUFFIXES):
        return f"k3s deploys {', '.join(MANIFEST_SUFFIXES)} alone"
    if not _FILE.fullmatch(file_name):
        return (
            "all before the first period has to be lower-case letters, digits and -: an AddOn is called so (RFC 1123)"
        )
    if addon_name(file_name) in PACKAGED:
        return (
            f"k3s has a manifest of its own called {addon_name(file_name)} and would overwrite this one at every start"
        )
    return None
