"""Rollback of servers that share an etcd: a real one, for its members are read from its file."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.real.packages import program
from tests.site.bundles import BundleSpec, Site, build_bundle, run_functions
from tests.site.conftest import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATABASE = "var/lib/rancher/k3s/server/db"
STATE = "var/lib/k3s-bundler/k3s"
OLD, NEW = "v1.34.1+k3s1", "v1.34.2+k3s1"
PEER = "https://10.0.0.12:2380"


@dataclass(frozen=True)
class Etcd:
    """A server of etcd with one member, in the place where k3s has its own."""

    directory: Path

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve, and yield the address for `etcdctl --endpoints`."""
        client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        serving = subprocess.Popen(
            [
                program("etcd"), "--data-dir", self.directory, "--name", "first", "--listen-client-urls", client,
                "--advertise-client-urls", client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                "--initial-cluster", f"first={peer}", "--unsafe-no-fsync",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + 60
            while self._ask(client, "endpoint", "health").returncode != 0:
                assert serving.poll() is None, "etcd has ended"
                assert time.monotonic() < deadline, "etcd does not answer"
                time.sleep(0.1)
            yield client
        finally:
            serving.terminate()
            serving.wait(60)

    def write(self, value: str) -> None:
        with self.running() as client:
            self._must(client, "put", "phase", value)

    def read(self) -> str:
        with self.running() as client:
            return self._must(client, "get", "phase", "--print-value-only").strip()

    def join(self) -> str:
        """Add a member as k3s does, a learner first; returns its number."""
        with self.running() as client:
            said = self._must(client, "member", "add", "second", "--learner", f"--peer-urls={PEER}")
            return said.split("Member ", 1)[1].split()[0]

    def leave(self, member: str) -> None:
        with self.running() as client:
            self._must(client, "member", "remove", member)

    def _must(self, client: str, *words: str) -> str:
        done = self._ask(client, *words)
        assert done.returncode == 0, done
        return done.stdout

    @staticmethod
    def _ask(client: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [program("etcdctl"), "--endpoints", client, "--command-timeout=5s", *words]
        environment = {"PATH": os.defpath, "ETCDCTL_API": "3"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """The first server of a cluster, its etcd, and the two releases it goes between."""

    site: Site
    etcd: Etcd
    old: Path
    new: Path

    def release(self) -> str:
        status = self.site.run(self.new, "--status")
        return status.out.split()[1].rstrip(",")


@pytest.fixture
def server(every_site: Site, tmp_path: Path) -> Server:
    require("etcd-server", "etcd-client")
    old, new = (build_bundle(tmp_path / release, BundleSpec(release=release)) for release in (OLD, NEW))
    assert every_site.run(old, "server", "--cluster-init").status == 0
    (every_site.root / DATABASE).mkdir(parents=True)
    etcd = Etcd(every_site.root / DATABASE / "etcd")
    etcd.write("before")
    return Server(every_site, etcd, old, new)


def test_a_server_that_is_alone_in_its_etcd_goes_back_with_its_data(server: Server) -> None:
    assert server.site.run(server.new).status == 0
    server.etcd.write("after")
    done = server.site.run(server.new, "--rollback")
    assert done.status == 0, done
    assert (server.release(), server.etcd.read()) == (OLD, "before")
    assert Etcd(server.site.root / DATABASE / "../db.rolled-back/etcd").read() == "after"


def test_a_server_that_others_joined_does_not_go_back_unless_it_is_told_to_leave_the_data(server: Server) -> None:
    assert server.site.run(server.new).status == 0
    server.etcd.write("after")
    server.etcd.join()
    before = server.site.files()
    done = server.site.run(server.new, "--rollback")
    assert (done.status, "error[cluster-members]" in done.err, PEER in done.err) == (5, True, True), done
    for told in ("--rollback --force cluster-members", "--cluster-reset-restore-path", f"/{DATABASE}"):
        assert told in done.err
    assert server.site.files() == before

    done = server.site.run(server.new, "--rollback", "--force", "cluster-members")
    assert (done.status, "warning[datastore-left]" in done.err) == (0, True), done
    assert (server.release(), server.etcd.read()) == (OLD, "after")
    assert Etcd(server.site.root / STATE / "datastore/etcd").read() == "before"
    assert server.site.run(server.new).status == 0
    assert not (server.site.root / STATE / "datastore").exists()


def test_a_server_whose_others_have_left_again_goes_back_with_its_data(server: Server) -> None:
    assert server.site.run(server.new).status == 0
    server.etcd.leave(server.etcd.join())
    server.etcd.write("after")
    done = server.site.run(server.new, "--rollback")
    assert done.status == 0, done
    assert (server.release(), server.etcd.read()) == (OLD, "before")


def test_a_copy_that_knows_others_is_not_put_back_unless_it_is_said_to_be_of_an_only_member(server: Server) -> None:
    other = server.etcd.join()
    assert server.site.run(server.new).status == 0
    server.etcd.leave(other)
    done = server.site.run(server.new, "--rollback")
    assert (done.status, "error[cluster-members]" in done.err, PEER in done.err) == (5, True, True), done
    assert "--force only-member" in done.err
    done = server.site.run(server.new, "--rollback", "--force", "only-member")
    assert (done.status, done.err) == (0, ""), done
    assert (server.release(), server.etcd.read()) == (OLD, "before")


@pytest.mark.parametrize(("starts", "active", "room"), [("", 0, ""), ("", 3, "db"), ("yes", 0, "db"), ("yes", 3, "db")])
def test_no_room_is_asked_for_a_copy_that_a_server_which_runs_on_does_not_get(
    tmp_path: Path, shell: tuple[str, ...], starts: str, active: int, room: str
) -> None:
    (tmp_path / "data/server/db").mkdir(parents=True)
    given = f"""
      action=check role=server data_dir=$1/data state=/none live=yes starts={starts} changed=
      is_active() {{ return {active}; }}
      installed_release() {{ echo {OLD}; }}
      fact() {{ echo {NEW}; }}
      measure() {{ echo db; }}
      datastore_size() {{ echo 1; }}
      for_every_file() {{ :; }}
      check_room"""
    done = run_functions(shell, given, tmp_path)
    assert (done.status, done.out.strip(), done.err) == (0, room, "")


def test_an_etcd_that_cannot_be_read_is_not_taken_for_one_that_is_alone(site: Site, tmp_path: Path) -> None:
    old, new = (build_bundle(tmp_path / release, BundleSpec(release=release)) for release in (OLD, NEW))
    assert site.run(old, "server").status == 0
    file = site.root / DATABASE / "etcd/member/snap/db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"of another form")
    assert site.run(new).status == 0
    file.write_bytes(b"after the upgrade")
    done = site.run(new, "--rollback")
    assert (done.status, "error[cluster-members]" in done.err) == (5, True), done
    done = site.run(new, "--rollback", "--force", "only-member")
    assert (done.status, file.read_bytes()) == (0, b"of another form"), done


def test_an_upgrade_that_fails_leaves_an_etcd_that_others_share(site: Site, tmp_path: Path) -> None:
    require("etcd-server", "etcd-client")
    old, new = (build_bundle(tmp_path / release, BundleSpec(release=release)) for release in (OLD, NEW))
    assert site.run(old, "server", environment={"INSTALL_K3S_SKIP_ENABLE": "true"}).status == 0
    (site.root / DATABASE).mkdir(parents=True)
    etcd = Etcd(site.root / DATABASE / "etcd")
    etcd.write("before")
    etcd.join()
    (site.root / "etc/systemd/system/multi-user.target.wants").write_text("in the way of the link")
    done = site.run(new)
    assert (done.status, "warning[datastore-left]" in done.err) == (5, True), done
    assert etcd.read() == "before"
    assert not (site.root / DATABASE / "../db.rolled-back").exists()
