"""Objects to findings: which images a manifest needs, which it may need, and what goes wrong offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.errors import ManifestError
from bundler.workloads.objects import read_documents, read_objects
from bundler.workloads.pods import pod_images
from bundler.workloads.search import search, shaped_image
from bundler.workloads.secrets import secrets_in
from bundler.workloads.static import static_path
from bundler.workloads.uses import ChartUse, Findings, ImageUse, Maybe, is_latest, pod_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.reference import Reference
    from bundler.workloads.objects import Data, KubernetesObject
    from bundler.workloads.pods import PodImage

HELM_GROUP = "helm.cattle.io"
_IN_CLEAR = (
    "looks like a secret, and lies in the bundle as it is: whoever holds the bundle can read it; let the chart take a "
    "Secret that is made at the site"
)

_NOT_OF_KUBERNETES = {
    "kustomize.config.k8s.io": "k3s does not run kustomize: write out what `kustomize build` gives, and name that file",
}


def walk(objects: Sequence[KubernetesObject]) -> Findings:
    """Find the images of objects. Raises ManifestError for what cannot be deployed."""
    found = Findings()
    for item in objects:
        found += _walk(item)
    certain = {use.reference.name for use in found.uses}
    maybes = tuple(maybe for maybe in sorted(set(found.maybes)) if pod_image(maybe.text).name not in certain)
    uses, notes = tuple(sorted(set(found.uses))), tuple(dict.fromkeys(found.notes))
    return replace(found, uses=uses, maybes=maybes, notes=notes)


def walk_manifest(data: bytes, source: str) -> Findings:
    """Find the images of a manifest that is carried as it is; its secrets are told. Raises ManifestError."""
    objects = read_objects(data, source)
    secrets = tuple(
        f"{item} lies in the bundle as it is: whoever holds the bundle can read it"
        for item in objects
        if _is_secret(item) and (item.data.get("data") or item.data.get("stringData"))
    )
    return walk(objects) + Findings(notes=secrets)


def _walk(item: KubernetesObject) -> Findings:
    if item.group in _NOT_OF_KUBERNETES:
        raise ManifestError(f"{item} is nothing a cluster knows", hint=_NOT_OF_KUBERNETES[item.group])
    if item.group == HELM_GROUP:
        return _helm(item)
    if _is_secret(item):
        return Findings()  # what is in it does not belong in a log, also where it looks like an image
    images = list(pod_images(item))
    uses = tuple(ImageUse(_reference(item, image), image.text, f"{item}, {image.part}") for image in images)
    notes = tuple(note for image in images for note in _notes(item, image))
    texts = {image.text for image in images}
    maybes = tuple(Maybe(each.text, f"{item}, {each.where}") for each in search(item.data) if each.text not in texts)
    return Findings(uses, maybes, notes)


def _is_secret(item: KubernetesObject) -> bool:
    return (item.group, item.kind) == ("", "Secret")


def _reference(item: KubernetesObject, image: PodImage) -> Reference:
    try:
        return pod_image(image.text)
    except ValueError as error:
        raise ManifestError(
            f"{item}, {image.part}: {error}",
            hint="what stands for the image has to be written out: nothing fills it in",
        ) from None


def _notes(item: KubernetesObject, image: PodImage) -> Iterator[str]:
    what = f"{item}, {image.part}: {image.text}"
    if image.pull_policy == "Always":
        yield (
            f"{what} has imagePullPolicy: Always: its registry is asked at every start, and without one no container "
            "starts, though the image is there; write IfNotPresent"
        )
    elif not image.pull_policy and is_latest(image.text):
        yield (
            f"{what} has no tag or the tag latest, which means imagePullPolicy: Always: without a registry no "
            "container starts; write imagePullPolicy: IfNotPresent, or better a tag"
        )
    if "@" in image.text:
        yield (
            f"{what} is pinned: a node finds it by repository@digest alone, whatever the tag, and the installer gives "
            "the image that name"
        )


# Helm


def _helm(item: KubernetesObject) -> Findings:
    spec = item.data.get("spec")
    spec = spec if isinstance(spec, Mapping) else {}
    found = _chart(item, spec) if item.kind == "HelmChart" else Findings()
    if isinstance(spec.get("jobImage"), str):
        found += Findings(uses=(_use(item, spec["jobImage"], "jobImage"),))
    for values, where in _values(item, spec):
        found += _value_images(item, values, where)
        found += Findings(notes=tuple(f"{item}, {where}, {path} {_IN_CLEAR}" for path in secrets_in(values)))
    return found


def _chart(item: KubernetesObject, spec: Mapping[str, Data]) -> Findings:
    """Say where the chart of a HelmChart comes from; `chartContent` goes before `chart` (k3s-io/helm-controller)."""
    chart = str(spec.get("chart") or "")
    if spec.get("chartContent"):
        note = f"{item}: the images of its chart are not searched; name the chart under charts, or them in images.extra"
        return Findings(notes=(note,), helm_charts=True)
    if path := static_path(chart):
        return Findings(helm_charts=True, charts=(ChartUse(path, str(item)),))
    origin = f"{spec.get('repo') or ''} {chart}".strip()
    note = f"{item} takes its chart from {origin!r}, which a site without a network does not have: name it under charts"
    return Findings(notes=(note,), helm_charts=True)


def _values(item: KubernetesObject, spec: Mapping[str, Data]) -> Iterator[tuple[Data, str]]:
    content = spec.get("valuesContent")
    if isinstance(content, str):
        for document in read_documents(content.encode(), f"{item}, valuesContent"):
            yield document, "valuesContent"
    for key in ("values", "set"):
        if isinstance(spec.get(key), Mapping):
            yield _nested(spec[key]) if key == "set" else spec[key], key


def _nested(flat: Mapping[str, Data]) -> dict[str, Data]:
    """Write `a.b: c` as Helm's --set reads it; list indexes and escapes are left alone."""
    tree: dict[str, Data] = {}
    for key, value in flat.items():
        here, parts = tree, str(key).split(".")
        for part in parts[:-1]:
            below = here.setdefault(part, {})
            here = below if isinstance(below, dict) else {}
        here[parts[-1]] = value
    return tree


def _value_images(item: KubernetesObject, values: Data, where: str) -> Findings:
    """Take `image: name:tag` and `{repository, tag}` for certain, whatever else looks like an image for a maybe."""
    certain = tuple(_use(item, text, f"{where}, {path}") for text, path in _stated(values, ""))
    texts = {use.text for use in certain}
    maybes = tuple(
        Maybe(each.text, f"{item}, {where}, {each.where}") for each in search(values) if each.text not in texts
    )
    return Findings(certain, maybes)


def _stated(values: Data, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(values, Mapping):
        if (shaped := shaped_image(values)) and shaped[1]:
            yield shaped[0], path
        for key, child in values.items():
            below = f"{path}.{key}" if path else str(key)
            if key == "image" and isinstance(child, str) and _is_whole(child):
                yield child, below
            else:
                yield from _stated(child, below)
    elif isinstance(values, list):
        for index, child in enumerate(values):
            yield from _stated(child, f"{path}[{index}]")


def _is_whole(text: str) -> bool:
    try:
        pod_image(text)
    except ValueError:
        return False
    return "@" in text or ":" in text.rpartition("/")[2]


def _use(item: KubernetesObject, text: str, where: str) -> ImageUse:
    try:
        return ImageUse(pod_image(text), text, f"{item}, {where}")
    except ValueError as error:
        raise ManifestError(f"{item}, {where}: {error}", hint="write registry/repository:tag") from None
