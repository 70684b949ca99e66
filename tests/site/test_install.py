"""What an install leaves at a site, under each shell, with no command but the listed ones."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.real.packages import program
from tests.site.bundles import BundleSpec, Site, build_bundle, command_directory, elf_stub, make_root

IMAGES = "/var/lib/rancher/k3s/agent/images"
UNIT = "/etc/systemd/system/k3s.service"


def mode(site: Site, path: str) -> int:
    return (site.root / path.lstrip("/")).stat().st_mode & 0o7777


def exec_start(site: Site, unit: str = UNIT) -> str:
    return site.read(unit).split("ExecStart=", 1)[1].replace(" \\\n    ", " ").strip()


def test_a_fresh_server_has_everything_in_its_place(every_site: Site, bundle: Path) -> None:
    done = every_site.run(bundle, "server", "--disable", "traefik")
    assert (done.status, done.err) == (0, "")
    root = every_site.root
    assert (root / "usr/local/bin/k3s").read_bytes() == (bundle / "bin/k3s-amd64").read_bytes()
    archive = "k3s-airgap-images-amd64.tar"
    assert (root / IMAGES[1:] / archive).read_bytes() == (bundle / "images" / archive).read_bytes()
    assert every_site.read("/etc/rancher/k3s/config.yaml") == (bundle / "etc/config.yaml").read_text()
    assert exec_start(every_site) == "/usr/local/bin/k3s server --disable traefik"
    assert mode(every_site, "/usr/local/bin/k3s") == 0o755
    assert mode(every_site, "/etc/rancher/k3s/registries.yaml") == 0o600
    assert mode(every_site, UNIT + ".env") == 0o600
    assert mode(every_site, UNIT) == 0o644
    for name in ("kubectl", "crictl", "ctr"):
        assert (root / "usr/local/bin" / name).readlink() == Path("k3s")
    assert (root / "etc/systemd/system/multi-user.target.wants/k3s.service").readlink() == Path(UNIT)
    assert not [name for name in every_site.files() if "k3s-bundler-new" in name]


def test_a_second_run_changes_nothing(every_site: Site, bundle: Path) -> None:
    every_site.run(bundle, "server")
    before = {path: path.lstat().st_mtime_ns for path in every_site.root.rglob("*") if "k3s-bundler" not in str(path)}
    again = every_site.run(bundle, "server")
    assert again.status == 0
    assert "nothing was changed" in again.out
    assert {path: path.lstat().st_mtime_ns for path in before} == before


def test_uninstall_leaves_the_tree_as_it_was(every_site: Site, bundle: Path) -> None:
    before = every_site.files()
    every_site.run(bundle, "server")
    done = every_site.run(bundle, "--uninstall")
    assert done.status == 0, done.err
    assert every_site.files() == before


def test_an_upgrade_can_be_rolled_back(every_site: Site, bundle: Path, tmp_path: Path) -> None:
    newer = build_bundle(tmp_path / "newer", BundleSpec(release="v1.35.0+k3s1", archives={"other": b"new" * 999}))
    every_site.run(bundle, "server", environment={"K3S_TOKEN": "secret"})
    before = every_site.files()
    assert every_site.run(newer).status == 0
    assert sorted(path.name for path in (every_site.root / IMAGES[1:]).iterdir()) == ["other-amd64.tar"]
    assert b"v1.35.0" in (every_site.root / "usr/local/bin/k3s").read_bytes()
    assert "secret" in every_site.read(UNIT + ".env")
    done = every_site.run(newer, "--rollback")
    assert done.status == 0, done.err
    after = every_site.files()
    assert {k: v for k, v in after.items() if "/previous/" not in k} == {
        k: v for k, v in before.items() if "/previous/" not in k
    }


def test_every_file_is_verified_before_the_first_change(every_site: Site, bundle: Path) -> None:
    archive = bundle / "images/k3s-airgap-images-amd64.tar"
    archive.write_bytes(archive.read_bytes()[:-1] + b"!")
    before = every_site.files()
    done = every_site.run(bundle, "server")
    assert done.status == 4
    assert "error[file-damaged]" in done.err
    assert "images/k3s-airgap-images-amd64.tar" in done.err
    assert every_site.files() == before


@pytest.mark.parametrize("machine", ["riscv64", "i686", "s390x", ""])
def test_an_unknown_machine_is_refused(site: Site, bundle: Path, machine: str) -> None:
    uname = site.path / "uname"
    uname.unlink()
    uname.write_text(f"#!/bin/sh\necho {machine}\n")
    uname.chmod(0o755)
    done = site.run(bundle, environment={"ARCH": machine})
    assert (done.status, "error[arch-unknown]" in done.err) == (5, True)
    assert site.files().keys() == {"usr/lib/systemd/systemd"}


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "arm")])
def test_the_machine_chooses_binary_and_archives(site: Site, tmp_path: Path, machine: str, arch: str) -> None:
    multi = build_bundle(tmp_path / "multi", BundleSpec(archs=("amd64", "arm", "arm64")))
    done = site.run(multi, environment={"ARCH": machine})
    assert done.status == 0, done.err
    assert (site.root / "usr/local/bin/k3s").read_bytes() == (multi / f"bin/k3s-{arch}").read_bytes()
    assert [path.name for path in (site.root / IMAGES[1:]).iterdir()] == [f"k3s-airgap-images-{arch}.tar"]


@pytest.mark.parametrize(
    "binary", [elf_stub("arm64"), b"", b"#!/bin/sh\necho k3s\n", b"\x7fELF\x02\x01\x01" + bytes(40)]
)
def test_a_binary_that_is_not_of_the_machine_is_refused(site: Site, tmp_path: Path, binary: bytes) -> None:
    wrong = build_bundle(tmp_path / "wrong", BundleSpec(binaries={"amd64": binary}))
    done = site.run(wrong)
    assert (done.status, "error[binary-architecture]" in done.err) == (5, True)
    assert not (site.root / "usr/local").exists()


def test_openrc_gets_its_init_script_and_logrotate(bundle: Path, tmp_path: Path) -> None:
    site = Site(make_root(tmp_path / "openrc", "openrc"), command_directory(tmp_path / "bin"))
    assert site.run(bundle, "agent", environment={"K3S_URL": "https://s:6443", "K3S_TOKEN": "t"}).status == 0
    script = site.read("/etc/init.d/k3s-agent")
    assert "supervisor=supervise-daemon" in script
    assert 'command_args="agent >>/var/log/k3s-agent.log 2>&1"' in script
    assert mode(site, "/etc/init.d/k3s-agent") == 0o755
    assert site.read("/etc/rancher/k3s/k3s-agent.env") == 'K3S_TOKEN="t"\nK3S_URL="https://s:6443"\n'
    assert site.read("/etc/logrotate.d/k3s-agent").startswith("/var/log/k3s-agent.log {")
    assert (site.root / "etc/runlevels/default/k3s-agent").readlink() == Path("/etc/init.d/k3s-agent")


CALLS = [
    # INSTALL_K3S_EXEC, arguments, variables -> service, ExecStart behind the binary
    ("", [], {}, "k3s", "server"),
    ("", ["server"], {}, "k3s", "server"),
    ("", ["agent"], {"K3S_URL": "https://s", "K3S_TOKEN": "t"}, "k3s-agent", "agent"),
    ("", [], {"K3S_URL": "https://s", "K3S_TOKEN": "t"}, "k3s-agent", "agent"),
    ("", [], {"K3S_URL": "https://s", "K3S_TOKEN_FILE": "/t"}, "k3s-agent", "agent"),
    ("", ["agent", "--server", "https://s:6443", "--token", "t"], {}, "k3s-agent", "agent --server https://s:6443"),
    ("agent -s https://s:6443 -t=t", [], {}, "k3s-agent", "agent -s https://s:6443"),
    ("server", [], {"K3S_URL": "https://s", "K3S_TOKEN": "t"}, "k3s", "server"),
    ("", ["--disable", "traefik"], {}, "k3s", "server --disable traefik"),
    ("--disable traefik", [], {}, "k3s", "server --disable traefik"),
    ("--flannel-backend none", [], {"K3S_TOKEN": "t"}, "k3s", "server --flannel-backend none"),
    ("server --cluster-init", ["--disable=traefik"], {}, "k3s", "server --cluster-init --disable=traefik"),
    ("server", ["--server", "https://s:6443"], {"K3S_TOKEN": "t"}, "k3s", "server --server https://s:6443"),
    ("agent --node-label 'a=b c'", [], {"K3S_URL": "https://s", "K3S_TOKEN": "t"}, "k3s-agent",
     'agent --node-label "a=b c"'),
    ('--kubelet-arg "x=1 2"  --debug', [], {}, "k3s", 'server --kubelet-arg "x=1 2" --debug'),
    ("", ["server"], {"INSTALL_K3S_NAME": "edge"}, "k3s-edge", "server"),
    ("", ["--write-kubeconfig-mode", "644"], {}, "k3s", "server --write-kubeconfig-mode 644"),
    ("", ["server", "--config", "/etc/my.yaml"], {}, "k3s", "server --config /etc/my.yaml"),
    ("", ["server", "--node-label=p=100%$HOME`\\"], {}, "k3s", 'server "--node-label=p=100%%$$HOME`\\\\"'),
    ("", ["server", "--node-label", ""], {}, "k3s", 'server --node-label ""'),
]  # fmt: skip


@pytest.mark.parametrize(("words", "arguments", "variables", "service", "command"), CALLS)
def test_every_calling_style_of_upstream_gives_its_service_and_command(
    site: Site, bundle: Path, words: str, arguments: list[str], variables: dict[str, str], service: str, command: str
) -> None:
    done = site.run(bundle, *arguments, environment={"INSTALL_K3S_EXEC": words, **variables})
    assert done.status == 0, done.err
    unit = f"/etc/systemd/system/{service}.service"
    assert exec_start(site, unit) == f"/usr/local/bin/k3s {command}"
    name = "k3s-uninstall.sh" if service == "k3s" else f"{service}-uninstall.sh"
    assert (site.root / "usr/local/bin" / name).is_file()


@pytest.mark.parametrize(
    ("variables", "arguments", "name"),
    [
        ({"K3S_URL": "http://s", "K3S_TOKEN": "t"}, [], "url-scheme"),
        ({"K3S_URL": "https://s"}, [], "agent-without-token"),
        ({}, ["agent"], "agent-without-server"),
        ({}, ["etcd-snapshot"], "unknown-command"),
        ({"INSTALL_K3S_EXEC": "server --x 'y"}, [], "unbalanced-quote"),
        ({"INSTALL_K3S_NAME": "a b"}, [], "service-name"),
        ({"INSTALL_K3S_VERSION": "v1.33.0+k3s1"}, [], "version-differs"),
        ({"INSTALL_K3S_CHANNEL": "v1.3"}, [], "channel-differs"),
        ({"INSTALL_K3S_COMMIT": "abc"}, [], "commit-build"),
        ({"INSTALL_K3S_BIN_DIR": "bin"}, [], "path-relative"),
        ({"K3S_DATA_DIR": "/"}, [], "data-dir-shared"),
        ({"K3S_NODE_NAME": "a\nb"}, [], "newline-in-variable"),
        ({}, ["--data-dir", "/var"], "data-dir-shared"),
        ({}, ["--verify", "--check"], "two-actions"),
        ({}, ["--force"], "missing-value"),
        ({}, ["--uninstal"], "unknown-option"),
        ({}, ["server", "--version"], "unknown-option"),
        ({}, ["--status=all"], "unknown-option"),
    ],
)
def test_wrong_use_is_refused_by_name_and_changes_nothing(
    site: Site, bundle: Path, variables: dict[str, str], arguments: list[str], name: str
) -> None:
    done = site.run(bundle, *arguments, environment=variables)
    assert (done.status, f"error[{name}]" in done.err) == (2, True), done.err
    assert site.files().keys() == {"usr/lib/systemd/systemd"}


def test_secrets_stand_in_the_environment_file_alone(site: Site, bundle: Path) -> None:
    token = "top'\"$ecret`\\ x"
    done = site.run(
        bundle, "server", "--token", token, "--agent-token=hid-den", environment={"K3S_DATASTORE_ENDPOINT": "pw@db"}
    )
    assert done.status == 0, done.err
    assert site.read(UNIT + ".env") == (
        'K3S_AGENT_TOKEN="hid-den"\nK3S_DATASTORE_ENDPOINT="pw@db"\nK3S_TOKEN="top\'\\"\\$ecret\\`\\\\ x"\n'
    )
    for path in site.root.rglob("*"):
        if path.is_file() and not path.name.endswith(".env"):
            assert b"ecret`" not in path.read_bytes(), path
            assert b"hid-den" not in path.read_bytes(), path
    assert "ecret`" not in done.out + done.err


def test_the_environment_file_holds_upstreams_choice_of_variables(site: Site, bundle: Path) -> None:
    given = {
        "K3S_KUBECONFIG_MODE": "644", "CONTAINERD_LOG_LEVEL": "debug", "KINE_X": "1", "https_proxy": "http://p:3128",
        "No_Proxy": "10.0.0.0/8", "MY_K3S_X": "no", "GITHUB_TOKEN": "no", "INSTALL_K3S_SKIP_DOWNLOAD": "true",
    }  # fmt: skip
    assert site.run(bundle, environment=given).status == 0
    assert site.read(UNIT + ".env").splitlines() == [
        'CONTAINERD_LOG_LEVEL="debug"', 'K3S_KUBECONFIG_MODE="644"', 'KINE_X="1"', 'No_Proxy="10.0.0.0/8"',
        'https_proxy="http://p:3128"',
    ]  # fmt: skip


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_modes_and_result_do_not_depend_on_the_callers_environment(tmp_path: Path, bundle: Path, umask: int) -> None:
    path = command_directory(tmp_path / "bin")
    plain, odd = Site(make_root(tmp_path / "a"), path), Site(make_root(tmp_path / "b"), path)
    plain.run(bundle)
    before = os.umask(umask)
    try:
        odd.run(bundle, environment={"LANG": "tr_TR.UTF-8", "LC_ALL": "C.UTF-8", "IFS": "/k3", "CDPATH": "/usr:/etc"})
    finally:
        os.umask(before)
    assert odd.files() == plain.files()
    for folder in (path for path in odd.root.rglob("*") if path.is_dir() and "systemd" not in path.parts):
        assert folder.stat().st_mode == (plain.root / folder.relative_to(odd.root)).stat().st_mode, folder


@pytest.mark.parametrize(
    "name", ["with space", "quo'te\"s", "new\nline", "-dash", "*", "ü€", "back\\slash", "$HOME `id`"]
)
def test_a_bundle_and_a_root_may_have_any_name(every_site: Site, tmp_path: Path, name: str) -> None:
    bundle = build_bundle(tmp_path / name)
    root = make_root(tmp_path / f"root {name}".replace("\n", " "))
    site = Site(root, every_site.path, every_site.shell)
    # yash cannot take a path that its locale cannot spell.
    done = site.run(bundle, environment={"LC_ALL": "C.UTF-8"})
    assert done.status == 0, done.err
    assert (root / "usr/local/bin/k3s").is_file()


def test_it_runs_by_relative_path_by_link_and_from_its_own_directory(site: Site, bundle: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.sh"
    link.symlink_to("bundle/install.sh")
    assert site.run(tmp_path, script="link.sh").status == 0
    assert "nothing was changed" in site.run(Path(), script="install.sh", cwd=bundle).out
    assert "nothing was changed" in site.run(Path("bundle"), cwd=tmp_path).out


def test_a_script_read_from_a_pipe_is_refused(bundle: Path, site: Site) -> None:
    with (bundle / "install.sh").open("rb") as script:
        done = subprocess.run(["dash"], stdin=script, capture_output=True, text=True, check=False, cwd=site.root)
    assert (done.returncode, "error[no-script-file]" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["sha256sum", "stat", "od", "grep", "sort", "df"])
def test_a_missing_command_is_named_before_any_write(tmp_path: Path, bundle: Path, name: str) -> None:
    site = Site(make_root(tmp_path / "root"), command_directory(tmp_path / "bin", without=name))
    done = site.run(bundle)
    assert done.status == 5, (done.out, done.err)
    assert f"commands are missing: {name}\n" in done.err
    assert site.files().keys() == {"usr/lib/systemd/systemd"}


def test_an_edited_config_is_kept_unless_replacing_is_asked_for(site: Site, bundle: Path) -> None:
    config = site.root / "etc/rancher/k3s/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("node-name: mine\n")
    done = site.run(bundle)
    assert (done.status, "warning[config-kept]" in done.err) == (0, True)
    assert config.read_text() == "node-name: mine\n"
    done = site.run(bundle, "--config", "replace")
    assert (done.status, config.read_text()) == (0, (bundle / "etc/config.yaml").read_text())
    saved = list((site.root / "var/lib/k3s-bundler/saved").iterdir())
    assert [path.read_text() for path in saved] == ["node-name: mine\n"]


def test_what_the_operator_has_to_fill_in_is_named_until_it_is_filled_in(site: Site, tmp_path: Path) -> None:
    asked = BundleSpec(facts=("asked=a.example:5000 password",))
    done = site.run(build_bundle(tmp_path / "asked", asked), "server")
    assert done.status == 0, done
    file = "/etc/rancher/k3s/registries.yaml"
    assert f"warning[secret-asked]: {file} has an empty password for a.example:5000" in done.err
    (site.root / file[1:]).write_text("mirrors: {}\nconfigs: {}\n")
    newer = BundleSpec(facts=asked.facts, archives={"k3s-airgap-images": b"newer\n"})
    again = site.run(build_bundle(tmp_path / "newer", newer), "server")
    assert (again.status, "secret-asked" in again.err) == (0, False), again


def test_targets_that_are_links_are_replaced_and_never_written_through(site: Site, bundle: Path) -> None:
    victim = site.root / "victim"
    victim.write_text("untouched")
    (site.root / "usr/local/bin").mkdir(parents=True)
    (site.root / "usr/local/bin/k3s").symlink_to(victim)
    (site.root / "usr/local/bin/k3s.k3s-bundler-new").symlink_to(victim)
    (site.root / "etc/rancher/k3s").mkdir(parents=True)
    os.mkfifo(site.root / "etc/rancher/k3s/registries.yaml.k3s-bundler-new")
    assert site.run(bundle).status == 0
    assert victim.read_text() == "untouched"
    assert not (site.root / "usr/local/bin/k3s").is_symlink()


def test_a_foreign_kubectl_stays(site: Site, bundle: Path) -> None:
    (site.root / "usr/local/bin").mkdir(parents=True)
    (site.root / "usr/local/bin/kubectl").write_text("somebody's")
    (site.root / "usr/local/bin/ctr").symlink_to("/usr/bin/ctr")
    assert site.run(bundle).status == 0
    assert site.read("/usr/local/bin/kubectl") == "somebody's"
    assert (site.root / "usr/local/bin/ctr").readlink() == Path("/usr/bin/ctr")
    assert site.run(bundle, "--uninstall").status == 0
    assert site.read("/usr/local/bin/kubectl") == "somebody's"


@pytest.mark.parametrize("choice", ["--dry-run", "--check", "--verify"])
def test_asking_changes_nothing(every_site: Site, bundle: Path, choice: str) -> None:
    done = every_site.run(bundle, choice)
    assert done.status == 0, done.err
    assert every_site.files().keys() == {"usr/lib/systemd/systemd"}
    assert not (every_site.root / "var").exists()
    if choice == "--dry-run":
        assert f"create {every_site.root}/usr/local/bin/k3s\n" in done.out


@pytest.mark.parametrize("question", ["--help", "--status", "--verify", "--check", "--dry-run"])
@pytest.mark.parametrize("stdout", [">/dev/full", ">&-", "| true"])
def test_a_question_whose_answer_cannot_be_written_installs_nothing(
    every_site: Site, tmp_path: Path, question: str, stdout: str
) -> None:
    """`--status` is asked of the older of two bundles' installs, so that an install would show."""
    old, new = (
        build_bundle(tmp_path / release, BundleSpec(release=release)) for release in ("v1.34.1+k3s1", "v1.34.2+k3s1")
    )
    assert every_site.run(old, "server").status == 0
    before = every_site.files()
    shell = " ".join([program(every_site.shell[0]), *every_site.shell[1:]])
    asked = f'{shell} "$0/install.sh" --root "$1" {question}; echo "$?" >"$2"'
    subprocess.run(
        [program("dash"), "-c", f"{{ {asked}; }} {stdout}", new, every_site.root, tmp_path / "status"],
        env={"PATH": str(every_site.path), "ARCH": "amd64"},
        check=False,
        timeout=120,
    )
    assert (every_site.files(), (tmp_path / "status").read_text()) == (before, "0\n")


def test_a_tree_that_leads_out_of_itself_is_refused(site: Site, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "of-the-host").mkdir()
    (site.root / "var").mkdir()
    (site.root / "var/lib").symlink_to(tmp_path / "of-the-host")
    done = site.run(bundle, "server")
    assert (done.status, "error[target-outside-root]" in done.err) == (5, True), done
    assert not list((tmp_path / "of-the-host").iterdir())


def test_a_service_that_cannot_be_enabled_is_named_with_the_reason(site: Site, bundle: Path) -> None:
    wants = site.root / "etc/systemd/system/multi-user.target.wants"
    wants.parent.mkdir(parents=True)
    wants.write_text("in the way of the link")
    before = site.files()
    done = site.run(bundle, "server")
    assert (done.status, "error[enable-failed]" in done.err, str(wants) in done.err) == (5, True, True), done
    assert site.files() == before


def test_a_failure_that_nobody_foresaw_says_what_to_do(site: Site, bundle: Path) -> None:
    (site.root / "etc/rancher/k3s").mkdir(parents=True)
    (site.root / "etc/rancher/k3s/config.yaml").write_text("debug: true\n")
    (site.root / "var/lib/k3s-bundler").mkdir(parents=True)
    (site.root / "var/lib/k3s-bundler/saved").write_text("in the way")
    done = site.run(bundle, "server", "--config", "replace")
    assert (done.status, "error[unforeseen]" in done.err, "hint: " in done.err) == (1, True, True), done
    assert site.read("/etc/rancher/k3s/config.yaml") == "debug: true\n"


def test_images_only_places_the_archives_and_nothing_else(site: Site, bundle: Path) -> None:
    assert site.run(bundle, "--images-only").status == 0
    files = [name for name in site.files() if not name.startswith(("usr/lib", "var/lib/k3s-bundler"))]
    assert files == ["var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar"]


def test_a_data_directory_elsewhere_takes_the_images(site: Site, bundle: Path) -> None:
    assert site.run(bundle, "server", "--data-dir", "/srv/my k3s").status == 0
    assert (site.root / "srv/my k3s/agent/images/k3s-airgap-images-amd64.tar").is_file()
    assert exec_start(site) == '/usr/local/bin/k3s server --data-dir "/srv/my k3s"'
    assert site.run(bundle, "--uninstall").status == 0
    assert not (site.root / "srv/my k3s").exists()


def test_downgrade_and_a_skipped_minor_are_refused(site: Site, bundle: Path, tmp_path: Path) -> None:
    site.run(bundle)
    older = build_bundle(tmp_path / "older", BundleSpec(release="v1.33.9+k3s1"))
    newer = build_bundle(tmp_path / "newer", BundleSpec(release="v1.36.0+k3s1"))
    assert "error[downgrade]" in site.run(older).err
    assert "error[minor-skipped]" in site.run(newer).err
    assert site.run(older, "--allow-downgrade").status == 0
    assert site.run(newer, "--force", "minor-skipped").status == 0


def test_without_an_init_system_the_files_are_placed_only_when_asked_for(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bare/usr/bin").mkdir(parents=True)
    (tmp_path / "bare/usr/bin/systemctl").write_text("installed, but nothing runs")
    site = Site(tmp_path / "bare", command_directory(tmp_path / "bin"))
    done = site.run(bundle)
    assert (done.status, "error[no-init-system]" in done.err, "--init" in done.err) == (5, True, True)
    assert site.files().keys() == {"usr/bin/systemctl"}
    assert site.run(bundle, "--init", "none").status == 0
    assert (site.root / "usr/local/bin/k3s").is_file()
    assert not list(site.root.rglob("*.service"))


def test_without_an_init_system_the_receipt_knows_the_data_directory(site: Site, bundle: Path, tmp_path: Path) -> None:
    assert site.run(bundle, "--init", "none", environment={"K3S_DATA_DIR": "/srv/x"}).status == 0
    archives = {"k3s-airgap-images": b"newer\n"}
    newer = build_bundle(tmp_path / "newer", BundleSpec(release="v1.34.2+k3s1", archives=archives))
    for arguments in (["--images-only"], ["--images-only", "--init", "none"], ["--init", "none"]):
        done = site.run(newer, *arguments)
        assert done.status == 0, done
        assert site.read("/srv/x/agent/images/k3s-airgap-images-amd64.tar") == "newer\n"
        assert not (site.root / "var/lib/rancher").exists()
    # A service would have to be told of it.
    done = site.run(newer)
    assert (done.status, "error[data-dir-moved]" in done.err) == (5, True), done


def test_without_an_init_system_too_a_configuration_that_moves_the_data_is_refused(site: Site, tmp_path: Path) -> None:
    old = build_bundle(tmp_path / "old", BundleSpec(config="data-dir: /srv/old\n"))
    assert site.run(old, "--init", "none").status == 0
    done = site.run(build_bundle(tmp_path / "new", BundleSpec(release="v1.34.2+k3s1")), "--init", "none")
    assert (done.status, "error[data-dir-moved]" in done.err) == (5, True), done


def test_a_damaged_backup_is_not_rolled_back_to(site: Site, bundle: Path, tmp_path: Path) -> None:
    newer = build_bundle(tmp_path / "newer", BundleSpec(release="v1.35.0+k3s1"))
    site.run(bundle)
    site.run(newer)
    before = site.files()
    copies = [path for path in (site.root / "var/lib/k3s-bundler/k3s/previous").iterdir() if path.name != "journal"]
    copies[0].write_bytes(b"damaged")
    done = site.run(newer, "--rollback")
    assert (done.status, "error[backup-damaged]" in done.err) == (4, True)
    after = site.files()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {copies[0].relative_to(site.root).as_posix()}


def test_status_tells_what_was_changed_since(site: Site, bundle: Path) -> None:
    assert site.run(bundle, "--status").status == 9
    site.run(bundle)
    assert site.run(bundle, "--status").status == 0
    with (site.root / UNIT[1:]).open("a") as unit:
        unit.write("# edited")
    done = site.run(bundle, "--status")
    assert (done.status, f"{UNIT} is not as it was installed" in done.err) == (10, True)


def test_role_files_of_the_bundle_go_before_the_common_one(site: Site, tmp_path: Path) -> None:
    extra = {"etc/config-agent.yaml": b"debug: true\n", "manifests/a.yaml": b"kind: List\n"}
    roles = build_bundle(tmp_path / "roles", BundleSpec(extra=extra))
    assert site.run(roles, environment={"K3S_URL": "https://s", "K3S_TOKEN": "t"}).status == 0
    assert site.read("/etc/rancher/k3s/config.yaml") == "debug: true\n"
    assert not (site.root / "var/lib/rancher/k3s/server").exists()


def test_manifests_and_charts_go_to_servers(site: Site, tmp_path: Path) -> None:
    extra = {"manifests/a.yaml": b"kind: List\n", "charts/c-1.0.tgz": b"chart"}
    assert site.run(build_bundle(tmp_path / "with", BundleSpec(extra=extra))).status == 0
    assert site.read("/var/lib/rancher/k3s/server/manifests/a.yaml") == "kind: List\n"
    assert site.read("/var/lib/rancher/k3s/server/static/charts/c-1.0.tgz") == "chart"


def test_a_run_that_names_nothing_keeps_role_flags_and_environment(site: Site, bundle: Path, tmp_path: Path) -> None:
    given = {"K3S_URL": "https://s", "K3S_TOKEN": "t", "K3S_NODE_NAME": "n1"}
    assert site.run(bundle, "agent", "--node-label", "a=b c", environment=given).status == 0
    before = site.files()
    newer = build_bundle(tmp_path / "newer", BundleSpec(release="v1.34.2+k3s1"))
    assert site.run(newer).status == 0
    for name in ("etc/systemd/system/k3s-agent.service", "etc/systemd/system/k3s-agent.service.env"):
        assert site.files()[name] == before[name]


def test_a_run_that_names_a_variable_means_what_it_says_but_keeps_the_token(site: Site, bundle: Path) -> None:
    assert site.run(bundle, "--debug", environment={"K3S_TOKEN": "t", "K3S_NODE_NAME": "n1"}).status == 0
    assert site.run(bundle, environment={"K3S_NODE_NAME": "n2"}).status == 0
    assert site.read(UNIT + ".env") == 'K3S_NODE_NAME="n2"\nK3S_TOKEN="t"\n'
    assert exec_start(site) == "/usr/local/bin/k3s server"


def test_quiet_says_the_result_alone(site: Site, bundle: Path) -> None:
    done = site.run(bundle, "--quiet")
    assert (done.status, done.err, len(done.out.splitlines())) == (0, "", 1)


def test_json_is_one_object_a_line(site: Site, bundle: Path) -> None:
    import json

    done = site.run(bundle, "--json")
    events = [json.loads(line)["event"] for line in done.out.splitlines()]
    assert set(events) == {"step", "result"}
    refused = site.run(bundle, "--json", environment={"INSTALL_K3S_VERSION": 'v"1\\'})
    assert json.loads(refused.out.splitlines()[-1])["name"] == "version-differs"


def test_an_install_that_was_not_to_be_enabled_is_enabled_by_the_next_that_is(site: Site, bundle: Path) -> None:
    wants = site.root / "etc/systemd/system/multi-user.target.wants/k3s.service"
    assert site.run(bundle, environment={"INSTALL_K3S_SKIP_ENABLE": "true"}).status == 0
    assert not wants.is_symlink()
    assert site.run(bundle, environment={"INSTALL_K3S_SKIP_START": "true"}).status == 0
    assert wants.is_symlink()


def lock_of(process: int | str, boot: str | None = None) -> str:
    """Return what the lock of `process` says: boot id, number, start time (proc(5), field 22 of stat)."""
    started = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[19]
    return f"{boot or Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{process}:{started}"


def put_lock(site: Site, holder: str) -> None:
    (site.root / "var/lib/k3s-bundler").mkdir(parents=True)
    (site.root / "var/lib/k3s-bundler/lock").symlink_to(holder)


def test_the_lock_of_a_living_install_is_respected(every_site: Site, bundle: Path) -> None:
    put_lock(every_site, lock_of(os.getpid()))
    done = every_site.run(bundle)
    assert (done.status, "error[another-install]" in done.err) == (6, True), done
    assert not (every_site.root / "usr/local").exists()
    assert (every_site.root / "var/lib/k3s-bundler/lock").is_symlink()


@pytest.mark.parametrize("kind", ["another boot", "reused number", "no such process", "zombie", "junk"])
def test_the_lock_of_a_dead_install_is_taken_over(every_site: Site, bundle: Path, kind: str) -> None:
    with subprocess.Popen(["true"]) as child:
        while "Z" not in Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2].split()[0]:
            time.sleep(0.01)
        put_lock(
            every_site,
            {
                "another boot": lock_of(os.getpid(), "00000000-0000-0000-0000-000000000000"),
                "reused number": lock_of(os.getpid()).rpartition(":")[0] + ":1",
                "no such process": lock_of(os.getpid()).replace(f":{os.getpid()}:", ":99999999:"),
                "zombie": lock_of(child.pid),
                "junk": "junk",
            }[kind],
        )
        done = every_site.run(bundle)
    assert (done.status, "cut off" in done.out) == (0, True), done
    assert not (every_site.root / "var/lib/k3s-bundler/lock").is_symlink()


@pytest.mark.parametrize(
    ("arguments", "variables", "config"),
    [
        (["server"], {"K3S_URL": "https://s:6443", "K3S_TOKEN": "t"}, ""),
        (["server", "--server", "https://s:6443"], {"K3S_TOKEN": "t"}, ""),
        (["server"], {"K3S_TOKEN": "t"}, "server: https://s:6443\n"),
    ],
)
def test_a_rollback_leaves_the_datastore_of_a_server_that_joined_others(
    site: Site, tmp_path: Path, arguments: list[str], variables: dict[str, str], config: str
) -> None:
    old, new = (
        build_bundle(tmp_path / release, BundleSpec(release=release)) for release in ("v1.34.1+k3s1", "v1.34.2+k3s1")
    )
    if config:
        (site.root / "etc/rancher/k3s").mkdir(parents=True)
        (site.root / "etc/rancher/k3s/config.yaml").write_text(config)
    assert site.run(old, *arguments, environment=variables).status == 0
    member = site.root / "var/lib/rancher/k3s/server/db/etcd/member"
    member.parent.mkdir(parents=True)
    member.write_text("before the upgrade\n")
    assert site.run(new).status == 0
    member.write_text("confirmed to the others\n")
    done = site.run(new, "--rollback")
    assert (done.status, "warning[datastore-left]" in done.err) == (0, True), done
    assert member.read_text() == "confirmed to the others\n"
