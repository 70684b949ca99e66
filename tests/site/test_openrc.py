"""Installs on hosts that OpenRC really booted; also with busybox as the shell and every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.conftest import require
from tests.site.hosts import HOST_PACKAGES, OpenRCHost, cgroups_as_before
from tests.site.standins import IMAGE, standin_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.site

QUICK = ("--settle", "2", "--timeout", "60")
OLD, NEW = "v1.34.1+k3s1", "v1.35.0+k3s1"
BUSYBOX_PATH = "/usr/local/bin:/opt/busybox:/usr/sbin:/sbin:/usr/bin:/bin"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[OpenRCHost]:
    require(*HOST_PACKAGES, root=True)
    with cgroups_as_before(), OpenRCHost(tmp_path / "host") as booted:
        yield booted


@pytest.fixture(params=["debian", "busybox"])
def commands(request: pytest.FixtureRequest, host: OpenRCHost) -> tuple[str, ...]:
    """Return how a shell is called: Debian's own, or busybox ash with busybox applets before everything else."""
    if request.param == "debian":
        return ("sh",)
    host.check("sh", "-c", "mkdir /opt/busybox && busybox --install -s /opt/busybox && ln -sf /bin/busybox /bin/sh")
    return ("env", f"PATH={BUSYBOX_PATH}", "/bin/busybox", "sh")


def main_process(host: OpenRCHost) -> str:
    return host.check("pgrep", "-f", "^/usr/local/bin/k3s server")


def test_a_server_is_supervised_and_removed_without_a_trace(
    host: OpenRCHost, commands: tuple[str, ...], tmp_path: Path
) -> None:
    installer = host.put(standin_bundle(tmp_path / "bundle", OLD))
    done = host.run(
        *commands, installer, "server", "--node-label=a=b c'd", *QUICK, environment={"K3S_TOKEN": "a 'b\" $c"}
    )
    assert done.status == 0, done
    assert "k3s" in host.check("rc-update", "show", "default")
    assert host.run("rc-service", "k3s", "status").status == 0
    assert host.check("k3s", "ctr", "-n", "k8s.io", "images", "ls", "-q") == IMAGE
    process = main_process(host)
    assert host.check("cat", f"/proc/{process}/cmdline").split("\0")[1:3] == ["server", "--node-label=a=b c'd"]
    assert "K3S_TOKEN=a 'b\" $c\0" in host.check("cat", f"/proc/{process}/environ")
    assert "STANDIN" in host.check("cat", "/var/log/k3s.log")
    assert "nothing was changed" in host.run(*commands, installer).out
    assert main_process(host) == process

    host.check("kill", "-9", process)
    host.wait(lambda: host.run("pgrep", "-f", "^/usr/local/bin/k3s server").out.strip() not in {"", process}, 15)

    assert host.run(*commands, "/usr/local/bin/k3s-uninstall.sh").status == 0
    for path in ("/etc/init.d/k3s", "/etc/rancher", "/usr/local/bin/k3s", "/var/lib/rancher", "/var/lib/k3s-bundler"):
        assert host.run("test", "-e", path).status != 0, path
    assert "containerd" not in host.check("ps", "axo", "args")


def test_a_release_that_does_not_come_up_is_undone(host: OpenRCHost, commands: tuple[str, ...], tmp_path: Path) -> None:
    assert host.run(*commands, host.put(standin_bundle(tmp_path / "old", OLD)), "server", *QUICK).status == 0
    host.check("sh", "-c", f"echo STANDIN_FAIL={NEW} >/etc/environment")
    done = host.run(
        *commands, host.put(standin_bundle(tmp_path / "new", NEW), "new"), "--settle", "2", "--timeout", "10"
    )
    assert (done.status, "error[not-ready]" in done.err) == (7, True), done
    assert OLD in host.check("k3s", "--version")
    assert host.run("rc-service", "k3s", "status").status == 0
