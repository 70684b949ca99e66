"""Builds a package like k3s-selinux: it brings the file by which k3s's policy is known, and no policy."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.real.packages import program

if TYPE_CHECKING:
    from pathlib import Path

POLICY = "/usr/share/selinux/packages/k3s.pp"
PACKAGE = "rpms/k3s-selinux-1.6-1.el9.noarch.rpm"

_SPEC = """\
Name: k3s-selinux
Version: 1.6
Release: 1.el9
Summary: stands for the policy of k3s
License: Apache-2.0
BuildArch: noarch
{requires}
%description
It stands for the policy of k3s.
%install
mkdir -p %{{buildroot}}/usr/share/selinux/packages
echo policy >%{{buildroot}}{policy}
%files
%dir /usr/share/selinux
%dir /usr/share/selinux/packages
{policy}
"""


def policy_package(directory: Path, requires: str = "") -> bytes:
    """Build the package with rpmbuild below `directory`; `requires` names what it depends on."""
    directory.mkdir()
    spec = directory / "k3s-selinux.spec"
    spec.write_text(_SPEC.format(requires=f"Requires: {requires}" if requires else "", policy=POLICY))
    command = [program("rpmbuild"), "-bb", "--quiet", "--define", f"_topdir {directory}", str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    return (directory / "RPMS/noarch" / PACKAGE.rpartition("/")[2]).read_bytes()
