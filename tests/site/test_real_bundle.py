"""A bundle that `k3s-bundler build` really made: it installs, and both checkers give the same verdict on it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bundler.errors import BundleDamagedError, NotABundleError
from bundler.progress import Silent
from bundler.stages.verify import verify
from tests.command import command_for
from tests.site.bundles import Site, command_directory, make_root
from tests.site.damages import DAMAGES, flip
from tests.upstream import Upstream

if TYPE_CHECKING:
    from pathlib import Path

    from tests.command import CommandLine

FILES = """\
files:
  - {source: site-ca.pem, target: /etc/ssl/site-ca.pem}
  - {source: site-ca.pem, target: data-dir/agent/etc/kubelet.conf.d/10-site.conf, mode: "600", role: server}
  - {source: site-ca.pem, target: /etc/agent, role: agent}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, Path]:
    """A whole bundle of three architectures; tests work on copies."""
    with Upstream() as upstream:
        command = command_for(tmp_path_factory.mktemp("made") / "builder", upstream)
        recipe = command.recipe(extra="docker.io/example/hello:1.0")
        recipe.write_text(recipe.read_text() + FILES)
        (recipe.parent / "site-ca.pem").write_text("certificate\n")
        return command, command.build(recipe)


@pytest.fixture
def stick(made: tuple[CommandLine, Path], tmp_path: Path) -> Path:
    return shutil.copytree(made[1], tmp_path / "stick")


@pytest.mark.parametrize("arch", ["amd64", "arm64", "arm"])
@pytest.mark.parametrize("init", ["systemd", "openrc"])
def test_a_built_bundle_installs_as_it_lies(stick: Path, tmp_path: Path, arch: str, init: str) -> None:
    site = Site(make_root(tmp_path / "root", init), command_directory(tmp_path / "bin"))
    done = site.run(stick, "server", environment={"ARCH": arch})
    assert done.status == 0, done
    assert (site.root / "usr/local/bin/k3s").read_bytes() == (stick / f"bin/k3s-{arch}").read_bytes()
    images = site.root / "var/lib/rancher/k3s/agent/images"
    carried = {path.name: path.read_bytes() for path in (stick / "images").iterdir() if f"-{arch}." in path.name}
    assert {path.name: path.read_bytes() for path in images.iterdir()} == carried
    for name in ("registries.yaml", "config.yaml"):
        assert site.read(f"/etc/rancher/k3s/{name}") == (stick / "etc" / name).read_text()
    assert site.read("/etc/ssl/site-ca.pem") == "certificate\n"
    drop_in = site.root / "var/lib/rancher/k3s/agent/etc/kubelet.conf.d/10-site.conf"
    assert (drop_in.read_text(), drop_in.stat().st_mode & 0o777) == ("certificate\n", 0o600)
    assert not (site.root / "etc/agent").exists()
    receipt = site.read("/var/lib/k3s-bundler/k3s/receipt")
    assert "image=docker.io/example/hello:1.0\n" in receipt
    assert site.run(stick, "--status").status == 0


def test_both_checkers_pass_a_whole_bundle(made: tuple[CommandLine, Path], site: Site, stick: Path) -> None:
    assert made[0].run("verify", stick).returncode == 0
    assert site.run(stick, "--verify").status == 0


@pytest.mark.parametrize("name", DAMAGES)
def test_both_checkers_refuse_the_same_damage(site: Site, stick: Path, name: str) -> None:
    DAMAGES[name](stick)
    with pytest.raises((BundleDamagedError, NotABundleError)):
        verify(stick, 1, Silent())
    assert site.run(stick, "--verify").status == 4


def test_both_checkers_name_the_damaged_file(site: Site, stick: Path) -> None:
    for path in sorted((stick / "images").iterdir()) + sorted((stick / "bin").iterdir()):
        flip(path, path.stat().st_size // 2)
        name = path.relative_to(stick).as_posix()
        with pytest.raises(BundleDamagedError, match=name):
            verify(stick, 1, Silent())
        assert name in site.run(stick, "--verify").err
        flip(path, path.stat().st_size // 2)
