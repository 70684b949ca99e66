"""Files that a recipe carries to a place of their own, and which config.yaml a node gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.site.bundles import BundleSpec, Site, build_bundle

if TYPE_CHECKING:
    from pathlib import Path

CA = "etc/ssl/site/ca.pem"
TEMPLATE = "var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl"
DROP_IN = "var/lib/rancher/k3s/agent/etc/kubelet.conf.d/10-site.conf"
AGENT = {"K3S_URL": "https://s", "K3S_TOKEN": "t"}


@dataclass(frozen=True)
class Carried:
    """A carried file as a fact of a bundle."""

    content: bytes
    target: str
    mode: str = "644"
    role: str = "any"

    @property
    def path(self) -> str:
        return f"files/{self.role}/{self.target.lstrip('/')}"

    @property
    def fact(self) -> str:
        return f"file={self.mode} {self.role} {self.path} {self.target}"


FILES = (
    Carried(b"certificate\n", f"/{CA}"),
    Carried(b"template\n", "data-dir/agent/etc/containerd/config-v3.toml.tmpl", "600"),
    Carried(b"kubelet\n", "data-dir/agent/etc/kubelet.conf.d/10-site.conf", "640"),
    Carried(b"for servers\n", "/etc/server", role="server"),
    Carried(b"for agents\n", "/etc/agent", role="agent"),
)


def carrying(directory: Path, *files: Carried, release: str = "v1.34.1+k3s1") -> Path:
    extra = {file.path: file.content for file in files}
    return build_bundle(directory, BundleSpec(release=release, extra=extra, facts=tuple(file.fact for file in files)))


def test_carried_files_are_placed_by_role_and_removed_with_the_rest(every_site: Site, tmp_path: Path) -> None:
    before = every_site.files()
    bundle = carrying(tmp_path / "bundle", *FILES)
    done = every_site.run(bundle, "server")
    assert (done.status, done.err) == (0, "")
    root = every_site.root
    placed = {CA: (b"certificate\n", 0o644), TEMPLATE: (b"template\n", 0o600), DROP_IN: (b"kubelet\n", 0o640)}
    for path, (content, mode) in placed.items():
        assert (root / path).read_bytes() == content
        assert (root / path).stat().st_mode & 0o7777 == mode
    assert (root / "etc/server").exists()
    assert not (root / "etc/agent").exists()
    assert "nothing was changed" in every_site.run(bundle, "server").out
    assert every_site.run(bundle, "--status").status == 0
    assert every_site.run(bundle, "--uninstall").status == 0
    assert every_site.files() == before
    assert [path for path in ("etc/ssl", "etc/rancher", "usr/local", "var/lib/rancher") if (root / path).exists()] == []


def test_data_dir_is_where_k3s_keeps_its_data(site: Site, tmp_path: Path) -> None:
    assert site.run(carrying(tmp_path / "bundle", *FILES), "agent", "-d", "/srv/k3s", environment=AGENT).status == 0
    assert site.read("/srv/k3s/agent/etc/kubelet.conf.d/10-site.conf") == "kubelet\n"
    assert site.read("/etc/agent") == "for agents\n"
    assert not (site.root / "etc/server").exists()


def test_an_upgrade_replaces_them_and_removes_those_it_no_longer_carries(site: Site, tmp_path: Path) -> None:
    assert site.run(carrying(tmp_path / "old", *FILES), "server").status == 0
    old = site.files()
    new = carrying(tmp_path / "new", Carried(b"another\n", f"/{CA}"), release="v1.35.0+k3s1")
    assert site.run(new).status == 0
    assert site.read(CA) == "another\n"
    assert not (site.root / TEMPLATE).exists()
    assert not (site.root / "etc/server").exists()
    assert site.run(new, "--rollback").status == 0
    after = site.files()
    assert {name: after.get(name) for name in (CA, TEMPLATE, DROP_IN, "etc/server")} == {
        name: old[name] for name in (CA, TEMPLATE, DROP_IN, "etc/server")
    }


def test_an_edited_one_is_kept_unless_replacing_is_asked_for(site: Site, tmp_path: Path) -> None:
    ca = site.root / CA
    ca.parent.mkdir(parents=True)
    ca.write_text("mine\n")
    bundle = carrying(tmp_path / "bundle", *FILES)
    done = site.run(bundle, "server")
    assert (done.status, f"warning[config-kept]: /{CA} was edited" in done.err) == (0, True)
    assert ca.read_text() == "mine\n"
    assert site.run(bundle, "--config", "replace").status == 0
    assert ca.read_text() == "certificate\n"
    assert [path.read_text() for path in (site.root / "var/lib/k3s-bundler/saved").iterdir()] == ["mine\n"]
    ca.write_text("edited later\n")
    done = site.run(bundle, "--uninstall")
    assert (done.status, f"/{CA} was edited and stays" in done.out) == (0, True)
    assert ca.read_text() == "edited later\n"
    assert not (site.root / "etc/server").exists()


def test_one_of_two_services_leaves_the_others_files(site: Site, tmp_path: Path) -> None:
    bundle = carrying(tmp_path / "bundle", *FILES)
    assert site.run(bundle, "server").status == 0
    assert site.run(bundle, "server", environment={"INSTALL_K3S_NAME": "two"}).status == 0
    assert site.run(bundle, "--uninstall", environment={"INSTALL_K3S_NAME": "two"}).status == 0
    assert site.read(CA) == "certificate\n"
    assert site.run(bundle, "--uninstall").status == 0
    assert not (site.root / CA).exists()


def test_an_upgrade_leaves_what_another_service_carries(site: Site, tmp_path: Path) -> None:
    both = carrying(tmp_path / "both", *FILES)
    assert site.run(both, "server").status == 0
    assert site.run(both, "agent", environment=AGENT).status == 0
    assert site.run(carrying(tmp_path / "none"), "agent", environment=AGENT).status == 0
    assert (site.root / CA).read_bytes() == b"certificate\n"
    assert not (site.root / "etc/agent").exists()


def test_images_only_places_none(site: Site, tmp_path: Path) -> None:
    assert site.run(carrying(tmp_path / "bundle", *FILES), "--images-only").status == 0
    assert not (site.root / CA).exists()


@pytest.mark.parametrize(
    "fact",
    [
        "file=644 any files/a etc/a",
        "file=644 any files/a /etc/../root/a",
        "file=644 any files/a /etc/./a",
        "file=644 any files/a /etc//a",
        "file=644 any files/a /etc/a b",
        "file=644 any files/a /etc/$(id)",
        "file=644 any files/a data-dir/../a",
        "file=644 any files/a data-dir/",
        "file=644 any files/a /proc/sys/a",
        "file=644 any files/a /var/lib/k3s-bundler/k3s/receipt",
        "file=644 any files/a /etc/a.k3s-bundler-new",
        "file=644 any files/a",
        "file=644 any files/b /etc/a",
        "file=644 any ../a /etc/a",
        "file=666 any files/a /etc/a",
        "file=4755 any files/a /etc/a",
        "file=644 master files/a /etc/a",
    ],
)
def test_a_fact_that_cannot_be_is_refused(site: Site, tmp_path: Path, fact: str) -> None:
    bundle = build_bundle(tmp_path / "bundle", BundleSpec(extra={"files/a": b"a"}, facts=(fact,)))
    done = site.run(bundle, "server")
    assert (done.status, "error[file-fact]" in done.err) == (4, True), done
    assert site.files().keys() == {"usr/lib/systemd/systemd"}


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("/usr/local/bin/k3s", []),
        ("/etc/rancher/k3s/config.yaml", []),
        ("/etc/systemd/system/k3s.service.env", []),
        ("/srv/k3s/agent/images/k3s-airgap-images-amd64.tar", ["--data-dir", "/srv/k3s"]),
        ("data-dir/agent/images/k3s-airgap-images-amd64.tar", []),
    ],
)
def test_the_installers_own_targets_are_refused(site: Site, tmp_path: Path, target: str, arguments: list[str]) -> None:
    done = site.run(carrying(tmp_path / "bundle", Carried(b"mine", target)), "server", *arguments)
    assert (done.status, "error[file-conflict]" in done.err) == (5, True), done
    assert site.files().keys() == {"usr/lib/systemd/systemd"}


CONFIGS = {
    f"etc/config{kind}.yaml": f"node-label: [kind={kind}]\n".encode() for kind in ("", "-server", "-first-server")
}


@pytest.mark.parametrize(
    ("arguments", "variables", "absent", "wanted"),
    [
        (["server"], {}, (), "-first-server"),
        (["server", "--cluster-init"], {}, (), "-first-server"),
        (["server"], {}, ("-first-server",), "-server"),
        (["server"], {}, ("-first-server", "-server"), ""),
        (["server", "--server", "https://s"], {"K3S_TOKEN": "t"}, (), "-server"),
        (["server", "-s=https://s"], {"K3S_TOKEN": "t"}, (), "-server"),
        (["server"], AGENT, (), "-server"),
        (["server"], AGENT, ("-server",), ""),
        (["agent"], AGENT, (), ""),
    ],
)
def test_a_node_gets_the_config_that_fits_best(
    site: Site, tmp_path: Path, arguments: list[str], variables: dict[str, str], absent: tuple[str, ...], wanted: str
) -> None:
    extra = {path: text for path, text in CONFIGS.items() if path not in {f"etc/config{kind}.yaml" for kind in absent}}
    bundle = build_bundle(tmp_path / "bundle", BundleSpec(extra=extra))
    done = site.run(bundle, *arguments, environment=variables)
    assert done.status == 0, done
    assert site.read("/etc/rancher/k3s/config.yaml") == (bundle / f"etc/config{wanted}.yaml").read_text()
    assert "nothing was changed" in site.run(bundle).out
    assert site.read("/etc/rancher/k3s/config.yaml") == (bundle / f"etc/config{wanted}.yaml").read_text()


def test_a_server_that_the_sites_own_config_joins_is_not_the_first(site: Site, tmp_path: Path) -> None:
    config = site.root / "etc/rancher/k3s/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("server: https://s:6443\ntoken: t\n")
    bundle = build_bundle(tmp_path / "bundle", BundleSpec(extra=CONFIGS))
    assert site.run(bundle, "server", "--config", "replace").status == 0
    assert config.read_bytes() == CONFIGS["etc/config-server.yaml"]


def test_a_tree_for_many_hosts_may_not_have_a_machine_id(site: Site, bundle: Path) -> None:
    (site.root / "etc").mkdir()
    (site.root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    done = site.run(bundle, "--check", "server")
    assert (done.status, "warning[machine-id-shared]" in done.err) == (0, True)
    (site.root / "etc/machine-id").write_text("uninitialized\n")
    assert site.run(bundle, "--check", "server").err == ""
