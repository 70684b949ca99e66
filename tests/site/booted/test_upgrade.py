"""Upgrades: the old release or the new one, never half, and back again by themselves or on request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site.booted.conftest import NEW, NEW_IMAGES, OLD, OLD_IMAGES
from tests.site.booted.hosts import STICK

if TYPE_CHECKING:
    from tests.site.booted.conftest import BootHost
    from tests.site.booted.hosts import Host

IMAGES = "/var/lib/rancher/k3s/agent/images"
INSTALLED = ("/usr/local/bin", "/etc/rancher", "/etc/systemd/system", "/etc/init.d", "/etc/logrotate.d")


UNTIL_SWITCHED = (  # an upgrade in the background, its binary switched, its service starting
    f"setsid sh {STICK}/new/install.sh --timeout 60 >/dev/null 2>&1 &"
    f" for i in $(seq 600); do /usr/local/bin/k3s --version | grep -q -F {NEW} && break; sleep 0.1; done; sleep 1;"
)


def installed(host: Host) -> dict[str, str]:
    """Return all files of an install but the kubeconfig, which k3s itself writes."""
    places = [place for place in INSTALLED if host.run("test", "-d", place).status == 0]
    return {**host.files(*places), **host.files(IMAGES)}


def release(host: Host) -> str:
    return host.shell("/usr/local/bin/k3s --version | head -n 1").split()[2]


def running_release(host: Host) -> str:
    """Return what the running process is, not what lies on the disk."""
    return host.shell("/proc/$(pgrep -xo k3s)/exe --version | head -n 1").split()[2]


def test_an_upgrade_swaps_everything_and_keeps_the_data(host: Host) -> None:
    assert host.install("old").status == 0
    host.shell("echo mine >/var/lib/rancher/k3s/storage")
    done = host.install("new")
    assert done.status == 0, str(done)
    assert (release(host), running_release(host)) == (NEW, NEW)
    assert host.is_active()
    assert set(NEW_IMAGES) <= set(host.images())
    assert host.shell("cat /var/lib/rancher/k3s/server/db/state.db").split() == [OLD, NEW]
    assert host.shell("cat /var/lib/rancher/k3s/storage") == "mine"


def test_an_upgrade_restarts_the_service_once(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    assert systemd_host.install("new").status == 0
    starts = systemd_host.shell("journalctl -u k3s --no-pager -o cat | grep -c 'STANDIN .*: starting'")
    assert starts == "2"


def test_containers_outlive_an_upgrade(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    run_container(systemd_host, "sleeper")
    before = systemd_host.processes("busybox sleep 600")
    assert len(before) == 1
    assert systemd_host.install("new").status == 0
    assert systemd_host.processes("busybox sleep 600") == before


def run_container(host: Host, name: str) -> None:
    """Start a container that sleeps, through the containerd of the stand-in; it comes back when it sleeps."""
    host.shell(CONTAINERS_ALLOWED)
    command = f"ctr -n k8s.io run -d --snapshotter native {OLD_IMAGES[0]} {name} /bin/busybox sleep 600"
    host.shell(f"/usr/local/bin/k3s {command}")
    host.shell("for i in $(seq 600); do pgrep -f '^/bin/busybox sleep' && break; sleep 0.1; done")


CONTAINERS_ALLOWED = (  # systemd-nspawn gives its host the v1 controllers read-only
    "if [ -d /sys/fs/cgroup/memory ]; then mount -o remount,rw /sys/fs/cgroup; for tree in /sys/fs/cgroup/*/; do"
    " mount -o remount,rw,bind $tree 2>/dev/null || mount -o remount,rw $tree 2>/dev/null || :; done; fi"
)


@pytest.mark.parametrize(
    ("fault", "name"),
    [("fail", "not-ready"), ("hang", "not-ready"), ("crash", "crashed"), ("noimport", "images-absent")],
)
def test_an_upgrade_that_does_not_come_up_goes_back_by_itself(systemd_host: Host, fault: str, name: str) -> None:
    goes_back(systemd_host, fault, name)


@pytest.mark.parametrize(("fault", "name"), [("fail", "not-ready"), ("hang", "not-ready")])
def test_openrc_goes_back_by_itself_too(boot_host: BootHost, fault: str, name: str) -> None:
    goes_back(boot_host("openrc"), fault, name)


def goes_back(host: Host, fault: str, name: str) -> None:
    assert host.install("old").status == 0
    before = installed(host)
    host.faults(f"{fault} {NEW} 15" if fault == "crash" else f"{fault} {NEW}")  # after the rest of the proof
    seconds = {"crash": "60", "noimport": "20"}.get(fault, "5")
    done = host.install("new", "--timeout", seconds, "--settle", "40")
    assert done.status == 7, str(done)
    assert f"error[{name}]" in done.err, str(done)
    assert installed(host) == before
    assert host.is_active()
    assert running_release(host) == OLD
    assert NEW not in host.shell("cat /var/lib/rancher/k3s/server/db/state.db")


def test_an_upgrade_that_failed_can_be_done_again(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.faults(f"hang {NEW}")
    assert systemd_host.install("new", "--timeout", "2").status == 7
    systemd_host.faults()
    done = systemd_host.install("new")
    assert done.status == 0, str(done)
    assert running_release(systemd_host) == NEW


def test_an_old_release_that_does_not_come_up_again_is_said_to_be_what_is_wrong(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.faults(f"hang {NEW}", f"fail {OLD}")
    done = systemd_host.install("new", "--timeout", "5")
    assert (done.status, "everything is put back, but k3s does not come up" in done.err) == (8, True), str(done)
    assert "told to fail" in done.err
    systemd_host.faults()
    assert systemd_host.run("sh", f"{STICK}/new/install.sh", "--rollback").status == 0
    assert running_release(systemd_host) == OLD


def test_an_upgrade_knows_the_name_the_node_was_given(systemd_host: Host) -> None:
    assert systemd_host.install("old", K3S_NODE_NAME="of-its-own").status == 0
    done = systemd_host.install("new", "--timeout", "15")
    assert done.status == 0, str(done)


def test_rollback_on_request_brings_the_old_release_and_its_data_back(host: Host) -> None:
    assert host.install("old").status == 0
    before = installed(host)
    assert host.install("new").status == 0
    done = host.run("sh", f"{STICK}/new/install.sh", "--rollback")
    assert done.status == 0, str(done)
    assert installed(host) == before
    assert host.is_active()
    assert running_release(host) == OLD
    again = host.run("sh", f"{STICK}/new/install.sh", "--rollback")
    assert (again.status, "error[nothing-to-roll-back]" in again.err) == (2, True), str(again)
    assert running_release(host) == OLD


def test_a_damaged_backup_is_not_gone_back_to(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    assert systemd_host.install("new").status == 0
    systemd_host.shell("f=$(find /var/lib/k3s-bundler/k3s/previous -size +500k | head -n 1); printf x >>$f")
    before = installed(systemd_host)
    done = systemd_host.run("sh", f"{STICK}/new/install.sh", "--rollback")
    assert (done.status, "error[backup-damaged]" in done.err) == (4, True), str(done)
    assert installed(systemd_host) == before
    assert running_release(systemd_host) == NEW


def test_a_downgrade_is_refused(systemd_host: Host) -> None:
    assert systemd_host.install("new").status == 0
    done = systemd_host.install("old")
    assert (done.status, "error[downgrade]" in done.err) == (5, True), str(done)
    assert running_release(systemd_host) == NEW


def test_a_kill_in_the_middle_of_an_upgrade_is_made_good_by_the_next_run(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.faults(f"hang {NEW}")
    systemd_host.shell(UNTIL_SWITCHED + "kill -9 -$!")
    status = systemd_host.run("sh", f"{STICK}/new/install.sh", "--status")
    assert (status.status, "unfinished" in status.err) == (10, True), str(status)
    systemd_host.faults()
    done = systemd_host.install("new")
    assert done.status == 0, str(done)
    assert running_release(systemd_host) == NEW
    assert systemd_host.run("sh", f"{STICK}/new/install.sh", "--status").status == 0


def test_a_crash_of_the_whole_host_in_an_upgrade_is_made_good_by_the_next_run(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.faults(f"hang {NEW}")
    systemd_host.shell(UNTIL_SWITCHED)
    systemd_host.faults()
    systemd_host.cycle(crash=True)
    done = systemd_host.install("new")
    assert done.status == 0, str(done)
    assert running_release(systemd_host) == NEW


def test_a_drop_in_is_respected(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.write("/etc/systemd/system/k3s.service.d/mine.conf", "[Service]\nNice=3\n")
    assert systemd_host.install("new").status == 0
    assert systemd_host.shell("systemctl show -P Nice k3s") == "3"


def test_an_edited_unit_is_reported_by_status(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    assert systemd_host.run("sh", f"{STICK}/old/install.sh", "--status").status == 0
    systemd_host.shell("echo '# mine' >>/etc/systemd/system/k3s.service")
    status = systemd_host.run("sh", f"{STICK}/old/install.sh", "--status")
    assert (status.status, "/etc/systemd/system/k3s.service" in status.err) == (10, True), str(status)
