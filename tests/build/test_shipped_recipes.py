"""Every shipped recipe locks, builds, verifies and installs, with everything it names from a local upstream."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from bundler.cli.shipped import shipped_recipes
from bundler.model.recipe_text import recipe_text
from bundler.stages.read import read_recipe
from tests.build.workshop import ROOT, Workshop
from tests.site.bundles import Site, command_directory, make_root
from tests.upstream import Upstream, standard_content
from tests.upstream.images import standard_image
from tests.workloads.packed import chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.docker_engine import DockerEngine

SHIPPED = {path.stem: path for path in shipped_recipes()}
BUILT_BY_DOCKER = "with-app"
OTHER_IMAGES = (
    "docker.io/library/nginx:1.27-alpine",
    "docker.io/rancher/k3s-upgrade:v1.34.1-k3s1",
    "docker.io/rancher/kubectl:v1.30.3",
    "docker.io/rancher/system-upgrade-controller:v0.14.0",
    "quay.io/cilium/cilium:v1.19.8",
    "quay.io/cilium/operator-generic:v1.19.8",
)
"""What shipped recipes name beside the images of k3s."""

CILIUM = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: cilium, namespace: "{{ .Release.Namespace }}"}
spec:
  selector: {matchLabels: {k8s-app: cilium}}
  template:
    metadata: {labels: {k8s-app: cilium}}
    spec:
      containers:
        - name: cilium-agent
          image: "quay.io/cilium/cilium:v{{ .Chart.Version }}{{ if .Values.image.useDigest }}@sha256:0{{ end }}"
        {{- if .Values.envoy.enabled }}
        - {name: cilium-envoy, image: "quay.io/cilium/cilium-envoy:v1"}
        {{- end }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cilium-operator, namespace: "{{ .Release.Namespace }}"}
spec:
  replicas: {{ .Values.operator.replicas }}
  selector: {matchLabels: {name: cilium-operator}}
  template:
    metadata: {labels: {name: cilium-operator}}
    spec:
      containers:
        - {name: cilium-operator, image: "quay.io/cilium/operator-generic:v{{ .Chart.Version }}"}
"""
"""Stands in for Cilium's chart where helm is installed: what the recipe's values leave out would be missed."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    standard = standard_content()
    with Upstream(replace(standard, images=(*standard.images, *map(standard_image, OTHER_IMAGES)))) as running:
        data = chart({"templates/all.yaml": CILIUM}, name="cilium", version="1.19.8")
        entry = {"version": "1.19.8", "urls": ["cilium-1.19.8.tgz"], "digest": hashlib.sha256(data).hexdigest()}
        running.put("/charts/index.yaml", json.dumps({"apiVersion": "v1", "entries": {"cilium": [entry]}}).encode())
        running.put("/charts/cilium-1.19.8.tgz", data)
        yield running


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Workshop:
    """One cache for all recipes: they share nearly all images."""
    return Workshop(tmp_path_factory.mktemp("shipped") / "workshop", upstream)


def over(path: Path, workshop: Workshop) -> str:
    """Lay the local upstream over a shipped recipe, and nothing else but what makes it quick."""
    upstream = workshop.upstream
    releases: str | dict[str, str] = upstream.releases_url
    if read_recipe(path).sources.preset == "cn":
        releases = {"url": upstream.dashed_releases_url, "tag_style": "dash"}
    repository = {"chart_repo": {"default": f"{upstream.url}/charts"}}
    return recipe_text(
        {
            "variables": {name: each for name, each in repository.items() if name in read_recipe(path).variables},
            "extends": os.path.relpath(path, workshop.folder),
            "arch": [architecture(path)],
            "engine": "registry",
            "pack": {"level": 1},
            "sources": {
                "releases": [releases],
                "channels": upstream.channels_url,
                "registries": {"docker.io": [upstream.url], "quay.io": [upstream.url]},
            },
        }
    )


def architecture(path: Path) -> str:
    return read_recipe(path).arch[0]


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != BUILT_BY_DOCKER])
def test_a_shipped_recipe_locks_builds_verifies_and_installs(name: str, workshop: Workshop, tmp_path: Path) -> None:
    goes_all_the_way(name, workshop, tmp_path)


@pytest.mark.real
def test_the_recipe_whose_image_is_built_goes_all_the_way(
    workshop: Workshop, tmp_path: Path, docker_engine: DockerEngine
) -> None:
    with_docker = replace(workshop, environment={"DOCKER_HOST": docker_engine.host})
    goes_all_the_way(BUILT_BY_DOCKER, with_docker, tmp_path)


def goes_all_the_way(name: str, workshop: Workshop, tmp_path: Path) -> None:
    """Lock, build, verify, and install into a scratch root."""
    recipe = read_recipe(SHIPPED[name])
    workshop.recipe.write_text(over(SHIPPED[name], workshop))
    locked = workshop.run("lock", "--update", workshop.recipe, "--cache-dir", workshop.cache)
    assert locked.code == 0, locked.err
    bundle = workshop.build("--locked").path
    assert workshop.run("verify", bundle).code == 0

    facts = (bundle / "bundle.facts").read_text().splitlines()
    carried = {line.partition("=")[2] for line in facts if line.startswith("image.")}
    assert {reference.name for reference in recipe.images.references} <= carried
    assert {image.ref.name for image in recipe.images.builds} <= carried

    site = Site(
        make_root(tmp_path / "root", "openrc" if name == "alpine" else "systemd"), command_directory(tmp_path / "bin")
    )
    role = "agent" if name == "agent-only" else "server"
    environment = {"ARCH": architecture(SHIPPED[name])}
    environment |= {"K3S_URL": "https://10.0.0.11:6443", "K3S_TOKEN": "secret"} if role == "agent" else {}
    done = site.run(bundle, role, environment=environment)
    assert done.status == 0, done
    for file in recipe.files:
        placed = site.root / file.target.lstrip("/")
        assert placed.is_file() == (file.role in {"any", role})
        assert (
            file.role not in {"any", role} or placed.read_bytes() == (SHIPPED[name].parent / file.source).read_bytes()
        )
    deployed = {path.name for path in (bundle / "manifests").glob("*")}
    for manifest in deployed:
        assert (site.root / "var/lib/rancher/k3s/server/manifests" / manifest).is_file() == (role == "server")
    assert bool(deployed) == bool(recipe.manifests or recipe.charts)
    for each in recipe.charts:
        spec = yaml.safe_load((bundle / "manifests" / f"{each.name}.yaml").read_bytes())["spec"]
        assert (spec["targetNamespace"], spec.get("bootstrap", False)) == (each.namespace, each.bootstrap)
        assert {reference.name for reference in each.images or ()} <= carried
        name = spec["chart"].rpartition("/")[2]
        placed = site.root / "var/lib/rancher/k3s/server/static/charts" / name
        assert placed.read_bytes() == (bundle / "charts" / name).read_bytes()


def test_the_plans_of_the_upgrade_name_the_release_of_their_recipe() -> None:
    recipe = read_recipe(SHIPPED["upgrade"])
    plans = list(yaml.safe_load_all((SHIPPED["upgrade"].parent / "plans.yaml").read_bytes()))
    assert {plan["spec"]["version"] for plan in plans} == {recipe.release}
    images = {str(image) for image in recipe.images.references}
    assert f"docker.io/rancher/k3s-upgrade:{recipe.release.replace('+', '-')}" in images
    controller = (SHIPPED["upgrade"].parent / "system-upgrade-controller.yaml").read_text()
    (kubectl,) = (image for image in images if "/kubectl:" in image)
    assert f"SYSTEM_UPGRADE_JOB_KUBECTL_IMAGE: {kubectl}\n" in controller
    assert "Always\n" not in controller


def test_recipes_are_found_with_their_files_where_the_package_is_installed(tmp_path: Path) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert table["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {"recipes": "bundler/recipes"}
    shutil.copytree(ROOT / "bundler", tmp_path / "bundler")
    shutil.copytree(ROOT / "recipes", tmp_path / "bundler" / "recipes")
    done = subprocess.run(
        [sys.executable, "-m", "bundler", "recipes", "--json"], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}, check=True,
    )  # fmt: skip
    listed = json.loads(done.stdout)["recipes"]
    assert {each["name"] for each in listed} == set(SHIPPED)
    assert all(each["path"].startswith(f"{tmp_path}/bundler/recipes/") for each in listed)
