"""Images where no schema names them: custom resources, arguments, ConfigMaps, CRDs, Helm values."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.workloads.objects import read_objects
from bundler.workloads.static import unsearched
from bundler.workloads.walk import walk

SAMPLES = Path(__file__).parent / "samples"
DIGEST = "sha256:0c1d2e3f405162738495a6b7c8d9eaf00c1d2e3f405162738495a6b7c8d9eaf0"


def sample(name: str) -> tuple[set[str], set[str]]:
    """Give the certain images and the maybes of a sample, as written."""
    found = walk(read_objects((SAMPLES / name).read_bytes(), name))
    return {use.text for use in found.uses}, {maybe.text for maybe in found.maybes}


def test_an_operator_with_images_in_environment_and_arguments() -> None:
    certain, maybes = sample("operator.yaml")
    assert certain == {"quay.io/example/operator:v0.80.0", "gcr.io/kubebuilder/kube-rbac-proxy:v0.15.0"}
    assert maybes == {
        "quay.io/example/config-reloader:v0.80.0",
        "quay.io/example/agent:2.1",
        "docker.io/library/postgres:16",
    }


def test_a_crd_and_its_resources() -> None:
    certain, maybes = sample("database.yaml")
    assert certain == set()
    assert maybes == {
        "ghcr.io/example/postgres:16.4",
        "ghcr.io/example/backup:1.2",
        "registry.example/exporter:0.15",
        f"ghcr.io/example/sidecar@{DIGEST}",
        "ghcr.io/example/postgres:15",
    }


def test_a_helm_chart_object() -> None:
    certain, maybes = sample("helmchart.yaml")
    assert certain == {
        "registry.example/redis:7.2",
        "quay.io/example/exporter:1.58",
        "busybox:1.36",
        f"quay.io/example/pinned@{DIGEST}",
        "registry.example/job:1",
        "example/from-set:3",
    }
    assert maybes == {"example/no-tag", "nginx"}


def test_what_looks_like_an_image_and_is_none() -> None:
    assert sample("no-images.yaml") == (set(), set())


def test_what_is_certain_is_no_maybe_too() -> None:
    text = b"""
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
    - {name: a, image: "quay.io/a/b:1", args: ["--self=quay.io/a/b:1"], env: [{name: IMAGE, value: "quay.io/a/b:1"}]}
"""
    found = walk(read_objects(text, "a.yaml"))
    assert ([use.text for use in found.uses], found.maybes) == (["quay.io/a/b:1"], ())


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("{chart: redis, repo: 'https://charts.example'}", "takes its chart from 'https://charts.example redis'"),
        ("{chart: 'oci://registry.example/redis'}", "takes its chart from 'oci://registry.example/redis'"),
        ("{chart: 'https://%{KUBERNETES_API}%/static/charts/a.tgz'}", "images of its chart are not searched"),
        ("{chartContent: H4sI}", "images of its chart are not searched"),
    ],
)
def test_a_chart_that_is_not_read_is_told(spec: str, told: str) -> None:
    text = f"{{apiVersion: helm.cattle.io/v1, kind: HelmChart, metadata: {{name: a}}, spec: {spec}}}"
    found = walk(read_objects(text.encode(), "a.yaml"))
    assert found.helm_charts
    assert told in (*found.notes, *unsearched(found.charts))[0]
    assert [chart.path for chart in found.charts] == (["charts/a.tgz"] if "static" in spec else [])
