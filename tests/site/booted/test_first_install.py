"""Installs on booted hosts: real init systems, a real containerd, no network."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.site.booted.conftest import OLD, OLD_IMAGES
from tests.site.booted.hosts import STICK

if TYPE_CHECKING:
    from tests.site.booted.conftest import BootHost
    from tests.site.booted.hosts import Host

TOKEN = "K10s3cr3t::node:t0ken"
STAMPS = "find /usr/local /etc /var/lib/rancher/k3s/agent/images -exec stat -c '%n %i %Y %a' {} +"
AGENT = {"K3S_URL": "https://203.0.113.1:6443", "K3S_TOKEN": TOKEN}


def test_a_server_comes_up_with_every_image(host: Host) -> None:
    done = host.install("old", "server")
    assert done.status == 0, str(done)
    assert host.is_active()
    assert host.images() == sorted(OLD_IMAGES)
    assert host.shell("/usr/local/bin/k3s --version").startswith(f"k3s version {OLD} (STANDIN)")
    modes = {
        "/usr/local/bin/k3s": "755",
        "/usr/local/bin/k3s-uninstall.sh": "755",
        "/usr/local/bin/k3s-killall.sh": "755",
        "/etc/rancher/k3s/registries.yaml": "600",
        "/etc/rancher/k3s/config.yaml": "600",
        "/var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar": "644",
    }
    for path, mode in modes.items():
        assert host.shell(f"stat -c '%a %U:%G' {path}") == f"{mode} root:root", path
    assert [host.shell(f"readlink /usr/local/bin/{name}") for name in ("kubectl", "crictl", "ctr")] == ["k3s"] * 3


def test_systemd_starts_it_at_boot_and_again_after_a_crash(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    assert systemd_host.shell("systemctl is-enabled k3s") == "enabled"
    first = systemd_host.shell("systemctl show -P MainPID k3s")
    systemd_host.shell(f"kill -9 {first}")
    systemd_host.shell("for i in $(seq 600); do sleep 0.1; [ $(systemctl show -P NRestarts k3s) = 0 ] || break; done")
    systemd_host.shell("for i in $(seq 600); do systemctl is-active --quiet k3s && break; sleep 0.1; done")
    assert systemd_host.is_active()
    assert systemd_host.shell("systemctl show -P MainPID k3s") != first


@pytest.mark.parametrize("crash", [False, True])
def test_the_service_is_up_again_after_a_reboot(systemd_host: Host, *, crash: bool) -> None:
    assert systemd_host.install("old").status == 0
    systemd_host.cycle(crash=crash)
    systemd_host.shell("for i in $(seq 600); do systemctl is-active --quiet k3s && break; sleep 0.1; done")
    assert systemd_host.is_active()
    assert systemd_host.images() == sorted(OLD_IMAGES)


def test_openrc_supervises_it_and_logs_where_upstream_does(boot_host: BootHost) -> None:
    host = boot_host("openrc")
    assert host.install("old", "server").status == 0
    assert "k3s" in host.shell("rc-update show default")
    first = host.shell("pgrep -x k3s | tail -n 1")
    host.shell(f"kill -9 {first}")
    host.shell(f"for i in $(seq 600); do sleep 0.1; pgrep -x k3s | grep -q -v -x {first} && break; done")
    assert host.shell("pgrep -x k3s | tail -n 1") != first
    assert "STANDIN" in host.shell("cat /var/log/k3s.log")
    assert host.run("rc-service", "k3s", "stop").status == 0
    assert host.run("rc-service", "k3s", "status").status == 3


def test_openrc_is_told_by_what_runs_though_systemctl_is_there(boot_host: BootHost) -> None:
    host = boot_host("openrc")
    host.write("/bin/systemctl", "#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n", 0o755)
    done = host.install("old")
    assert done.status == 0, str(done)
    assert host.shell("test -x /etc/init.d/k3s && echo yes") == "yes"
    assert host.run("test", "-e", "/etc/systemd/system/k3s.service").status == 1


def test_systemd_is_told_by_what_runs_though_openrc_is_there(systemd_host: Host) -> None:
    systemd_host.write("/sbin/openrc-run", "#!/bin/sh\nexit 1\n", 0o755)
    assert systemd_host.install("old").status == 0
    assert systemd_host.is_active()
    assert systemd_host.run("test", "-e", "/etc/init.d/k3s").status == 1


def test_an_agents_token_is_nowhere_but_in_its_environment_file(host: Host) -> None:
    done = host.install("old", "agent", **AGENT)
    assert done.status == 0, str(done)
    assert host.is_active("k3s-agent")
    assert TOKEN not in done.out + done.err
    environment = {"systemd": "/etc/systemd/system/k3s-agent.service.env", "openrc": "/etc/rancher/k3s/k3s-agent.env"}
    assert host.shell(f"stat -c %a {environment[host.init]}") == "600"
    found = host.run("grep", "-rls", TOKEN, "/etc", "/usr/local", "/var/log", "/var/lib", "/opt", "/root").out.split()
    assert found == [environment[host.init]]
    assert TOKEN not in host.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    if host.init == "systemd":
        assert TOKEN not in host.shell("systemctl show k3s-agent; systemctl cat k3s-agent; journalctl --no-pager")


def test_an_agent_takes_its_token_from_a_file(systemd_host: Host) -> None:
    systemd_host.write("/root/token", TOKEN, 0o600)
    done = systemd_host.install("old", K3S_URL=AGENT["K3S_URL"], K3S_TOKEN_FILE="/root/token")
    assert done.status == 0, str(done)
    assert systemd_host.is_active("k3s-agent")


def test_another_server_joins_with_server_and_token(systemd_host: Host) -> None:
    done = systemd_host.install("old", "server", "--server", AGENT["K3S_URL"], "--token", TOKEN)
    assert done.status == 0, str(done)
    line = systemd_host.shell("tr '\\0' ' ' </proc/$(systemctl show -P MainPID k3s)/cmdline")
    assert line == f"/usr/local/bin/k3s server --server {AGENT['K3S_URL']}"


def test_no_argument_and_no_variable_is_changed_by_the_init_system(host: Host) -> None:
    token, label = "a 'b' \"c\" $HOME `id` \\n % #x", "a=b c'd\"e\\f %h $HOME ${HOME} `x`"
    done = host.install("old", "server", "--node-label", label, K3S_TOKEN=token)
    assert done.status == 0, str(done)
    process = host.shell("pgrep -f '^/usr/local/bin/k3s server'")
    assert host.shell(f"tr '\\0' '\\n' </proc/{process}/cmdline").splitlines()[1:] == ["server", "--node-label", label]
    assert f"K3S_TOKEN={token}" in host.shell(f"tr '\\0' '\\n' </proc/{process}/environ").splitlines()


def test_busybox_alone_installs_and_removes_on_openrc(boot_host: BootHost) -> None:
    host = boot_host("openrc")
    host.shell("mkdir /opt/busybox; busybox --install -s /opt/busybox; ln -sf /bin/busybox /bin/sh")
    path = "/opt/busybox:/usr/sbin:/sbin:/usr/bin:/bin"
    before = host.changes()
    done = host.install("old", PATH=path)
    assert done.status == 0, str(done)
    assert host.is_active()
    assert host.images() == sorted(OLD_IMAGES)
    done = host.run("/usr/local/bin/k3s-uninstall.sh", environment={"PATH": path})
    assert done.status == 0, str(done)
    assert host.changes() == before


def test_a_second_run_changes_and_restarts_nothing(host: Host) -> None:
    assert host.install("old").status == 0
    process = host.shell("pgrep -x k3s | sort")
    stamps = host.shell(STAMPS)
    done = host.install("old")
    assert done.status == 0, str(done)
    assert "nothing was changed" in done.out
    assert host.shell("pgrep -x k3s | sort") == process
    assert host.shell(STAMPS) == stamps


def test_a_restart_is_made_when_it_is_forced(systemd_host: Host) -> None:
    assert systemd_host.install("old").status == 0
    process = systemd_host.shell("systemctl show -P MainPID k3s")
    assert systemd_host.install("old", INSTALL_K3S_FORCE_RESTART="true").status == 0
    assert systemd_host.shell("systemctl show -P MainPID k3s") != process


def test_skip_start_enables_and_skip_enable_does_neither(systemd_host: Host) -> None:
    assert systemd_host.install("old", INSTALL_K3S_SKIP_ENABLE="true").status == 0
    assert systemd_host.run("systemctl", "is-enabled", "k3s").out.strip() == "disabled"
    assert not systemd_host.is_active()
    assert systemd_host.run("sh", f"{STICK}/old/install.sh", "--uninstall").status == 0
    assert systemd_host.install("old", INSTALL_K3S_SKIP_START="true").status == 0
    assert systemd_host.run("systemctl", "is-enabled", "k3s").out.strip() == "enabled"
    assert not systemd_host.is_active()


def test_sudos_path_without_usr_local_bin_is_enough(systemd_host: Host) -> None:
    done = systemd_host.install("old", PATH="/sbin:/bin:/usr/sbin:/usr/bin")
    assert done.status == 0, str(done)
    assert systemd_host.is_active()


def test_a_user_is_told_how_to_call_it_through_sudo(systemd_host: Host) -> None:
    systemd_host.write("/etc/sudoers.d/site", "nobody ALL=(ALL) NOPASSWD:SETENV: ALL\n", 0o440)
    user = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    before = systemd_host.changes()
    done = systemd_host.run(*user, "sh", f"{STICK}/old/install.sh", environment=AGENT)
    assert (done.status, "error[not-root]" in done.err) == (5, True), str(done)
    command = f"sudo --preserve-env=K3S_TOKEN,K3S_URL sh {STICK}/old/install.sh"
    assert f"with the same arguments: {command}\n" in done.err
    assert systemd_host.changes() == before
    done = systemd_host.run(*user, *command.split(), "--timeout=60", "--settle=1", environment=AGENT)
    assert done.status == 0, str(done)
    assert systemd_host.is_active("k3s-agent")
    done = systemd_host.run(*user, "sh", f"{STICK}/old/install.sh", "--status")
    assert (done.status, "error[not-root]" in done.err) == (5, True), str(done)
    done = systemd_host.run(*user, "/usr/local/bin/k3s-agent-uninstall.sh")
    assert done.status == 0, str(done)
    assert systemd_host.changes() == before


def test_a_noexec_stick_and_a_useless_tmp_are_enough(systemd_host: Host) -> None:
    systemd_host.shell(f"mount -o remount,bind,ro,noexec {STICK}; mount -t tmpfs -o noexec,size=4k none /tmp")
    systemd_host.run("sh", "-c", "dd if=/dev/zero of=/tmp/full bs=4k count=4")
    assert systemd_host.run(f"{STICK}/old/bin/k3s-amd64", "--version").status == 126
    done = systemd_host.install("old", TMPDIR="/nowhere")
    assert done.status == 0, str(done)
    assert systemd_host.is_active()


def test_opt_bin_is_used_everywhere_when_usr_local_is_read_only(boot_host: BootHost) -> None:
    host = boot_host("systemd", "--bind-ro=/usr/share/doc:/usr/local")
    host.shell("mkdir -p /opt/bin")
    done = host.install("old")
    assert done.status == 0, str(done)
    assert "ExecStart=/opt/bin/k3s server" in host.shell("systemctl cat k3s")
    assert host.run("/opt/bin/k3s-uninstall.sh").status == 0
    assert host.shell("ls -A /opt/bin") == ""


def test_a_data_directory_elsewhere_is_used_by_everything(systemd_host: Host) -> None:
    systemd_host.shell("mkdir /srv/k3s; mount -t tmpfs none /srv/k3s")
    done = systemd_host.install("old", "server", "--data-dir", "/srv/k3s/data")
    assert done.status == 0, str(done)
    assert systemd_host.images() == sorted(OLD_IMAGES)
    assert systemd_host.run("test", "-e", "/var/lib/rancher/k3s/agent").status == 1
    assert systemd_host.run("/usr/local/bin/k3s-uninstall.sh").status == 0
    assert systemd_host.run("test", "-e", "/srv/k3s/data").status == 1


def test_two_installs_at_once_leave_one_whole_install(systemd_host: Host) -> None:
    command = systemd_host.enter("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", f"{STICK}/old/install.sh", "--settle", "1")
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 6], said
    assert "error[another-install]" in "".join(said)
    assert systemd_host.is_active()
    assert systemd_host.run("sh", f"{STICK}/old/install.sh", "--status").status == 0


def test_a_systemd_that_does_not_count_restarts_is_enough(systemd_host: Host) -> None:
    """RHEL 7 has one."""
    older = 'case $* in *NRestarts*) set -- show -p ActiveState k3s ;; esac; exec /usr/bin/systemctl "$@"'
    systemd_host.write("/usr/local/sbin/systemctl", f"#!/bin/sh\n{older}\n", 0o755)
    done = systemd_host.install("old")
    assert (done.status, "is installed and running" in done.out) == (0, True), str(done)


def test_an_image_that_containerd_lacks_after_the_start_undoes_the_install(systemd_host: Host) -> None:
    systemd_host.faults(f"noimport {OLD}")
    systemd_host.write("/etc/rancher/k3s/k3s.yaml", "k3s itself writes this\n")
    before = systemd_host.changes()
    done = systemd_host.install("old", "--timeout", "20")
    assert (done.status, "error[images-absent]" in done.err) == (7, True), str(done)
    assert OLD_IMAGES[0] in done.err
    assert systemd_host.shell("systemctl list-units --all --no-legend 'k3s*'") == "", str(done)
    after = systemd_host.changes()
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} <= {
        "/etc/rancher/k3s/k3s.yaml"
    }


def test_a_broken_registries_file_is_put_back_with_the_reason(systemd_host: Host) -> None:
    systemd_host.write("/etc/rancher/k3s/registries.yaml", "mirrors:\n\tdocker.io:\n", 0o600)
    done = systemd_host.install("old")
    assert done.status in {5, 7}, str(done)
    assert "registries.yaml" in done.err
    assert systemd_host.shell("cat /etc/rancher/k3s/registries.yaml") == "mirrors:\n\tdocker.io:"
    assert systemd_host.run("test", "-e", "/usr/local/bin/k3s").status == 1
