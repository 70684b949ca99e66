"""What cannot work is refused by name before anything is changed."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.real.packages import install
from tests.site.booted.hosts import STICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.site.booted.conftest import BootHost
    from tests.site.booted.hosts import Host, Outcome


def refused(host: Host, name: str, *arguments: str, **environment: str) -> Outcome:
    """Install, and require that it is refused by `name` and leaves everything as it was."""
    before = host.changes()
    done = host.install("old", *arguments, **environment)
    assert done.status == 5, str(done)
    assert f"error[{name}]" in done.err, str(done)
    assert host.changes() == before
    assert host.shell("ls -A /var/lib/rancher") == ""
    return done


def test_no_default_route_is_refused_and_a_route_that_leads_nowhere_accepted(systemd_host: Host) -> None:
    systemd_host.shell("ip route del default")
    done = refused(systemd_host, "no-default-route")
    assert "ip route add default" in done.err
    systemd_host.shell("ip route add default via 203.0.113.1")
    assert systemd_host.install("old").status == 0


def test_a_taken_port_is_refused_and_its_holder_named(systemd_host: Host) -> None:
    systemd_host.shell(
        "perl -MIO::Socket::INET -e"
        " '$s = IO::Socket::INET->new(Listen => 1, LocalPort => 6443, ReuseAddr => 1) or die; sleep 600'"
        " >/dev/null 2>&1 & for i in $(seq 600); do grep -q ':192B ' /proc/net/tcp && break; sleep 0.1; done"
    )
    done = refused(systemd_host, "port-taken")
    assert "6443" in done.err
    assert "perl" in done.err


def test_every_problem_is_said_at_once_and_passes_by_name(systemd_host: Host) -> None:
    systemd_host.shell("ip route del default; hostname localhost")
    done = systemd_host.run("sh", f"{STICK}/old/install.sh", "--check", "--json")
    assert done.status == 5, str(done)
    named = [event["name"] for event in map(json.loads, done.out.splitlines()) if event["event"] == "error"]
    assert {"no-default-route", "node-name"} <= set(named), str(done)
    forced = [f"--force={name}" for name in named if name != "preflight"]
    assert systemd_host.run("sh", f"{STICK}/old/install.sh", "--check", *forced).status == 0


def test_a_missing_memory_controller_is_refused(boot_host: BootHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
    host = boot_host("systemd")
    # Some machines give their hosts every controller, some none.
    host.shell(
        "echo cpuset cpu io pids >/run/controllers; mount --bind /run/controllers /sys/fs/cgroup/cgroup.controllers"
    )
    done = refused(host, "cgroups")
    assert "memory" in done.err


def test_a_read_only_etc_is_refused(systemd_host: Host) -> None:
    systemd_host.shell("mount --bind /etc /etc; mount -o remount,bind,ro /etc")
    refused(systemd_host, "target-read-only")


def test_a_full_data_directory_is_refused(systemd_host: Host) -> None:
    systemd_host.shell("mkdir -p /srv/small; mount -t tmpfs -o size=1m none /srv/small")
    done = refused(systemd_host, "disk-full", "server", "--data-dir", "/srv/small/k3s")
    assert "/srv/small" in done.err


def test_a_noexec_data_directory_is_refused(systemd_host: Host) -> None:
    systemd_host.shell("mkdir -p /srv/noexec; mount -t tmpfs -o noexec none /srv/noexec")
    refused(systemd_host, "data-dir-noexec", "server", "--data-dir", "/srv/noexec/k3s")


def test_the_other_role_on_the_same_host_is_refused(systemd_host: Host) -> None:
    assert systemd_host.install("old", "server").status == 0
    done = systemd_host.install("old", "agent", K3S_URL="https://203.0.113.1:6443", K3S_TOKEN="t")
    assert done.status == 5, str(done)
    assert "error[other-role]" in done.err
    assert systemd_host.is_active()


@pytest.mark.parametrize("uid", ["65534", "root without capabilities"])
def test_who_may_not_write_is_refused(systemd_host: Host, uid: str) -> None:
    who = ["--reuid", uid] if uid.isdigit() else ["--bounding-set=-all", "--inh-caps=-all"]
    before = systemd_host.changes()
    if uid.isdigit():
        done = systemd_host.run("setpriv", *who, "--clear-groups", "sh", f"{STICK}/old/install.sh")
    else:
        systemd_host.shell("mount --bind /etc /etc; mount -o remount,bind,ro /etc")
        done = systemd_host.run("setpriv", *who, "sh", f"{STICK}/old/install.sh")
    assert done.status == 5, str(done)
    assert systemd_host.changes() == before


@pytest.mark.parametrize("question", ["--check", "--dry-run", "--verify", "--status"])
def test_a_question_opens_nothing_for_writing(systemd_host: Host, tmp_path: Path, question: str) -> None:
    install(("strace",), print)
    trace = tmp_path / "trace"
    command = systemd_host.enter("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", f"{STICK}/old/install.sh", question)
    calls = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat"
    traced = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-o", str(trace), *command]
    subprocess.run(traced, check=False, capture_output=True)
    lines = trace.read_text().splitlines()
    assert len(lines) > 50
    writes = [
        line for line in lines
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT| (?:creat|mkdir|rename|unlink|link|symlink)", line)
        and "/dev/null" not in line and "/dev/tty" not in line
    ]  # fmt: skip
    assert writes == []


def test_no_connection_leaves_the_host(systemd_host: Host, tmp_path: Path) -> None:
    install(("strace",), print)
    for name in ("curl", "wget", "apt-get", "dnf", "yum", "zypper", "apk", "pip"):
        systemd_host.write(f"/opt/alarm/{name}", f"#!/bin/sh\necho {name} >>/opt/alarm/log\nexit 1\n", 0o755)
    trace = tmp_path / "trace"
    command = systemd_host.enter(
        "PATH=/opt/alarm:/usr/sbin:/usr/bin:/sbin:/bin", "sh", f"{STICK}/old/install.sh", "--settle", "1"
    )
    done = subprocess.run(
        ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", trace, *command],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert [line for line in lines if '"127.0.0.1"' not in line] == []
    assert systemd_host.run("test", "-e", "/opt/alarm/log").status == 1
