"""What upstream's variables change: unit, links, places and what is enabled, as its documentation says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.site.bundles import Site, build_bundle, command_directory, make_root

LINKS = ("kubectl", "crictl", "ctr")
UNIT = """\
[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/k3s.service.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart=/usr/local/bin/k3s server
"""
WANTS = "etc/systemd/system/multi-user.target.wants/k3s.service"


def links(site: Site, bin_dir: str = "usr/local/bin") -> list[str]:
    """Return the names that lead to k3s."""
    places = {name: site.root / bin_dir / name for name in LINKS}
    return [name for name, place in places.items() if place.is_symlink() and place.readlink() == Path("k3s")]


def test_links_are_left_out_or_forced_as_asked(site: Site, bundle: Path) -> None:
    assert site.run(bundle, environment={"INSTALL_K3S_SYMLINK": "skip"}).status == 0
    assert links(site) == []
    kubectl = site.root / "usr/local/bin/kubectl"
    kubectl.write_text("somebody's own")
    assert site.run(bundle, environment={"INSTALL_K3S_SYMLINK": "force"}).status == 0
    assert links(site) == list(LINKS)
    done = site.run(bundle, environment={"INSTALL_K3S_SYMLINK": "perhaps"})
    assert (done.status, "error[symlink-choice]" in done.err) == (2, True)


def test_binary_links_and_scripts_go_where_the_variable_says(site: Site, bundle: Path) -> None:
    assert site.run(bundle, environment={"INSTALL_K3S_BIN_DIR": "/opt/k3s/bin"}).status == 0
    names = sorted(path.name for path in (site.root / "opt/k3s/bin").iterdir())
    assert names == sorted(["k3s", *LINKS, "k3s-killall.sh", "k3s-uninstall.sh"])
    assert "ExecStart=/opt/k3s/bin/k3s server" in site.read("/etc/systemd/system/k3s.service")
    assert not (site.root / "usr/local").exists()


def test_a_read_only_bin_dir_gets_nothing_and_must_hold_this_k3s(site: Site, bundle: Path) -> None:
    given = {"INSTALL_K3S_BIN_DIR_READ_ONLY": "true"}
    done = site.run(bundle, environment=given)
    assert (done.status, "error[binary-absent]" in done.err) == (5, True)
    binary = site.root / "usr/local/bin/k3s"
    binary.parent.mkdir(parents=True)
    binary.write_bytes(b"another k3s")
    binary.chmod(0o755)
    done = site.run(bundle, environment=given)
    assert (done.status, "error[binary-differs]" in done.err) == (5, True)
    binary.write_bytes((bundle / "bin/k3s-amd64").read_bytes())
    assert site.run(bundle, environment=given).status == 0
    assert [path.name for path in binary.parent.iterdir()] == ["k3s"]


def test_unit_and_environment_go_where_the_variable_says(site: Site, bundle: Path) -> None:
    assert site.run(bundle, environment={"INSTALL_K3S_SYSTEMD_DIR": "/usr/lib/systemd/system"}).status == 0
    unit = site.read("/usr/lib/systemd/system/k3s.service")
    assert "EnvironmentFile=-/usr/lib/systemd/system/k3s.service.env" in unit
    assert not (site.root / "etc/systemd/system/k3s.service").exists()


def test_the_units_type_is_upstreams_unless_asked_for_another(site: Site, bundle: Path) -> None:
    assert site.run(bundle).status == 0
    assert "\nType=notify\n" in site.read("/etc/systemd/system/k3s.service")
    assert site.run(bundle, environment={"INSTALL_K3S_TYPE": "exec"}).status == 0
    assert "\nType=exec\n" in site.read("/etc/systemd/system/k3s.service")
    assert site.run(bundle, environment={"INSTALL_K3S_TYPE": "a b"}).status == 2


def test_the_unit_has_every_directive_of_upstreams(site: Site, bundle: Path) -> None:
    assert site.run(bundle).status == 0
    assert site.read("/etc/systemd/system/k3s.service") == UNIT


@pytest.mark.parametrize(("name", "enabled"), [("INSTALL_K3S_SKIP_ENABLE", False), ("INSTALL_K3S_SKIP_START", True)])
def test_enabling_is_left_out_only_when_asked(site: Site, bundle: Path, name: str, *, enabled: bool) -> None:
    assert site.run(bundle, environment={name: "true"}).status == 0
    assert (site.root / WANTS).is_symlink() == enabled


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INSTALL_K3S_SKIP_DOWNLOAD", "true"),
        ("INSTALL_K3S_SKIP_DOWNLOAD", "binary"),
        ("INSTALL_K3S_ARTIFACT_URL", "https://mirror.site"),
        ("INSTALL_K3S_CHANNEL_URL", "https://update.site"),
        ("GITHUB_URL", "https://github.site"),
    ],
)
def test_variables_of_the_download_change_nothing_and_say_so(
    tmp_path: Path, bundle: Path, name: str, value: str
) -> None:
    commands = command_directory(tmp_path / "bin")
    plain, told = Site(make_root(tmp_path / "a"), commands), Site(make_root(tmp_path / "b"), commands)
    assert plain.run(bundle).status == 0
    done = told.run(bundle, environment={name: value})
    assert (done.status, f"{name} changes nothing here" in done.out) == (0, True)
    assert told.files() == plain.files()


@pytest.mark.parametrize(("name", "value"), [("VERSION", "v1.34.1+k3s1"), ("CHANNEL", "v1.34"), ("CHANNEL", "stable")])
def test_a_version_that_agrees_with_the_bundle_is_accepted(site: Site, bundle: Path, name: str, value: str) -> None:
    done = site.run(bundle, environment={f"INSTALL_K3S_{name}": value})
    assert (done.status, "warning[channel-unchecked]" in done.err) == (0, value == "stable")


def test_every_variable_of_the_table_in_the_documentation_is_known_to_the_script(tmp_path: Path) -> None:
    documented = Path(__file__).parents[2].joinpath("docs/installer.md").read_text()
    script = (build_bundle(tmp_path / "bundle") / "install.sh").read_text()
    table = documented.split("## Upstream's variables", 1)[1].split("\n## ", 1)[0]
    names = set(re.findall(r"`(INSTALL_K3S_[A-Z_]+[A-Z])`", table))
    assert len(names) > 15
    assert [name for name in sorted(names) if name not in script] == []
    assert sorted(set(re.findall(r"INSTALL_K3S_[A-Z_]+[A-Z]", script)) - names) == [
        "INSTALL_K3S_ARTIFACT_URL",
        "INSTALL_K3S_CHANNEL_URL",
    ]
