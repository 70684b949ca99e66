"""killall and uninstall: nothing of k3s is left, nothing of anybody else is touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.site.booted.conftest import OLD_IMAGES
from tests.site.booted.hosts import STICK
from tests.site.booted.test_upgrade import CONTAINERS_ALLOWED, run_container

if TYPE_CHECKING:
    from tests.site.booted.hosts import Host


def units(host: Host) -> str:
    return host.shell("systemctl list-units --all --no-legend 'k3s*'")


def test_uninstall_leaves_the_host_as_it_was(host: Host) -> None:
    before = host.changes()
    assert host.install("old").status == 0
    done = host.run("/usr/local/bin/k3s-uninstall.sh")
    assert done.status == 0, str(done)
    assert host.changes() == before
    assert host.shell("ls -A /var/lib/rancher") == ""
    assert host.processes("k3s|containerd") == []
    assert host.run("sh", f"{STICK}/old/install.sh", "--status").status == 9
    assert host.shell("find /var/lib/k3s-bundler -type f 2>/dev/null || :") == ""
    assert host.run("sh", f"{STICK}/old/install.sh", "--uninstall").status == 9


def test_uninstall_keeps_the_data_on_request_and_an_install_finds_it_again(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    assert systemd_host.run("sh", f"{STICK}/old/install.sh", "--uninstall", "--keep-data").status == 0
    assert systemd_host.run("test", "-e", "/usr/local/bin/k3s").status == 1
    assert systemd_host.install("old").status == 0
    assert len(systemd_host.shell("cat /var/lib/rancher/k3s/server/db/state.db").split()) == 2


def test_uninstall_never_deletes_what_is_mounted_below_the_data_directory(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.shell("mkdir -p /var/lib/rancher/k3s/storage/pv /srv/nas; echo precious >/srv/nas/file")
    systemd_host.shell("mount --bind /srv/nas /var/lib/rancher/k3s/storage/pv")
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    assert systemd_host.shell("cat /srv/nas/file") == "precious"
    assert systemd_host.shell("find /var/lib/rancher/k3s -xdev -type f") == ""


def test_uninstall_finishes_though_parts_are_missing_already(systemd_host: Host) -> None:
    before = systemd_host.changes()
    assert systemd_host.install("old").status == 0
    systemd_host.shell("rm /etc/systemd/system/k3s.service /usr/local/bin/kubectl /usr/local/bin/k3s-killall.sh")
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    assert systemd_host.changes() == before


def test_uninstall_that_is_killed_is_finished_by_the_next(systemd_host: Host) -> None:
    before = systemd_host.changes()
    assert systemd_host.install("old").status == 0
    for delay in ("0.05", "0.2", "0.4", "0.8"):
        systemd_host.run("sh", "-c", f"setsid sh {STICK}/old/install.sh --uninstall & sleep {delay}; kill -9 -$!")
    done = systemd_host.run("sh", f"{STICK}/old/install.sh", "--uninstall")
    assert done.status in {0, 9}, str(done)
    assert systemd_host.changes() == before


def test_killall_ends_containers_and_mounts_and_keeps_the_data(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    run_container(systemd_host, "sleeper")
    systemd_host.shell("ip link add cni0 type bridge; ip link add veth0 type veth peer name veth1")
    systemd_host.shell("ip link set veth0 master cni0")
    done = systemd_host.run("/usr/local/bin/k3s-killall.sh")
    assert done.status == 0, str(done)
    assert systemd_host.processes("busybox sleep|containerd|k3s server") == []
    assert "/run/k3s" not in systemd_host.shell("cat /proc/self/mounts")
    assert "cni0" not in systemd_host.shell("ip -o link")
    assert "veth0" not in systemd_host.shell("ip -o link")
    assert systemd_host.run("test", "-s", "/var/lib/rancher/k3s/server/db/state.db").status == 0
    assert systemd_host.run("/usr/local/bin/k3s-killall.sh").status == 0
    assert systemd_host.install("old").status == 0
    assert systemd_host.images() == sorted(OLD_IMAGES)


def test_killall_and_uninstall_leave_another_containerd_alone(systemd_host: Host) -> None:
    systemd_host.shell(CONTAINERS_ALLOWED)
    systemd_host.shell(
        "mkdir -p /srv/other; mount -t tmpfs none /srv/other; cd /srv/other; cp /opt/standin/bin/* .;"
        "PATH=/srv/other:$PATH setsid ./containerd --root /srv/other/root --state /run/other --address /run/other.sock"
        " >/srv/other/log 2>&1 & for i in $(seq 600); do [ -S /run/other.sock ] && break; sleep 0.1; done"
    )
    other = systemd_host.processes("/run/other.sock")
    assert len(other) == 1
    assert systemd_host.install("old", "--force", "containerd-present").status == 0
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    assert systemd_host.processes("/run/other.sock") == other


FREEZER = "/run/freezer"  # of cgroup v1: a process in it does not die, as one that waits for a disk does not


def freeze_containerd(host: Host) -> str:
    """Let containerd receive signals and not die; returns its process number."""
    host.shell(
        f"mkdir {FREEZER}; mount -t cgroup -o freezer freezer {FREEZER};"
        f"mkdir {FREEZER}/k3s-test; cd {FREEZER}/k3s-test;"
        "pgrep -xo containerd >/run/held; cat /run/held >cgroup.procs; echo FROZEN >freezer.state;"
        "until grep -q FROZEN freezer.state; do sleep 0.1; done"
    )
    return host.shell("cat /run/held")


def remove_freezer(host: Host, held: str) -> None:
    host.shell(
        f"cd {FREEZER}/k3s-test; echo THAWED >freezer.state; while [ -e /proc/{held}/exe ]; do sleep 0.1; done; cd /;"
        f"until rmdir {FREEZER}/k3s-test; do sleep 0.1; done; umount {FREEZER}"
    )


def test_uninstall_waits_for_what_it_killed(systemd_host: Host) -> None:
    """A process that is still dying holds its unit's cgroup, and systemd then goes on listing the removed unit."""
    assert systemd_host.install("old").status == 0
    held = freeze_containerd(systemd_host)
    was_killed = f"grep -q '^S[a-z]*Pnd:.*[13579bdf]..$' /proc/{held}/status"  # signal 9 is the ninth bit
    systemd_host.write(
        "/run/thaw.sh",
        f"until {was_killed}; do sleep 0.1; done; sleep 3\n"
        f"[ ! -e /etc/systemd/system/k3s.service ] || : >/run/waited; echo THAWED >{FREEZER}/k3s-test/freezer.state\n",
    )
    systemd_host.shell("setsid sh /run/thaw.sh >/dev/null 2>&1 &")
    done = systemd_host.uninstall()
    assert done.status == 0, str(done)
    assert systemd_host.run("test", "-e", "/run/waited").status == 0, "it went on before the killed process was gone"
    assert units(systemd_host) == ""
    remove_freezer(systemd_host, held)


def test_uninstall_says_what_cannot_be_killed(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    held = freeze_containerd(systemd_host)
    done = systemd_host.uninstall()
    assert done.status == 0, str(done)
    assert f"warning[process-stays]: killed processes do not end: {held}" in done.err
    remove_freezer(systemd_host, held)


def test_uninstall_forgets_a_unit_that_failed(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.write("/run/systemd/system/k3s.service.d/once.conf", "[Service]\nRestart=no\n")
    systemd_host.shell("systemctl daemon-reload; systemctl kill --signal KILL --kill-who main k3s")
    systemd_host.shell("until systemctl is-failed k3s; do sleep 0.1; done; rm -r /run/systemd/system/k3s.service.d")
    done = systemd_host.uninstall()
    assert done.status == 0, str(done)
    assert units(systemd_host) == ""


def test_many_installs_and_removals_leave_no_growth(systemd_host: Host) -> None:
    def counts() -> list[int]:
        counted = "grep -c . /proc/self/mounts; ls -d /proc/[0-9]* | wc -l"
        return [*map(int, systemd_host.shell(counted).split()), len(systemd_host.changes())]

    assert systemd_host.install("old").status == 0
    assert systemd_host.uninstall().status == 0
    first = counts()
    for _ in range(3):
        assert systemd_host.install("old", "--settle", "0").status == 0
        assert systemd_host.uninstall().status == 0
        assert units(systemd_host) == ""
    last: list[int] = []
    for _ in range(100):  # processes of the host itself come and go
        last = counts()
        if all(now <= before for now, before in zip(last, first, strict=True)):
            return
        time.sleep(0.5)
    raise AssertionError((last, first))
