"""The images of pods: every place in Kubernetes' own kinds where one is named (API reference v1.34, PodSpec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import ManifestError

if TYPE_CHECKING:
    from bundler.workloads.objects import Data, KubernetesObject

_TEMPLATE = ("spec", "template", "spec")

POD_SPECS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): ("spec",),
    ("", "PodTemplate"): ("template", "spec"),
    ("", "ReplicationController"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", *_TEMPLATE),
    **{
        (group, kind): _TEMPLATE
        for group in ("apps", "extensions")
        for kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")
    },
}
"""Where a kind, by API group and name, has its pod spec."""

_CONTAINERS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}


@dataclass(frozen=True)
class PodImage:
    """An image of a pod as written, with its pull policy (empty when the object leaves that to Kubernetes)."""

    text: str
    part: str
    pull_policy: str


def pod_images(item: KubernetesObject) -> Iterator[PodImage]:
    """Give the images of an object that makes pods, and nothing for others; raises ManifestError."""
    path = POD_SPECS.get((item.group, item.kind))
    spec: Data = item.data if path else None
    for key in path or ():
        spec = spec.get(key) if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping):
        return
    for key, what in _CONTAINERS.items():
        for container in _mappings(spec.get(key)):
            yield from _image(item, f"{what} {container.get('name', '')}", container, "image", "imagePullPolicy")
    for volume in _mappings(spec.get("volumes")):
        if isinstance(volume.get("image"), Mapping):
            yield from _image(item, f"volume {volume.get('name', '')}", volume["image"], "reference", "pullPolicy")


def _image(item: KubernetesObject, part: str, holder: Mapping[str, Data], key: str, policy: str) -> Iterator[PodImage]:
    text = holder.get(key)
    if text is None or text == "":
        return  # a sidecar that a webhook fills in; the API server has the last word
    if not isinstance(text, str):
        raise ManifestError(f"{item}, {part}: {key} is {text!r}, and text is expected", hint="put the image in quotes")
    yield PodImage(text, part.rstrip(), str(holder.get(policy) or ""))


def _mappings(value: Data) -> Iterator[Mapping[str, Data]]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, Mapping):
            yield entry
