"""killall and uninstall: nothing of k3s is left, nothing of anybody else is touched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.site.booted.conftest import OLD_IMAGES
from tests.site.booted.hosts import STICK
from tests.site.booted.test_upgrade import CONTAINERS_ALLOWED, run_container

if TYPE_CHECKING:
    from tests.site.booted.hosts import Host


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
        " >/srv/other/log 2>&1 & for i in $(seq 100); do [ -S /run/other.sock ] && break; sleep 0.1; done"
    )
    other = systemd_host.processes("/run/other.sock")
    assert len(other) == 1
    assert systemd_host.install("old", "--force", "containerd-present").status == 0
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    assert systemd_host.processes("/run/other.sock") == other


def test_many_installs_and_removals_leave_no_growth(systemd_host: Host) -> None:
    def counts() -> list[int]:
        units = "systemctl list-units --all --no-legend 'k3s*' | wc -l"
        counted = f"grep -c . /proc/self/mounts; ls -d /proc/[0-9]* | wc -l; {units}"
        return [*map(int, systemd_host.shell(counted).split()), len(systemd_host.changes())]

    assert systemd_host.install("old").status == 0
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    first = counts()
    for _ in range(3):
        assert systemd_host.install("old", "--settle", "0").status == 0
        assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    # systemd forgets a removed unit, and the kernel a dead process, in their own time.
    last: list[int] = []
    for _ in range(20):
        last = counts()
        if all(now <= before for now, before in zip(last, first, strict=True)):
            return
        time.sleep(0.5)
    raise AssertionError((last, first))
