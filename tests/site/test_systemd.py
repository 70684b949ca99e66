"""Installs on hosts that systemd really booted, with a stand-in k3s that imports through a real containerd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.site.conftest import require
from tests.site.hosts import HOST_PACKAGES, SystemdHost, cgroups_as_before
from tests.site.standins import IMAGE, OTHER_IMAGE, image_archive, standin_bundle

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.site

QUICK = ("--settle", "2", "--timeout", "60")
Boot = Callable[..., SystemdHost]
OLD, NEW = "v1.34.1+k3s1", "v1.35.0+k3s1"


@pytest.fixture
def boot(tmp_path: Path) -> Iterator[Boot]:
    """Boot systemd hosts; they end with the test."""
    require(*HOST_PACKAGES, root=True)
    hosts: list[SystemdHost] = []

    def start(**options: object) -> SystemdHost:
        host = SystemdHost(tmp_path / f"host{len(hosts)}", **options)  # type: ignore[arg-type]
        hosts.append(host)
        return host.__enter__()

    with cgroups_as_before():
        yield start
        for host in hosts:
            host.__exit__()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return standin_bundle(tmp_path / "old", OLD)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    archives = {"k3s-airgap-images": image_archive(IMAGE), "edge-images": image_archive(OTHER_IMAGE)}
    return standin_bundle(tmp_path / "new", NEW, images=(IMAGE, OTHER_IMAGE), archives=archives)


def show(host: SystemdHost, name: str, service: str = "k3s") -> str:
    return host.check("systemctl", "show", "-p", name, "--value", service)


def tree(host: SystemdHost) -> set[str]:
    listing = host.check("find", "/etc", "/usr", "/var", "/opt", "/root", "-not", "-path", "/var/log/*")
    return {line for line in listing.splitlines() if not line.startswith(("/var/lib/systemd", "/var/tmp"))}


def test_a_server_comes_up_stays_up_and_is_removed_without_a_trace(boot: Boot, old: Path) -> None:
    host = boot()
    before = tree(host)
    installer = host.put(old)
    done = host.run("sh", installer, "server", "--disable", "traefik", *QUICK)
    assert done.status == 0, done
    assert host.check("systemctl", "is-enabled", "k3s") == "enabled"
    assert (show(host, "ActiveState"), show(host, "NRestarts")) == ("active", "0")
    assert host.check("k3s", "ctr", "-n", "k8s.io", "images", "ls", "-q") == IMAGE
    process = show(host, "MainPID")

    again = host.run("sh", installer, "server", "--disable", "traefik", *QUICK)
    assert (again.status, "nothing was changed" in again.out) == (0, True)
    assert show(host, "MainPID") == process
    assert host.run("sh", installer, "--status").status == 0

    host.halt()
    host.boot()
    host.wait(lambda: show(host, "ActiveState") == "active", 20)
    host.halt(crash=True)
    host.boot()
    host.wait(lambda: show(host, "ActiveState") == "active", 20)

    assert host.run("k3s-uninstall.sh").status == 0
    assert tree(host) == before
    assert "containerd" not in host.check("ps", "axo", "args")
    assert host.run("systemctl", "cat", "k3s").status != 0


def test_an_agents_token_stands_nowhere_but_in_its_environment_file(boot: Boot, old: Path) -> None:
    host = boot()
    done = host.run(
        "sh", host.put(old), *QUICK, environment={"K3S_URL": "https://10.0.0.1:6443", "K3S_TOKEN": "sEcReT-token"}
    )
    assert done.status == 0, done
    assert host.check("stat", "-c", "%a %U", "/etc/systemd/system/k3s-agent.service.env") == "600 root"
    seen = done.out + done.err + host.check("ps", "axo", "args")
    seen += host.check("systemctl", "show", "k3s-agent") + host.check("systemctl", "cat", "k3s-agent")
    seen += host.check("cat", "/var/log/k3s-bundler.log", "/var/lib/k3s-bundler/k3s-agent/receipt")
    assert "sEcReT" not in seen
    process = show(host, "MainPID", "k3s-agent")
    assert "K3S_TOKEN=sEcReT-token" in host.check("cat", f"/proc/{process}/environ")
    assert host.run("k3s-agent-uninstall.sh").status == 0


def test_no_value_of_the_environment_file_is_changed_by_systemd(boot: Boot, old: Path) -> None:
    host = boot()
    value = "a 'b' \"c\" $HOME `id` \\n % #x"
    assert host.run("sh", host.put(old), *QUICK, environment={"K3S_TOKEN": value}).status == 0
    environ = host.check("cat", f"/proc/{show(host, 'MainPID')}/environ")
    assert f"K3S_TOKEN={value}\0" in environ


def test_no_argument_is_changed_by_systemd(boot: Boot, old: Path) -> None:
    host = boot()
    label = "a=b c'd\"e\\f %h $HOME ${HOME} `x`"
    assert host.run("sh", host.put(old), "server", "--node-label", label, *QUICK).status == 0
    words = host.check("cat", f"/proc/{show(host, 'MainPID')}/cmdline").split("\0")
    assert words[1:4] == ["server", "--node-label", label]


def test_an_upgrade_restarts_once_keeps_the_pods_and_can_be_rolled_back(boot: Boot, old: Path, new: Path) -> None:
    host = boot()
    assert host.run("sh", host.put(old), "server", *QUICK).status == 0
    host.check("sh", "-c", "echo data >/var/lib/rancher/k3s/server/db/state.db")
    containerd = host.check("pgrep", "-f", "^/var/lib/rancher/k3s/data/current/bin/containerd")
    installer = host.put(new, "stick2")
    done = host.run("sh", installer, *QUICK)
    assert done.status == 0, done
    assert NEW in host.check("k3s", "--version")
    assert show(host, "NRestarts") == "0"
    assert host.check("pgrep", "-f", "^/var/lib/rancher/k3s/data/current/bin/containerd") == containerd
    host.check("sh", "-c", "echo newer >/var/lib/rancher/k3s/server/db/state.db")

    done = host.run("sh", installer, "--rollback")
    assert done.status == 0, done
    assert OLD in host.check("k3s", "--version")
    assert show(host, "ActiveState") == "active"
    assert host.check("cat", "/var/lib/rancher/k3s/server/db/state.db") == "data"
    assert host.check("ls", "/var/lib/rancher/k3s/agent/images") == "k3s-airgap-images-amd64.tar"
    assert host.run("sh", installer, "--rollback").status == 2


@pytest.mark.parametrize("fault", ["STANDIN_FAIL", "STANDIN_HANG", "STANDIN_CRASH"])
def test_a_release_that_does_not_come_up_is_undone(boot: Boot, old: Path, new: Path, fault: str) -> None:
    host = boot()
    assert host.run("sh", host.put(old), "server", *QUICK).status == 0
    host.check("sh", "-c", f"mkdir -p /etc/default; echo {fault}={NEW} >/etc/default/k3s")
    before = host.check("cat", "/etc/systemd/system/k3s.service", "/var/lib/k3s-bundler/k3s/receipt")
    done = host.run("sh", host.put(new, "stick2"), "--settle", "8", "--timeout", "20")
    assert done.status == 7, done
    assert "error[" in done.err
    assert OLD in host.check("k3s", "--version")
    assert show(host, "ActiveState") == "active"
    assert host.check("cat", "/etc/systemd/system/k3s.service", "/var/lib/k3s-bundler/k3s/receipt") == before
    assert host.check("ls", "/var/lib/rancher/k3s/agent/images") == "k3s-airgap-images-amd64.tar"
    assert host.run("sh", "/stick/install.sh", "--status").status == 0


def test_an_image_that_was_not_imported_undoes_a_first_install(boot: Boot, tmp_path: Path) -> None:
    broken = standin_bundle(tmp_path / "broken", archives={"k3s-airgap-images": b"no tar at all"})
    host = boot()
    done = host.run("sh", host.put(broken), "server", "--settle", "1", "--timeout", "5")
    assert (done.status, "error[images-absent]" in done.err, IMAGE in done.err) == (7, True, True), done
    assert host.run("test", "-e", "/usr/local/bin/k3s").status != 0
    assert host.run("systemctl", "cat", "k3s").status != 0
    assert "containerd" not in host.check("ps", "axo", "args")


def test_an_install_cut_off_by_a_crash_is_finished_by_the_next_run(boot: Boot, old: Path) -> None:
    host = boot()
    host.check("sh", "-c", f"mkdir -p /etc/default; echo STANDIN_HANG={OLD} >/etc/default/k3s")
    installer = host.put(old)
    with subprocess.Popen([*host.enter_command(), "sh", installer, "server"], stdout=subprocess.DEVNULL) as running:
        host.wait(lambda: host.run("test", "-e", "/run/k3s/ready").status == 0, 20)
        host.halt(crash=True)
        running.kill()
    (host.root / "etc/default/k3s").unlink()
    host.boot()
    assert host.run("sh", installer, "--status").status == 10
    done = host.run("sh", installer, "server", *QUICK)
    assert done.status == 0, done
    assert "cut off" in done.out
    assert host.run("sh", installer, "--status").status == 0


def test_of_two_installs_at_once_one_runs(boot: Boot, old: Path) -> None:
    host = boot()
    installer = host.put(old)
    with subprocess.Popen(
        [*host.enter_command(), "sh", installer, "server", *QUICK], stdout=subprocess.DEVNULL
    ) as first:
        host.wait(lambda: host.run("test", "-L", "/var/lib/k3s-bundler/lock").status == 0, 20)
        second = host.run("sh", installer, "server", *QUICK)
        assert first.wait(60) == 0
    assert (second.status, "error[another-install]" in second.err) == (6, True), second


def test_nothing_of_an_install_connects_anywhere(boot: Boot, old: Path, tmp_path: Path) -> None:
    require("strace")
    host = boot()
    installer = host.put(old)
    trap = host.root / "trap"
    trap.mkdir()
    for name in ("curl", "wget", "dnf", "apt-get", "yum", "zypper", "apk", "pip"):
        (trap / name).write_text("#!/bin/sh\necho $0 >>/called\nexit 1\n")
        (trap / name).chmod(0o755)
    trace = tmp_path / "trace"
    path = "PATH=/trap:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", trace,
         *host.enter_command(), "env", path, "sh", installer, *QUICK],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert "AF_INET" not in trace.read_text()
    assert not (host.root / "called").exists()


def test_it_installs_from_read_only_noexec_media_without_usr_local_on_path(boot: Boot, old: Path) -> None:
    host = boot()
    host.put(old)
    host.check(
        "sh",
        "-c",
        "mkdir /media/s && mount -t tmpfs -o noexec tmpfs /media/s && cp -r /stick/. /media/s && "
        "mount -o remount,ro /media/s",
    )
    host.check("sh", "-c", "mount -o remount,noexec /tmp")
    done = host.run(
        "sh", "/media/s/install.sh", "server", *QUICK, environment={"PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}
    )
    assert done.status == 0, done
    assert "warning[path]" in done.err


def test_a_read_only_usr_local_is_replaced_by_opt_bin(boot: Boot, old: Path, tmp_path: Path) -> None:
    (tmp_path / "local/bin").mkdir(parents=True)
    host = boot(options=(f"--bind-ro={tmp_path / 'local'}:/usr/local",))
    installer = host.put(old)
    refused = host.run("sh", installer, "server", *QUICK, environment={"INSTALL_K3S_BIN_DIR": "/usr/local/bin"})
    assert (refused.status, "error[target-read-only]" in refused.err) == (5, True), refused
    host.check("mkdir", "-p", "/opt/bin")
    done = host.run("sh", installer, "server", *QUICK)
    assert done.status == 0, done
    assert show(host, "ExecStart").startswith("{ path=/opt/bin/k3s ;")
    assert host.run("/opt/bin/k3s-uninstall.sh").status == 0
    assert host.check("ls", "/opt/bin") == ""


def test_a_full_disk_is_noticed_before_the_first_change(boot: Boot, old: Path) -> None:
    host = boot(options=("--tmpfs=/var/lib/rancher:size=1m",))
    before = tree(host)
    done = host.run("sh", host.put(old), "server", *QUICK)
    assert (done.status, "error[disk-full]" in done.err, "/var/lib/rancher" in done.err) == (5, True, True), done
    assert tree(host) == before


def test_every_problem_of_a_host_is_said_at_once(boot: Boot, old: Path) -> None:
    host = boot(route=False)
    host.check("hostname", "localhost")
    host.check("ip", "link", "set", "lo", "up")
    host.check("systemd-run", "--unit=taken", "systemd-socket-activate", "-l", "6443", "sleep", "99")
    host.wait(lambda: host.run("grep", "-q", ":192B ", "/proc/net/tcp6").status == 0, 10)
    before = tree(host)
    done = host.run("sh", host.put(old), "--check", "--json")
    assert done.status == 5
    for name in ("no-default-route", "node-name", "port-taken"):
        assert f'"name":"{name}"' in done.out, done
    assert "systemd-socket" in done.out
    assert tree(host) == before
    forced = [word for name in ("no-default-route", "node-name", "port-taken") for word in ("--force", name)]
    assert host.run("sh", "/stick/install.sh", "--check", *forced).status == 0


def test_killall_ends_k3s_and_leaves_a_foreign_containerd_alone(boot: Boot, old: Path) -> None:
    host = boot()
    installer = host.put(old)
    foreign = "/opt/standin/bin/containerd --address /run/foreign.sock --root /var/lib/foreign --state /run/foreign"
    host.check("systemd-run", "--unit=foreign", *foreign.split())
    assert host.run("sh", installer, "server", *QUICK).status == 0
    for _ in range(2):
        assert host.run("k3s-killall.sh").status == 0
        processes = host.check("ps", "axo", "args")
        assert "/var/lib/rancher" not in processes
        assert "/run/foreign.sock" in processes
    assert host.run("test", "-d", "/var/lib/rancher/k3s/server").status == 0
    assert "/run/k3s" not in host.check("cat", "/proc/mounts")


def test_uninstall_spares_what_is_mounted_in_the_data_directory(boot: Boot, old: Path) -> None:
    host = boot()
    assert host.run("sh", host.put(old), "server", *QUICK).status == 0
    host.check(
        "sh",
        "-c",
        "cd /var/lib/rancher/k3s && mkdir -p 'storage/my disk' && mount -t tmpfs tmpfs 'storage/my disk' && "
        "echo kept >'storage/my disk/file' && echo gone >storage/other",
    )
    assert host.run("k3s-uninstall.sh").status == 0
    assert host.check("find", "/var/lib/rancher/k3s", "-type", "f") == "/var/lib/rancher/k3s/storage/my disk/file"


def test_a_container_runs_from_an_imported_image(boot: Boot, old: Path) -> None:
    host = boot(options=("--tmpfs=/var/lib/rancher:size=500m,mode=755", "--system-call-filter=@keyring"))
    host.check(
        "sh", "-c",
        "mount -o remount,rw /sys/fs/cgroup; for d in /sys/fs/cgroup/*; do "
        "mount -o remount,rw,bind $d 2>/dev/null || mount -o remount,rw $d || :; done",
    )  # fmt: skip
    assert host.run("sh", host.put(old), "server", *QUICK).status == 0
    for snapshotter in ("overlayfs", "native"):
        done = host.run(
            "env", "PATH=/var/lib/rancher/k3s/data/current/bin:/usr/bin:/bin:/usr/local/bin",
            "k3s", "ctr", "-n", "k8s.io", "run", "--rm", "--snapshotter", snapshotter, IMAGE, f"c-{snapshotter}",
        )  # fmt: skip
        assert (done.status, done.out) == (0, IMAGE), done
