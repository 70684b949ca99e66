"""The image archive of a bundle is imported by a real containerd, and containers run from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.booted.conftest import DIGEST_NAMES, NEW_IMAGES, OLD, OLD_IMAGES
from tests.site.booted.test_upgrade import CONTAINERS_ALLOWED

if TYPE_CHECKING:
    from tests.site.booted.hosts import Host


@pytest.mark.parametrize("snapshotter", ["overlayfs", "native"])
def test_a_container_runs_from_every_imported_image(systemd_host: Host, snapshotter: str) -> None:
    done = systemd_host.install("old", "server", "--snapshotter", snapshotter)
    assert done.status == 0, str(done)
    systemd_host.shell(CONTAINERS_ALLOWED)
    for number, image in enumerate(OLD_IMAGES):
        command = f"/usr/local/bin/k3s ctr -n k8s.io run --rm --snapshotter {snapshotter} {image} c{number}"
        assert systemd_host.shell(command) == f"this is {image}"


def test_a_docker_site_gets_its_images_through_the_daemon(systemd_host: Host) -> None:
    """A recorder stands for docker: it shows the images of the archives it was given."""
    shown = " ".join(image.removeprefix("docker.io/") for image in OLD_IMAGES)
    recorder = (
        '#!/bin/sh\necho "$*" >>/opt/docker-calls\n'
        f"[ \"$1 $2\" != 'image ls' ] || printf '%s\\n' {shown}\ncat >/dev/null\n"
    )
    systemd_host.write("/usr/bin/docker", recorder, 0o755)
    done = systemd_host.install("old", "server", "--docker")
    assert done.status == 0, str(done)
    assert any(line.startswith("load") for line in systemd_host.shell("cat /opt/docker-calls").splitlines())
    assert systemd_host.run("test", "-e", "/var/lib/rancher/k3s/agent/images").status == 1


def test_a_container_runs_from_an_image_by_the_digest_its_registry_had(systemd_host: Host) -> None:
    done = systemd_host.install("carrying", "server", "--digest-names")
    assert done.status == 0, str(done)
    assert systemd_host.images() == sorted((*OLD_IMAGES, *DIGEST_NAMES))
    systemd_host.shell(CONTAINERS_ALLOWED)
    for number, (image, name) in enumerate(zip(OLD_IMAGES, DIGEST_NAMES, strict=True)):
        command = f"/usr/local/bin/k3s ctr -n k8s.io run --rm {name} d{number}"
        assert systemd_host.shell(command) == f"this is {image}"


def test_names_by_digest_are_given_again_where_they_are_missing_and_without_a_restart(systemd_host: Host) -> None:
    assert systemd_host.install("carrying", "--digest-names").status == 0
    process = systemd_host.shell("systemctl show -P MainPID k3s")
    systemd_host.shell(f"/usr/local/bin/k3s ctr -n k8s.io images rm {DIGEST_NAMES[0]}")
    done = systemd_host.install("carrying")
    assert (done.status, "nothing was changed" in done.out) == (0, True), str(done)
    assert set(DIGEST_NAMES) <= set(systemd_host.images())
    assert systemd_host.shell("systemctl show -P MainPID k3s") == process


def test_without_the_option_there_are_no_names_by_digest(systemd_host: Host) -> None:
    assert systemd_host.install("carrying").status == 0
    assert systemd_host.images() == sorted(OLD_IMAGES)


def test_images_only_waits_until_a_running_k3s_has_them(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    process = systemd_host.shell("systemctl show -P MainPID k3s")
    done = systemd_host.install("newer", "--images-only")
    assert done.status == 0, str(done)
    assert set(NEW_IMAGES) <= set(systemd_host.images())
    assert systemd_host.shell("systemctl show -P MainPID k3s") == process


def test_images_only_that_are_not_imported_go_again_and_the_service_is_let_run(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    process = systemd_host.shell("systemctl show -P MainPID k3s")
    systemd_host.faults(f"noimport {OLD}")
    before = systemd_host.shell("ls /var/lib/rancher/k3s/agent/images")
    done = systemd_host.install("newer", "--images-only", "--timeout", "5")
    assert (done.status, "error[images-absent]" in done.err) == (7, True), str(done)
    assert systemd_host.shell("ls /var/lib/rancher/k3s/agent/images") == before
    assert systemd_host.shell("systemctl show -P MainPID k3s") == process


def test_images_only_says_that_a_release_before_2025_must_start_again(systemd_host: Host) -> None:
    assert systemd_host.install("unwatched").status == 0
    done = systemd_host.install("newer", "--images-only", "--timeout", "5")
    assert (done.status, "warning[restart-needed]: k3s v1.31.4+k3s1" in done.err) == (0, True), str(done)
    assert not set(NEW_IMAGES) <= set(systemd_host.images())
    systemd_host.shell("systemctl restart k3s")
    assert set(NEW_IMAGES) <= set(systemd_host.images())


def test_files_of_the_recipe_are_in_place_and_in_force_before_k3s_starts(systemd_host: Host) -> None:
    before = systemd_host.changes()
    systemd_host.shell("echo 0 >/proc/sys/net/ipv4/ip_forward")
    asked = systemd_host.install("carrying", "--dry-run", "--digest-names")
    assert "apply /etc/sysctl.d/90-site.conf to the running kernel" in asked.out.splitlines()
    assert f"name {OLD_IMAGES[0]} {DIGEST_NAMES[0]} too" in asked.out.splitlines()
    done = systemd_host.install("carrying")
    assert done.status == 0, str(done)
    assert systemd_host.shell("cat /proc/sys/net/ipv4/ip_forward") == "1"
    assert done.err.count("warning[module-missing]") == 2, str(done)  # by the check, and when it was to be loaded
    assert "absent_module" in done.err
    assert systemd_host.shell("cat /etc/ssl/site-ca.pem") == "certificate"
    template = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl"
    assert systemd_host.shell(f"stat -c %a {template}") == "600"
    assert systemd_host.uninstall().status == 0
    assert systemd_host.changes() == before
