"""Every image of every pod is found, wherever a pod spec allows one."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ManifestError
from bundler.model.reference import parse_reference
from bundler.workloads.objects import read_objects
from bundler.workloads.uses import Findings, pod_image
from bundler.workloads.walk import walk, walk_manifest

DIGEST = "sha256:0c1d2e3f405162738495a6b7c8d9eaf00c1d2e3f405162738495a6b7c8d9eaf0"
IMAGE = "registry.example/wanted:1"
OTHER = "registry.example/other:2"

# Written down here anew, from the API reference of v1.34, and not taken from the code under test.
KINDS = {
    "v1/Pod": "spec",
    "v1/PodTemplate": "template.spec",
    "v1/ReplicationController": "spec.template.spec",
    "apps/v1/Deployment": "spec.template.spec",
    "apps/v1/ReplicaSet": "spec.template.spec",
    "apps/v1/DaemonSet": "spec.template.spec",
    "apps/v1/StatefulSet": "spec.template.spec",
    "apps/v1beta2/Deployment": "spec.template.spec",
    "extensions/v1beta1/Deployment": "spec.template.spec",
    "batch/v1/Job": "spec.template.spec",
    "batch/v1/CronJob": "spec.jobTemplate.spec.template.spec",
    "batch/v1beta1/CronJob": "spec.jobTemplate.spec.template.spec",
}
PLACES = ("containers", "initContainers", "ephemeralContainers", "volumes")


def within(path: str, value: object) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def pod_spec(place: str, image: str, before: int = 0) -> dict[str, Any]:
    def entry(number: int, text: str) -> dict[str, Any]:
        name = {"name": f"n{number}"}
        return name | ({"image": {"reference": text}} if place == "volumes" else {"image": text})

    spec: dict[str, Any] = {
        "containers": [{"name": "main", "image": OTHER}],
        "volumes": [{"name": "e", "emptyDir": {}}],
    }
    return spec | {place: [entry(number, OTHER) for number in range(before)] + [entry(before, image)]}


def made(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    api_version, _, name = kind.rpartition("/")
    return {"apiVersion": api_version, "kind": name, "metadata": {"name": "web"}} | within(KINDS[kind], spec)


def found_in(*documents: object) -> Findings:
    return walk(read_objects(yaml.safe_dump_all(documents).encode(), "app.yaml"))


def names(found: Findings) -> set[str]:
    return {use.reference.name for use in found.uses}


@st.composite
def nested(draw: st.DrawFn) -> object:
    """An object that needs IMAGE somewhere, alone or in lists of lists, with others around it."""
    spec = pod_spec(draw(st.sampled_from(PLACES)), IMAGE, draw(st.integers(0, 3)))
    document: object = made(draw(st.sampled_from(sorted(KINDS))), spec)
    noise = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    for _ in range(draw(st.integers(0, 2))):
        items = [noise] * draw(st.integers(0, 2)) + [document] + [noise] * draw(st.integers(0, 2))
        document = {"apiVersion": "v1", "kind": "List", "items": items}
    return document


@settings(deadline=None)
@given(st.lists(nested(), min_size=1, max_size=3))
def test_an_image_is_found_wherever_a_pod_spec_allows_it(documents: list[object]) -> None:
    assert IMAGE in names(found_in(*documents))
    as_json = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}).encode()
    assert IMAGE in names(walk(read_objects(as_json, "app.json")))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_each_kind_and_place_is_named_in_the_reason(kind: str, place: str) -> None:
    found = found_in(made(kind, pod_spec(place, IMAGE)))
    (use,) = [use for use in found.uses if use.text == IMAGE]
    assert f"app.yaml: {kind.rpartition('/')[2]} web, " in use.where
    assert use.where.endswith("n0")
    assert found.maybes == ()


@pytest.mark.parametrize("kind", ["v1/Pod", "apps/v1/Deployment", "batch/v1/CronJob"])
def test_items_of_a_typed_list_need_no_kind_of_their_own(kind: str) -> None:
    item = made(kind, pod_spec("containers", IMAGE))
    listed = {"apiVersion": item.pop("apiVersion"), "kind": f"{item.pop('kind')}List", "items": [item]}
    assert IMAGE in names(found_in(listed))


def test_a_kind_of_another_group_is_no_workload_of_kubernetes_but_its_images_are_told() -> None:
    rollout = made("apps/v1/Deployment", pod_spec("containers", IMAGE)) | {"apiVersion": "argoproj.io/v1alpha1"}
    found = found_in(rollout)
    assert found.uses == ()
    assert [maybe.text for maybe in found.maybes] == [IMAGE]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("bitnami/redis:7", "docker.io/bitnami/redis:7"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        (f"nginx:1.27@{DIGEST}", "docker.io/library/nginx:1.27"),
        (f"nginx@{DIGEST}", "docker.io/library/nginx:pinned-0c1d2e3f40516273"),
        (f"registry.example:5000/a@{DIGEST}", "registry.example:5000/a:pinned-0c1d2e3f40516273"),
    ],
)
def test_names_are_read_as_the_kubelet_reads_them(text: str, name: str) -> None:
    assert pod_image(text).name == name
    assert pod_image(text).digest == (DIGEST if "@" in text else None)
    parse_reference(str(pod_image(text)))  # nodes and archives take it


@pytest.mark.parametrize(
    "text", ["${IMAGE}", "{{ .image }}", "Nginx", "nginx@sha256:12", "a b", "nginx:", "https://a/b"]
)
def test_what_is_no_image_is_refused_by_object_and_container(text: str) -> None:
    with pytest.raises(ManifestError, match=r"app\.yaml: Pod web, container n0"):
        found_in(made("v1/Pod", pod_spec("containers", text)))


def test_an_image_that_is_a_number_is_refused() -> None:
    with pytest.raises(ManifestError, match="text is expected"):
        walk(
            read_objects(
                b"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: 1.2}]}}", "a.yaml"
            )
        )


@pytest.mark.parametrize(
    ("image", "policy", "told"),
    [
        ("nginx:1.27", None, ()),
        ("nginx:1.27", "Always", ("imagePullPolicy: Always",)),
        ("nginx", None, ("no tag or the tag latest",)),
        ("nginx:latest", None, ("no tag or the tag latest",)),
        ("nginx:latest", "IfNotPresent", ()),
        (f"nginx:1@{DIGEST}", None, ("is pinned",)),
        (f"nginx@{DIGEST}", "Always", ("imagePullPolicy: Always", "is pinned")),
    ],
)
def test_what_goes_wrong_offline_is_told(image: str, policy: str | None, told: tuple[str, ...]) -> None:
    spec = {"containers": [{"name": "c", "image": image} | ({"imagePullPolicy": policy} if policy else {})]}
    notes = found_in(made("v1/Pod", spec)).notes
    assert len(notes) == len(told)
    for note, words in zip(notes, told, strict=True):
        assert words in note
        assert "app.yaml: Pod web, container c" in note


def test_a_secret_is_told_by_file_and_name_but_not_by_content() -> None:
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
    secret["stringData"] = {"password": "hunter2", "image": "registry.example/a/b:hunter2"}
    found = walk_manifest(yaml.safe_dump(secret).encode(), "app.yaml")
    (note,) = found.notes
    assert found.maybes == ()
    assert "app.yaml: Secret db lies in the bundle as it is" in note
    assert "hunter2" not in note
    assert walk_manifest(yaml.safe_dump({**secret, "stringData": {}}).encode(), "app.yaml").notes == ()


def test_a_kustomization_is_refused() -> None:
    with pytest.raises(ManifestError, match="Kustomization"):
        found_in({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["a.yaml"]})
