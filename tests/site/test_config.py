"""What the installer takes from k3s's configuration: config.yaml, then the files of config.yaml.d beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundler.site.config import config_yaml
from tests.site.bundles import BundleSpec, Outcome, Site, build_bundle, run_functions

if TYPE_CHECKING:
    from pathlib import Path

ETC = "etc/rancher/k3s"
DROP_INS = f"{ETC}/config.yaml.d"
ARCHIVE = "agent/images/k3s-airgap-images-amd64.tar"


def write(site: Site, **files: str) -> None:
    """Write configuration at the site: `config` is config.yaml, every other name one of config.yaml.d."""
    for name, content in files.items():
        path = site.root / (f"{ETC}/config.yaml" if name == "config" else f"{DROP_INS}/{name.replace('_', '.')}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, newline="")


READ = [
    (["server: https://a\n"], "https://a"),
    (["server: https://a # the first\n"], "https://a"),
    (["\"server\": 'https://a'\r\nother: x\r\n"], "https://a"),
    (["# server: https://b\nserver:    https://a"], "https://a"),
    (["  server: https://b\nserver: a#b\n"], "a#b"),
    (["server: https://a\n", "servers: https://b\n"], "https://a"),
    (["server: https://a\n", "server: https://b\n"], "https://b"),
    (["server: https://a\n", 'server: ""\n'], ""),
    (["server:\n  - one # two\n  - 'th ree'\nother:\n  - four\n"], "one,th ree"),
    (["server:\n- one\n- two\n", "server+:\n- three\n", "server+: four\n"], "one,two,three,four"),
    (["server+: one\n", "server:\n  - two\n"], "two"),
    (["server: [one, two]\n"], "one, two"),
    (["other:\n  - server: no\n"], ""),
    (["server : https://a\n"], "https://a"),
    (["\ufeffserver: https://a\n"], "https://a"),
    (["---\nserver:\thttps://a\t# b\n"], "https://a"),
    (["server: https://a\n", "server: null\n"], ""),
    (["server: https://a\n", "server: ~ # none\n"], ""),
    (["server: https://a\n", "server: # none\n"], ""),
    (["server: 'null'\n"], "null"),
    (["s: https://a\n"], "https://a"),
    (["server: https://a\ns: https://b\n"], "https://b"),
    (["server: 'a # b' # c\n"], "a # b"),
    (['server: "a # b"\n'], "a # b"),
    (["server:\n  # c\n  - 'a # b'\n\n  - \"c\" # d\n"], "a # b,c"),
    (["other: |\n  server: b\nserver: a\n"], "a"),
    (["server: ''\n"], ""),
    (["server: 'a:- b'\n"], "a:- b"),
    ([], ""),
]
# What k3s reads, and this installer does not.
UNREAD = [
    "data-dir:\n  /srv/x\n",
    "data-dir: >-\n  /srv/x\n",
    "data-dir: |\n  /srv/x\n",
    "data-dir: /srv\n  /x\n",
    'data-dir: "/srv/\\u0078"\n',
    'data-dir: "/srv/\n  x"\n',
    "data-dir: 'it''s'\n",
    "data-dir: !!str /srv/x\n",
    "a: &a /srv/x\ndata-dir: *a\n",
    "data-dir: [/srv,\n  /x]\n",
    '{"data-dir": "/srv/x"}\n',
    "debug: true\n? data-dir\n: /srv/x\n",
    "debug: true\n!!str data-dir: /srv/x\n",
    "  data-dir: /srv/x\n",
    "d: >-\n  /srv/x\n",
    "data-dir+: >-\n  /srv/x\n",
]


@pytest.mark.parametrize(("files", "value"), READ)
def test_a_value_is_read_as_k3s_reads_it(tmp_path: Path, shell: tuple[str, ...], files: list[str], value: str) -> None:
    paths = [tmp_path / f"{number}.yaml" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_text(content, newline="")
    done = run_functions(shell, 'config_value server "$@"', *paths, tmp_path / "absent")
    assert done == Outcome(0, value + "\n", "")


@pytest.mark.parametrize("content", UNREAD)
def test_a_value_in_a_form_that_is_not_read_is_refused_rather_than_taken_for_another(
    every_site: Site, bundle: Path, content: str
) -> None:
    write(every_site, place_yaml=content)
    before = every_site.files()
    done = every_site.run(bundle, "server")
    assert (done.status, "error[config-form]" in done.err, "place.yaml" in done.err) == (5, True, True), done
    assert every_site.files() == before


def test_a_bundle_that_configures_nothing_is_read(site: Site, tmp_path: Path) -> None:
    """An empty mapping is what the builder writes then."""
    bundle = build_bundle(tmp_path / "nothing", BundleSpec(config=config_yaml({}, "every node").decode()))
    assert site.run(bundle, "server").status == 0


def test_a_key_that_does_not_count_here_may_be_in_any_form(site: Site, bundle: Path) -> None:
    write(site, place_yaml="tls-san: &a\n  - >-\n    x\nnode-label: {a: b}\nkubelet-arg: |\n  a=b\ndata-dir: /srv/x\n")
    assert site.run(bundle, "server").status == 0
    assert (site.root / "srv/x" / ARCHIVE).is_file()


@pytest.mark.parametrize("value", ["true", "True", "yes", "on", "1", '"true"'])
def test_docker_is_on_in_every_way_of_saying_so(site: Site, bundle: Path, value: str) -> None:
    write(site, place_yaml=f"docker: {value}\n")
    assert site.run(bundle, "server").status == 0
    assert not (site.root / "var/lib/rancher/k3s/agent/images").exists()


def test_an_agent_finds_server_and_token_under_their_short_keys(site: Site, bundle: Path) -> None:
    write(site, join_yaml="s: https://s:6443\nt: secret\n")
    assert site.run(bundle, "agent").status == 0


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Make a bundle in which only a server that joins no other one begins a cluster."""
    extra = {"etc/config-first-server.yaml": b"cluster-init: true\n"}
    return build_bundle(tmp_path / "first", BundleSpec(config="debug: true\n", extra=extra))


def test_a_server_that_is_told_of_another_in_a_drop_in_is_not_the_first(every_site: Site, first: Path) -> None:
    write(every_site, _10_join_yaml="server: https://s:6443\n")
    assert every_site.run(first, "server", environment={"K3S_TOKEN": "t"}).status == 0
    assert every_site.read(f"{ETC}/config.yaml") == "debug: true\n"


@pytest.mark.parametrize(
    ("drop_ins", "is_first"),
    [
        ({"_20_yaml": 'server: ""\n', "_10_yaml": "server: https://s:6443\n"}, True),
        ({"join_yml": "server: https://s:6443\n"}, False),
        ({"join_txt": "server: https://s:6443\n"}, True),
        ({"join_yaml": "tls-san:\n  - server\n"}, True),
    ],
)
def test_drop_ins_are_read_by_name_and_the_later_wins(
    site: Site, first: Path, drop_ins: dict[str, str], *, is_first: bool
) -> None:
    write(site, **drop_ins)
    assert site.run(first, "server", environment={"K3S_TOKEN": "t"}).status == 0
    assert ("cluster-init" in site.read(f"{ETC}/config.yaml")) == is_first


def test_an_agent_finds_server_and_token_in_drop_ins(site: Site, bundle: Path) -> None:
    write(site, server_yaml="server: https://s:6443\n")
    assert "error[agent-without-token]" in site.run(bundle, "agent").err
    write(site, token_yaml="token-file: /etc/token\n")
    done = site.run(bundle, "agent")
    assert done.status == 0, done


def test_a_drop_in_names_the_data_directory_against_config_yaml(site: Site, bundle: Path) -> None:
    write(site, config="data-dir: /srv/one\n", place_yaml="data-dir: /srv/two\n")
    assert site.run(bundle, "server").status == 0
    assert (site.root / "srv/two" / ARCHIVE).is_file()
    assert not (site.root / "srv/one").exists()


def test_a_file_goes_before_a_variable_as_in_k3s(site: Site, bundle: Path) -> None:
    write(site, config="data-dir: /srv/file\n")
    assert site.run(bundle, "server", environment={"K3S_DATA_DIR": "/srv/variable"}).status == 0
    assert (site.root / "srv/file" / ARCHIVE).is_file()
    assert not (site.root / "srv/variable").exists()


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--config", "/etc/my k3s.yaml"], {}),
        (["-c", "/etc/my k3s.yaml"], {}),
        (["--config=/etc/my k3s.yaml"], {}),
        ([], {"K3S_CONFIG_FILE": "/etc/my k3s.yaml"}),
        (["--config", f"/{ETC}/config.yaml"], {"K3S_CONFIG_FILE": "/etc/my k3s.yaml"}),
    ],
)
@pytest.mark.parametrize("file", ["my k3s.yaml", "my k3s.yaml.d/place.yaml"])
def test_another_configuration_file_is_read_instead_of_config_yaml(
    site: Site, bundle: Path, arguments: list[str], variables: dict[str, str], file: str
) -> None:
    write(site, config="data-dir: /srv/one\n", place_yaml="data-dir: /srv/two\n")
    (site.root / "etc/my k3s.yaml.d").mkdir()
    (site.root / "etc" / file).write_text("data-dir: /srv/mine\n")
    precious = site.root / "srv/one/precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("")
    assert site.run(bundle, "server", *arguments, environment=variables).status == 0
    assert (site.root / "srv/mine" / ARCHIVE).is_file()
    assert "nothing was changed" in site.run(bundle).out
    assert site.run(bundle, "--uninstall").status == 0
    assert not (site.root / "srv/mine").exists()
    assert precious.exists()
    assert not (site.root / "srv/two").exists()


def test_another_configuration_file_may_be_one_that_the_bundle_carries(site: Site, tmp_path: Path) -> None:
    files = {"files/a.yaml": b"data-dir: /srv/a\n", "files/b.yaml": b"data-dir: /srv/b\n"}
    for target, number in (("/etc/my.yaml", "a"), ("/etc/my.yaml.d/10.yaml", "b")):
        facts = (f"file=600 server files/{number}.yaml {target}",)
        bundle = build_bundle(tmp_path / number, BundleSpec(extra=files, facts=facts, config="data-dir: /srv/c\n"))
        assert site.run(bundle, "server", "--config", "/etc/my.yaml").status == 0
        assert (site.root / f"srv/{number}" / ARCHIVE).is_file()
        assert site.run(bundle, "--uninstall").status == 0


def test_a_rollback_finds_in_another_configuration_file_that_a_server_joined_others(
    site: Site, bundle: Path, tmp_path: Path
) -> None:
    (site.root / "etc").mkdir()
    (site.root / "etc/my.yaml").write_text("server: https://s:6443\n")
    variables = {"K3S_CONFIG_FILE": "/etc/my.yaml", "K3S_TOKEN": "t"}
    assert site.run(bundle, "server", environment=variables).status == 0
    (site.root / "var/lib/rancher/k3s/server/db/etcd").mkdir(parents=True)
    assert site.run(build_bundle(tmp_path / "new", BundleSpec(release="v1.34.2+k3s1"))).status == 0
    done = site.run(bundle, "--rollback")
    assert (done.status, "warning[datastore-left]" in done.err) == (0, True), done


CARRIED = {"files/place.yaml": b"data-dir: /srv/carried\n"}
CARRIED_FACT = f"file=600 server files/place.yaml /{DROP_INS}/place.yaml"


def test_a_drop_in_of_the_bundle_counts_before_it_is_at_the_site_and_not_when_it_goes(
    site: Site, bundle: Path, tmp_path: Path
) -> None:
    carrying = build_bundle(tmp_path / "carrying", BundleSpec(extra=CARRIED, facts=(CARRIED_FACT,)))
    assert site.run(carrying, "server").status == 0
    assert (site.root / "srv/carried" / ARCHIVE).is_file()
    assert "nothing was changed" in site.run(carrying).out
    done = site.run(bundle)
    assert (done.status, "error[data-dir-moved]" in done.err) == (5, True), done


def test_a_drop_in_of_the_bundle_that_somebody_edited_counts_as_it_is(site: Site, tmp_path: Path) -> None:
    write(site, place_yaml="data-dir: /srv/mine\n")
    carrying = build_bundle(tmp_path / "carrying", BundleSpec(extra=CARRIED, facts=(CARRIED_FACT,)))
    assert site.run(carrying, "server").status == 0
    assert (site.root / "srv/mine" / ARCHIVE).is_file()


def test_an_upgrade_whose_configuration_moves_the_data_directory_is_refused(site: Site, tmp_path: Path) -> None:
    old = build_bundle(tmp_path / "old", BundleSpec(config="data-dir: /srv/old\n"))
    new = build_bundle(tmp_path / "new", BundleSpec(release="v1.34.2+k3s1", config="data-dir: /srv/new\n"))
    assert site.run(old, "server").status == 0
    before = site.files()
    done = site.run(new)
    assert (done.status, "error[data-dir-moved]" in done.err, "/srv/old" in done.err) == (5, True, True), done
    assert site.files() == before
    assert site.run(new, "--force", "data-dir-moved").status == 0


def test_docker_in_the_configuration_is_seen_by_an_upgrade_too(site: Site, tmp_path: Path) -> None:
    old, new = (
        build_bundle(tmp_path / release, BundleSpec(release=release, config="docker: true\n"))
        for release in ("v1.34.1+k3s1", "v1.34.2+k3s1")
    )
    for bundle in (old, new):
        assert site.run(bundle, "server").status == 0
        assert not (site.root / "var/lib/rancher/k3s/agent/images").exists()


@pytest.mark.parametrize("config", ["data-dir: /srv/new\n", "docker: true\n"])
def test_images_alone_go_where_the_k3s_that_is_here_looks(site: Site, tmp_path: Path, config: str) -> None:
    old = build_bundle(tmp_path / "old", BundleSpec(config="data-dir: /srv/old\n"))
    archives = {"k3s-airgap-images": b"newer\n"}
    new = build_bundle(tmp_path / "new", BundleSpec(release="v1.34.2+k3s1", config=config, archives=archives))
    assert site.run(old, "server").status == 0
    done = site.run(new, "--images-only")
    assert (done.status, site.read(f"/srv/old/{ARCHIVE}")) == (0, "newer\n"), done
    assert not (site.root / "srv/new").exists()


def test_the_last_line_of_the_environment_file_counts_without_a_newline(site: Site, bundle: Path) -> None:
    assert site.run(bundle, "server", environment={"K3S_TOKEN": "t"}).status == 0
    environment = site.root / "etc/systemd/system/k3s.service.env"
    environment.write_text('K3S_TOKEN="t"\nK3S_NODE_NAME="by-hand"')
    assert site.run(bundle).status == 0
    assert environment.read_text().split() == ['K3S_TOKEN="t"', 'K3S_NODE_NAME="by-hand"']
