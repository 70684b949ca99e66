"""What lies around k3s on a node: containerd, kubelet, kernel, packages; from the recipe into the bundle."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.errors import RecipeError, UsageError
from bundler.site.rpm import LEAD, Rpm, parse_rpm
from bundler.stages.carry import carry
from bundler.stages.read import parse_recipe
from bundler.store.store import open_store
from tests.real.packages import program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.build.workshop import Workshop

HEAD = "version: 1\nname: edge\nrelease: stable\narch: [arm64]\n"
SITE = """\
site:
  config: {flannel-backend: wireguard-native}
  kubelet: {drop_ins: [./sub/10-eviction.conf]}
  containerd: {template: ./own.tmpl}
  sysctl: {net.ipv4.ip_forward: 1, fs.inotify.max_user_instances: "512"}
  modules: [br_netfilter]
"""
SPEC = """\
Name: {name}
Version: 1.6
Release: 1.el9
Summary: a package for tests
License: none
{arch}
%description
Nothing.
%files
"""


@pytest.fixture
def around(workshop: Workshop) -> Workshop:
    workshop.write_recipe(more=SITE)
    (workshop.folder / "sub").mkdir()
    (workshop.folder / "sub/10-eviction.conf").write_text("kind: KubeletConfiguration\n")
    (workshop.folder / "own.tmpl").write_text('{{ template "base" . }}\n')
    return workshop


def test_files_of_the_node_reach_the_places_k3s_and_the_kernel_read(around: Workshop) -> None:
    bundle = around.build().path
    facts = (bundle / "bundle.facts").read_text().splitlines()
    placed = {line.split()[-1]: bundle / line.split()[-2] for line in facts if line.startswith("file=")}
    etc = "data-dir/agent/etc"
    assert {target: path.read_text() for target, path in placed.items()} == {
        f"{etc}/containerd/config-v3.toml.tmpl": '{{ template "base" . }}\n',
        f"{etc}/kubelet.conf.d/10-eviction.conf": "kind: KubeletConfiguration\n",
        "/etc/sysctl.d/90-k3s-bundler.conf": "# Written by k3s-bundler from site.sysctl of the recipe.\n"
        "fs.inotify.max_user_instances = 512\nnet.ipv4.ip_forward = 1\n",
        "/etc/modules-load.d/k3s-bundler.conf": "# Written by k3s-bundler from site.modules of the recipe.\n"
        "br_netfilter\nwireguard\n",
    }
    assert around.run("verify", bundle).code == 0


def test_written_files_are_in_the_lock_and_another_machine_makes_them_alike(around: Workshop, tmp_path: Path) -> None:
    first = (around.build().path / "SHA256SUMS").read_bytes()
    again = around.build("--locked", "--cache-dir", tmp_path / "empty", "--output", tmp_path / "other")
    assert (again.path / "SHA256SUMS").read_bytes() == first


def test_what_the_release_would_not_read_is_refused_when_it_is_locked(around: Workshop) -> None:
    around.write_recipe(more="site: {containerd: {drop_ins: [./a.toml]}}\n")
    (around.folder / "a.toml").write_text("")
    refused = around.build()
    assert (refused.code, refused.error) == (2, "wrong-use"), refused.err
    assert "site.containerd.drop_ins: k3s reads them from v1.33.10" in refused.err


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("site: {containerd: {drop_ins: [./a.conf]}}", "does not end in .toml"),
        ("site: {containerd: {drop_ins: [./a.toml, b/a.toml]}}", "is in the list twice"),
        ("site: {containerd: {version: 1}}", "one of 2, 3 is expected"),
        ("site: {kubelet: {drop_ins: [./a.yaml]}}", "does not end in .conf"),
        ("site: {kubelet: {drop_ins: ['./.conf']}}", "has a name that is not plain"),
        ("site: {sysctl: {ip_forward: 1}}", "is not the name of a kernel setting"),
        ("site: {sysctl: {net.ipv4.ip_forward: true}}", "is not a value of a kernel setting"),
        ('site: {sysctl: {net.ipv4.ip_forward: "1\\n2"}}', "is not one line of printable text"),
        ("site: {modules: [a b]}", "is not the name of a kernel module"),
        ("site: {modules: [vxlan, vxlan]}", "is in the list twice"),
        ("rpms: [./k3s-selinux.rpm]", "is not called as packages are"),
        ("rpms: [./a-1-1.el9.src.rpm]", "is not called as packages are"),
    ],
)
def test_what_nobody_would_read_is_a_mistake(more: str, what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe((HEAD + more).encode(), "edge.yaml")
    (mistake,) = caught.value.mistakes
    assert what in mistake.what


def test_files_that_a_base_names_are_those_of_its_own_folder(workshop: Workshop) -> None:
    base = workshop.folder / "base"
    base.mkdir()
    (base / "base.yaml").write_text(
        "site:\n  kubelet: {drop_ins: [./10-a.conf]}\n  config: {node-label: [a=b]}\n  registries:\n    configs:\n"
        "      a.example: {tls: {ca_file: ca.pem}, auth: {auth: {file: ./auth.txt}}}\n"
        "      b.example: {tls: {ca_file: /etc/ssl/ca.pem}}\n"
    )
    (base / "10-a.conf").write_text("a\n")
    (base / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    (base / "auth.txt").write_text("canary\n")
    workshop.write_recipe(more="extends: base/base.yaml\nsite: {agent: {node-label+: [c=d]}}\n")
    bundle = workshop.build().path
    registries = (bundle / "etc/registries.yaml").read_text()
    assert 'auth: "canary"' in registries
    assert '"/etc/ssl/ca.pem"' in registries
    assert (bundle / "files/any/etc/rancher/k3s/certs/a.example/ca.pem").exists()
    assert (bundle / "files/any/data-dir/agent/etc/kubelet.conf.d/10-a.conf").read_text() == "a\n"
    assert '- "a=b"\n- "c=d"\n' in (bundle / "etc/config-agent.yaml").read_text().replace("  -", "-")


def package(folder: Path, name: str, arch: str = "BuildArch: noarch") -> Path:
    """Build a real package with Debian's rpmbuild."""
    spec = folder / "package.spec"
    spec.write_text(SPEC.format(name=name, arch=arch))
    command = [program("rpmbuild"), "-bb", "--define", f"_topdir {folder}/top", str(spec)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = (folder / "top/RPMS").rglob("*.rpm")
    return built


def carried(folder: Path, name: str) -> None:
    recipe = parse_recipe(f"{HEAD}rpms: [./{name}]\n".encode(), "edge.yaml")
    (file,) = carry(recipe, folder, open_store(folder / "cache"))
    assert (file.path, file.target) == (f"rpms/{name}", None)


@pytest.mark.requires("rpm")
def test_a_real_package_is_carried_under_the_name_by_which_the_installer_finds_it(tmp_path: Path) -> None:
    built = package(tmp_path, "k3s-selinux")
    name = "k3s-selinux-1.6-1.el9.noarch.rpm"
    assert built.name == name
    assert parse_rpm(built.read_bytes()) == Rpm("k3s-selinux", "1.6", "1.el9", "noarch")
    built.rename(tmp_path / name)
    carried(tmp_path, name)


@pytest.mark.requires("rpm")
def test_packages_that_lie_about_themselves_or_are_damaged_are_refused(tmp_path: Path) -> None:
    data = package(tmp_path, "other").read_bytes()
    name = "k3s-selinux-1.6-1.el9.noarch.rpm"
    for content, what in (
        (data, "is the package other-1.6-1.el9.noarch.rpm, and the installer goes by its name"),
        (b"<html>", "is no RPM package"),
        (data[:200], "header is damaged or missing|cut off"),
        (data[:1500], "cut off|damaged"),
        (LEAD + bytes(5000), "header is damaged or missing"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=what):
            carried(tmp_path, name)


@given(st.binary(max_size=300).map(lambda tail: LEAD + bytes(92) + b"\x8e\xad\xe8\x01" + tail) | st.binary(max_size=50))
def test_no_bytes_whatever_make_the_reader_of_packages_fail_otherwise(data: bytes) -> None:
    with pytest.raises(ValueError, match="RPM package"):
        parse_rpm(data)
