"""Booted hosts as fixtures, and a stick with bundles whose k3s is the stand-in.

Hosts need root and a few Debian packages, which are installed where that is possible. Elsewhere these tests are skipped
with the reason; under CI=true they fail instead.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.real.packages import PackagesUnavailableError, install
from tests.site.booted.bases import BaseUnavailableError, Init, base
from tests.site.booted.hosts import Host, boot
from tests.site.booted.policy import PACKAGE, policy_package
from tests.site.booted.standin import image_archive, standin
from tests.site.bundles import BundleSpec, build_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    BootHost = Callable[..., Host]

PACKAGES = ("busybox-static", "gcc", "libc6-dev", "mmdebstrap", "rpm", "systemd-container")
OLD, NEW = "v1.34.1+k3s1", "v1.35.0+k3s1"
OLD_IMAGES = ("docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-coredns-coredns:1.12.3")
NEW_IMAGES = ("docker.io/rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-coredns-coredns:1.13.1")

CARRIED = {
    "files/modules.conf": b"# needed by none\nabsent_module # nowhere\n",
    "files/sysctl.conf": b"net.ipv4.ip_forward = 1\n",
    "files/ca.pem": b"certificate\n",
    "files/template": b'{{ template "base" . }}\n',
}
DIGEST_NAMES = tuple(f"{image.rpartition(':')[0]}@sha256:{number:064x}" for number, image in enumerate(OLD_IMAGES))
CARRIED_FACTS = (
    "file=644 any files/modules.conf /etc/modules-load.d/site.conf",
    "file=644 any files/sysctl.conf /etc/sysctl.d/90-site.conf",
    "file=644 any files/ca.pem /etc/ssl/site-ca.pem",
    "file=600 any files/template data-dir/agent/etc/containerd/config-v3.toml.tmpl",
    *(f"digest.amd64={image} {name}" for image, name in zip(OLD_IMAGES, DIGEST_NAMES, strict=True)),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here boots something: it is run by make test-site."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("site")


def unavailable(reason: str) -> NoReturn:
    """Skip with `reason`; under CI=true that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def host_packages() -> None:
    if os.geteuid() != 0:
        unavailable("hosts are booted by root only")
    try:
        install(PACKAGES, print)
    except PackagesUnavailableError as error:
        unavailable(str(error))


@pytest.fixture(scope="session")
def stick(host_packages: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold bundles.

    `old` and `new` are two releases one minor apart, `carrying` has files for places of their own and image digests,
    `newer` is `old` with images of `new`, `unwatched` a release that imports images when it starts only,
    `policy` has a package of SELinux's policy, `unfit-policy` one that needs another, `lacking` promises an image it
    does not carry.
    """
    work = tmp_path_factory.mktemp("standin")
    media = tmp_path_factory.mktemp("stick")
    media.chmod(0o755)  # anybody may read a stick
    old = BundleSpec(
        release=OLD,
        images=OLD_IMAGES,
        archives={"k3s-airgap-images": image_archive(OLD_IMAGES)},
        binaries={"amd64": standin(work, OLD)},
        config='write-kubeconfig-mode: "0600"\n',
        registries='mirrors:\n  "docker.io":\n    endpoint:\n      - "https://registry.site:5000"\n',
    )
    new = replace(
        old,
        release=NEW,
        images=NEW_IMAGES,
        archives={"k3s-airgap-images": image_archive(NEW_IMAGES)},
        binaries={"amd64": standin(work, NEW)},
    )
    build_bundle(media / "old", old)
    build_bundle(media / "new", new)
    build_bundle(media / "newer", replace(old, images=NEW_IMAGES, archives={"newer": image_archive(NEW_IMAGES)}))
    unwatched = "v1.31.4+k3s1"
    build_bundle(media / "unwatched", replace(old, release=unwatched, binaries={"amd64": standin(work, unwatched)}))
    build_bundle(media / "carrying", replace(old, extra=CARRIED, facts=CARRIED_FACTS))
    build_bundle(media / "policy", replace(old, extra={PACKAGE: policy_package(work / "rpm")}))
    unfit = policy_package(work / "unfit", "container-selinux")
    build_bundle(media / "unfit-policy", replace(old, extra={PACKAGE: unfit}))
    build_bundle(media / "lacking", replace(old, images=(*OLD_IMAGES, "docker.io/rancher/absent:1")))
    return media


@pytest.fixture
def boot_host(stick: Path, tmp_path: Path) -> Iterator[BootHost]:
    """Boot hosts that are gone when the test ends: `boot_host("systemd", "--bind-ro=...")`."""
    hosts: list[Host] = []

    def start(init: Init, *arguments: str) -> Host:
        try:
            root = base(init)
        except BaseUnavailableError as error:
            unavailable(str(error))
        hosts.append(boot(init, root, tmp_path / f"host{len(hosts)}", stick, *arguments))
        return hosts[-1]

    yield start
    for host in hosts:
        host.down()


@pytest.fixture
def systemd_host(boot_host: BootHost) -> Host:
    return boot_host("systemd")


@pytest.fixture(params=["systemd", "openrc"])
def host(request: pytest.FixtureRequest, boot_host: BootHost) -> Host:
    """Run the test once on each init system."""
    return boot_host(request.param)
