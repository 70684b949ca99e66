"""The package with k3s's SELinux policy: a real rpm installs and removes it. That the kernel enforces is faked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.site.booted.hosts import STICK
from tests.site.booted.policy import POLICY
from tests.site.booted.test_preflight import SELINUX

if TYPE_CHECKING:
    from tests.site.booted.hosts import Host, Outcome

ENTERPRISE = (
    'printf \'ID="rocky"\\nID_LIKE="rhel centos fedora"\\nVERSION_ID="9.4"\\n\' >/run/os-release;'
    " mount --bind /run/os-release /etc/os-release; "
)


def install_enforcing(host: Host, bundle: str, environment: str = "") -> Outcome:
    """Install on a host that says it is an enforcing Rocky Linux 9."""
    command = f"{environment} sh {STICK}/{bundle}/install.sh --timeout 60 --settle 1 server"
    return host.run("unshare", "--mount", "sh", "-euc", SELINUX + ENTERPRISE + command)


def package(host: Host) -> str:
    return host.run("rpm", "-q", "k3s-selinux").out.strip()


def has_policy(host: Host) -> bool:
    return host.run("test", "-e", POLICY).status == 0


def changes(host: Host) -> dict[str, str]:
    """Return what differs from the base but rpm's own records."""
    return {
        path: what for path, what in host.changes().items() if not path.startswith(("/var/lib/rpm", "/root/.rpmdb"))
    }


def test_the_bundles_package_is_installed_before_the_start_and_goes_with_k3s(systemd_host: Host) -> None:
    before = changes(systemd_host)
    done = install_enforcing(systemd_host, "policy")
    assert done.status == 0, str(done)
    assert (package(systemd_host), has_policy(systemd_host)) == ("k3s-selinux-1.6-1.el9.noarch", True)
    assert systemd_host.is_active()
    again = install_enforcing(systemd_host, "policy")
    assert (again.status, "nothing was changed" in again.out) == (0, True), str(again)
    assert systemd_host.uninstall().status == 0
    assert not has_policy(systemd_host)
    assert "not installed" in package(systemd_host)
    assert changes(systemd_host) == before


def test_a_package_that_cannot_be_installed_undoes_the_install(systemd_host: Host) -> None:
    before = changes(systemd_host)
    done = install_enforcing(systemd_host, "unfit-policy")
    assert (done.status, "error[selinux-package]" in done.err) == (5, True), str(done)
    assert "container-selinux is needed by" in done.err
    assert not systemd_host.is_active()
    assert changes(systemd_host) == before


def test_the_package_is_left_out_when_upstreams_variable_says_so(systemd_host: Host) -> None:
    done = install_enforcing(systemd_host, "policy", "INSTALL_K3S_SKIP_SELINUX_RPM=true")
    assert done.status == 0, str(done)
    assert not has_policy(systemd_host)


def test_a_policy_that_was_there_before_stays_when_k3s_goes(systemd_host: Host) -> None:
    systemd_host.shell(f"rpm -U {STICK}/policy/rpms/*.rpm")
    assert install_enforcing(systemd_host, "policy").status == 0
    assert systemd_host.uninstall().status == 0
    assert has_policy(systemd_host)
