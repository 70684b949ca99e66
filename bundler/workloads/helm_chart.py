"""The HelmChart object by which k3s installs a chart that its servers have on their disks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from bundler.workloads.static import CHART_AT_THE_SITE

if TYPE_CHECKING:
    from bundler.model.recipe_charts import Chart

SYSTEM_NAMESPACE = "kube-system"  # where k3s's Helm controller looks for HelmChart objects of its own manifests


def helm_chart(chart: Chart, path: str) -> bytes:
    """Write the manifest for `chart`, whose file lies at `path` (`charts/...`) in the bundle."""
    spec: dict[str, object] = {
        "chart": CHART_AT_THE_SITE + path.rpartition("/")[2],
        "targetNamespace": chart.namespace,
        "createNamespace": True,
    }
    if chart.bootstrap:
        spec["bootstrap"] = True
    if chart.values:
        spec["valuesContent"] = values_text(chart)
    item = {
        "apiVersion": "helm.cattle.io/v1",
        "kind": "HelmChart",
        "metadata": {"name": chart.name, "namespace": SYSTEM_NAMESPACE},
        "spec": spec,
    }
    return _yaml(item).encode()


def values_text(chart: Chart) -> str:
    """Write a chart's values as YAML."""
    return _yaml(_plain(chart.values))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)


class _Dumper(yaml.SafeDumper):
    """Text of several lines as such, so that a person can read valuesContent."""


_PLAIN = re.compile(r"[A-Za-z/][^\n]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote what Go's readers take for something else and PyYAML does not: `1e3`, `0o17`, `y` (see site.yaml_text)."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    style = "|" if "\n" in text else None if plain else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
