"""registries.yaml as it is emitted, loaded by a real containerd, which pulls from a real registry by it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml

from bundler.engines.secrets import Secrets
from bundler.progress import Silent
from bundler.site.told import told_by
from bundler.stages.carry import carry
from bundler.stages.read import parse_recipe
from bundler.stages.secrets import read_secrets
from bundler.store.store import open_store
from tests.real.node_containerd import NodeContainerd, PullError
from tests.real.publish import publish
from tests.real.registry import Login, Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.authority import Authority
    from tests.real.images import ImageSet

pytestmark = pytest.mark.requires("containerd", "runc", "docker-registry", "apache2-utils")

PASSWORD = "correct horse"
IMAGE = "docker.io/rancher/mirrored-pause:3.6"
HEAD = "version: 1\nname: edge\nrelease: v1.34.1+k3s1\narch: [amd64]\nsite:\n"


@pytest.fixture
def private(tmp_path: Path, images: ImageSet, authority: Authority) -> Iterator[Registry]:
    """A registry that speaks TLS under an authority of its own, and only to users."""
    directory = tmp_path / "registry"
    directory.mkdir()
    with Registry(directory, login=Login("puller", PASSWORD), authority=authority) as registry:
        publish(registry, [image for image in images.k3s if image.reference == IMAGE])
        yield registry


@contextmanager
def node(tmp_path: Path, recipe_text: str, ca: Path | None = None) -> Iterator[NodeContainerd]:
    """Do with a recipe what the build and the installer do, below a root of our own, and start containerd there."""
    folder, root, directory = tmp_path / "recipe", tmp_path / "root", tmp_path / "containerd"
    for each in (folder, root, directory):
        each.mkdir()
    if ca:
        (folder / "ca.pem").write_bytes(ca.read_bytes())
    recipe, store = parse_recipe((HEAD + recipe_text).encode(), "edge.yaml"), open_store(tmp_path / "cache")
    for file in carry(recipe, folder, store):
        placed = root / str(file.target).lstrip("/")
        placed.parent.mkdir(parents=True, exist_ok=True)
        placed.write_bytes(store.read(file.digest))
    files = told_by(recipe, read_secrets(recipe, Secrets(folder, {"REGISTRY_PASSWORD": PASSWORD}), Silent())).files
    config = yaml.safe_load(files["etc/config.yaml"])
    with NodeContainerd(directory, files["etc/registries.yaml"], config, root) as running:
        yield running


MIRROR = """\
  registries:
    mirrors:
      docker.io: {{endpoint: ["{url}"]}}
    configs:
      "{host}":
        auth: {{username: puller, password: {password}}}
        tls: {{ca_file: ./ca.pem}}
"""


def test_a_mirror_with_an_account_and_an_authority_of_its_own_gives_the_image(
    tmp_path: Path, private: Registry, authority: Authority
) -> None:
    text = MIRROR.format(url=private.url, host=private.host, password="{env: REGISTRY_PASSWORD}")
    with node(tmp_path, text, authority.ca) as containerd:
        containerd.pull(IMAGE)
        assert IMAGE in containerd.image_names()


def test_an_account_that_is_asked_for_at_the_site_is_no_account_yet(
    tmp_path: Path, private: Registry, authority: Authority
) -> None:
    text = MIRROR.format(url=private.url, host=private.host, password="{ask: true}") + (
        "  config: {disable-default-registry-endpoint: true}\n"
    )
    with node(tmp_path, text, authority.ca) as containerd, pytest.raises(PullError, match=r"401|authorization"):
        containerd.pull(IMAGE)


def test_without_the_authority_the_mirror_is_not_believed(tmp_path: Path, private: Registry) -> None:
    text = MIRROR.format(url=private.url, host=private.host, password="{env: REGISTRY_PASSWORD}").replace(
        "tls: {ca_file: ./ca.pem}", "tls: {insecure_skip_verify: false, ca_file: /absent/ca.pem}"
    )
    with node(tmp_path, text) as containerd, pytest.raises(PullError):
        containerd.pull(IMAGE)


def test_preset_private_takes_every_image_from_one_registry(
    tmp_path: Path, private: Registry, authority: Authority
) -> None:
    text = (
        f'  registries:\n    preset: private\n    host: "{private.host}"\n    configs:\n      "{private.host}":\n'
        "        auth: {username: puller, password: {env: REGISTRY_PASSWORD}}\n        tls: {ca_file: ./ca.pem}\n"
    )
    with node(tmp_path, text, authority.ca) as containerd:
        for registry in ("docker.io", "quay.io", private.host):
            containerd.pull(IMAGE.replace("docker.io", registry))
        with pytest.raises(PullError):
            containerd.pull("quay.io/absent/app:1")


@pytest.mark.parametrize("reference", ["docker.io/library/absent:1", "registry.example:5000/app:1"])
def test_preset_offline_sends_every_pull_where_nobody_answers(tmp_path: Path, reference: str) -> None:
    with node(tmp_path, "  registries: {preset: offline}\n") as containerd:
        with pytest.raises(PullError, match=r"127\.0\.0\.1:1.*connection refused"):
            containerd.pull(reference)
        hosts = (containerd.directory / "certs.d/_default/hosts.toml").read_text()
        assert "server" not in hosts  # so k3s's containerd asks nobody else
