"""Preflight sees what is odd about a host. One host is booted; each oddity lives in a mount namespace of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.site.booted.bases import base
from tests.site.booted.hosts import PATH, STICK, boot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.site.booted.hosts import Host, Outcome

FAKE = "/run/fake"
SELINUX = (  # /sys itself takes no new directory
    "mkdir -p /run/fs/selinux /run/fs/cgroup; mount --rbind /sys/fs/cgroup /run/fs/cgroup;"
    " echo 1 >/run/fs/selinux/enforce; mount --rbind /run/fs /sys/fs; "
)
V1_WITHOUT_MEMORY = (
    "mount -t tmpfs none /sys/fs/cgroup; cover /proc/cgroups '#subsys_name hierarchy num_cgroups enabled\n"
    "cpuset\t1\t9\t1\ncpu\t2\t9\t1\nmemory\t3\t9\t0'"
)
V2_WITHOUT_MEMORY = "mount -t tmpfs none /sys/fs/cgroup; echo cpuset cpu io pids >/sys/fs/cgroup/cgroup.controllers"
WITHOUT_MODULES = "[ ! -d /sys/module ] || mount -t tmpfs none /sys/module; shim modprobe 'exit 1'; "
LISTEN = (
    "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalPort => {port}, ReuseAddr => 1) or die;"
    ' sleep 600\' >/dev/null 2>&1 & until grep -q ":$(printf %04X {port}) " /proc/net/tcp; do sleep 0.1; done'
)
OTHER_CONTAINERD = (
    "mkdir -p /run/containerd; mount -t tmpfs none /run/containerd; perl -MIO::Socket::UNIX -e"
    " 'IO::Socket::UNIX->new(Listen => 1, Local => \"/run/containerd/containerd.sock\") or die'"
)
ODDITIES = [
    # name, severity, what makes the host so, arguments
    ("clock", "error", "shim date '[ \"$*\" != \"-u +%s\" ] || { echo 1000; exit; }'", ""),
    ("kernel", "warning", "shim uname '[ \"$*\" != -r ] || { echo 3.10.0-1160.el7; exit; }'", ""),
    ("memory", "warning", "cover /proc/meminfo 'MemTotal: 300000 kB'", ""),
    ("swap", "warning", "cover /proc/swaps 'Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2'", ""),
    ("processor", "warning", "cover /proc/cpuinfo 'processor : 0'", ""),
    ("machine-id", "error", "cover /etc/machine-id ''", ""),
    ("node-name", "error", "true", "--node-name localhost"),
    ("node-name", "error", "true", "--node-name under_score"),
    ("nameserver", "warning", "cover /etc/resolv.conf '# none'", ""),
    ("range-taken", "error", "ip route replace 10.42.0.0/16 dev site0", ""),
    ("port-taken", "error", LISTEN.format(port=2380), "--cluster-init"),
    ("port-taken", "error", LISTEN.format(port=5001), "--embedded-registry"),
    ("firewalld", "warning", "systemd-run -q --unit=firewalld sleep 600 || :", ""),
    ("ufw", "warning", "systemd-run -q --unit=ufw sleep 600 || :", ""),
    ("nm-cloud-setup", "warning", "systemd-run -q --unit=nm-cloud-setup sleep 600 || :", ""),
    ("other-containerd", "warning", OTHER_CONTAINERD, ""),
    ("foreign-k3s", "error", "mount -t tmpfs none /usr/local/bin; echo other >/usr/local/bin/k3s", ""),
    ("other-role", "error", "mount -t tmpfs none /etc/init.d; echo other >/etc/init.d/k3s-agent", ""),
    ("docker-absent", "error", "true", "--docker"),
    ("path", "warning", "true", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"),
    ("config-elsewhere", "warning", "true", "--config /root/k3s.yaml"),
    ("cgroups", "error", V1_WITHOUT_MEMORY, ""),
    ("cgroups", "error", V2_WITHOUT_MEMORY, ""),
    ("wireguard", "error", WITHOUT_MODULES, "--flannel-backend wireguard-native"),
    ("wireguard", "error", WITHOUT_MODULES, "--flannel-backend=wireguard-native"),
    ("wireguard", "error", WITHOUT_MODULES + "config flannel-backend: '\"wireguard-native\"'", ""),
    ("selinux-policy", "error", SELINUX, ""),
    ("selinux-policy", "warning", SELINUX + "export INSTALL_K3S_SELINUX_WARN=true", ""),
]  # fmt: skip
FUNCTIONS = f"""
mkdir -p {FAKE}
shim() {{ printf '#!/bin/sh\\n%s\\nexec /bin/%s "$@"\\n' "$2" "$1" >{FAKE}/$1; chmod +x {FAKE}/$1; }}
config() {{ cp -a /etc {FAKE}/etc; mkdir -p {FAKE}/etc/rancher/k3s; echo "$*" >{FAKE}/etc/rancher/k3s/config.yaml
mount --bind {FAKE}/etc /etc; }}
cover() {{ printf '%s\\n' "$2" | sed '/^$/d' >{FAKE}/covered; mount --bind {FAKE}/covered "$1"; }}
"""


@pytest.fixture(scope="module")
def odd_host(stick: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    host = boot("systemd", base("systemd"), tmp_path_factory.mktemp("odd") / "host", stick)
    yield host
    host.down()


def check(host: Host, oddity: str, arguments: str = "") -> Outcome:
    """Run the check on a host that is odd."""
    path = arguments.removeprefix("PATH=") if arguments.startswith("PATH=") else f"{FAKE}:{PATH}"
    words = "" if arguments.startswith("PATH=") else arguments
    script = (
        f"mount -t tmpfs none /run/lock; {FUNCTIONS} mount -t tmpfs none {FAKE}; {oddity}\n"
        f"PATH={path} sh {STICK}/old/install.sh --check --json server {words}"
    )
    return host.run("unshare", "--mount", "sh", "-euc", script)


def problems(host: Host, oddity: str = "true", arguments: str = "") -> tuple[int, dict[str, str]]:
    """Return the status of the check and each problem's severity."""
    done = check(host, oddity, arguments)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events, str(done)
    assert all(event["hint"] for event in events if event["event"] == "error"), str(done)
    return done.status, {event["name"]: event["event"] for event in events if event["event"] in {"error", "warning"}}


@pytest.mark.parametrize(("name", "severity", "oddity", "arguments"), ODDITIES)
def test_what_is_odd_about_a_host_is_said_by_name(
    odd_host: Host, name: str, severity: str, oddity: str, arguments: str
) -> None:
    before = odd_host.changes()
    try:
        status, found = problems(odd_host, oddity, arguments)
    finally:
        odd_host.run("ip", "route", "del", "10.42.0.0/16")
        odd_host.run("systemctl", "stop", "firewalld", "ufw", "nm-cloud-setup")
        odd_host.run("pkill", "-x", "perl")
    assert found.get(name) == severity, found
    assert set(found) - {"preflight"} <= {name, "nameserver", "br-netfilter", "path", "config-kept"}, found
    assert status == (5 if severity == "error" else 0)
    assert odd_host.changes() == before


@pytest.mark.parametrize(
    ("host", "oddity", "file"),
    [
        ("Alpine", "config x: y; touch /etc/update-extlinux.conf", "/etc/update-extlinux.conf"),
        ("Raspberry Pi", "shim grep 'case $* in *device-tree*) exit 0;; esac'", "/boot/cmdline.txt"),
        ("any", "true", "boot the kernel with cgroup_memory=1"),
    ],
)
def test_a_missing_memory_controller_has_the_remedy_of_its_system(
    odd_host: Host, host: str, oddity: str, file: str
) -> None:
    done = check(odd_host, f"{V1_WITHOUT_MEMORY}; {oddity}")
    hints = [event["hint"] for event in map(json.loads, done.out.splitlines()) if event["name"] == "cgroups"]
    assert len(hints) == 1, host
    assert file in hints[0]
    assert "cgroup_enable=memory" in hints[0]


def test_wireguard_native_is_let_pass_where_the_module_is(odd_host: Host) -> None:
    status, found = problems(odd_host, "shim modprobe 'exit 0'", "--flannel-backend wireguard-native")
    assert (status, "wireguard" in found) == (0, False), found


def test_an_ordinary_host_is_told_nothing_but_what_is_true(odd_host: Host) -> None:
    status, found = problems(odd_host)
    assert status == 0
    assert set(found) <= {"nameserver", "br-netfilter"}  # what the kernel and the network of these hosts lack indeed
