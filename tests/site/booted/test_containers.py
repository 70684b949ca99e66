"""The image archive of a bundle is imported by a real containerd, and containers run from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.booted.conftest import OLD_IMAGES
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
