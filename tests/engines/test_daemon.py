"""Finding the Docker daemon: which one it is, and that nothing stays open when it is none."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import docker
import pytest

from bundler.engines.daemon import Daemon, connect
from bundler.errors import BundlerError, DaemonPermissionError, DaemonUnavailableError
from bundler.store.pulled import left_by_dead_builds, note_pulled
from bundler.store.store import open_store
from tests.engines.recorder import Asked, Recorder, Reply
from tests.recorded_daemon import OVERLAY2, RecordedDaemon

if TYPE_CHECKING:
    from pathlib import Path

DEAD = "4194305"  # one more than the highest process id there is


def at(host: str) -> str:
    with closing(Daemon(docker.APIClient(base_url=host, version="1.41"), "1.41")) as daemon:
        return daemon.address


def test_daemons_are_told_apart_by_their_sockets(tmp_path: Path) -> None:
    one, two = f"unix://{tmp_path}/one.sock", f"unix://{tmp_path}/two.sock"
    assert (at(one), at(two), at("tcp://127.0.0.1:2375")) == (one, two, "http://127.0.0.1:2375")

    store = open_store(tmp_path / "cache")
    for host in (one, two):
        mark = note_pulled(store, at(host), "quay.io/a/b@sha256:0").mark
        mark.write_text(f"{DEAD}\n" + mark.read_text().partition("\n")[2])
    assert len(list((store.root / "pulled").iterdir())) == 2
    (left,) = left_by_dead_builds(store, at(two))
    left.forget()
    assert not list(left_by_dead_builds(store, at(two)))
    assert list(left_by_dead_builds(store, at(one)))


def test_the_daemon_of_the_environment_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with RecordedDaemon(OVERLAY2, b"") as recorded:
        monkeypatch.setenv("DOCKER_HOST", recorded.host)
        with closing(connect()) as daemon:
            assert daemon.facts().address == daemon.address == recorded.host.replace("tcp://", "http://")
            assert daemon.facts().api_version == "1.51"


@pytest.mark.parametrize("kind", ["nothing", "file", "nobody listens", "full", "silent"])
def test_a_socket_without_a_daemon_is_an_error_and_nothing_stays_open(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stayed open would fail this test: warnings are errors."""
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    monkeypatch.setattr("bundler.engines.daemon._KNOCK", 0.2)
    monkeypatch.setattr("bundler.engines.daemon._FIRST_ANSWER", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "file":
            path.touch()
        elif kind != "nothing":
            listener.bind(str(path))
        if kind == "silent":
            listener.listen()
        if kind == "full":
            listener.listen(0)
            with socket.socket(socket.AF_UNIX) as first:
                first.connect(str(path))  # the queue of one is full
                assert_unavailable()
        else:
            assert_unavailable()


def assert_unavailable() -> None:
    with pytest.raises(DaemonUnavailableError, match="no Docker daemon answers") as caught:
        connect()
    assert "--engine registry" in caught.value.hint


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(200, b"hello"), Reply(200, b"[]"), Reply(200, b"{}"), Reply(500, b'{"message": "no"}')]
)
def test_a_server_that_is_no_docker_is_not_taken_for_one(reply: Reply, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: Asked) -> Reply:
        return reply

    with Recorder(answer) as server:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{server.host}")
        with pytest.raises(DaemonUnavailableError, match="no Docker daemon answers"):
            connect()


def test_a_port_where_nobody_listens_is_no_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{unused.getsockname()[1]}")
        assert_unavailable()


@pytest.mark.parametrize("host", ["podman:///run/podman.sock", "tcp://", "nonsense"])
def test_an_address_that_is_none_is_our_error(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(BundlerError) as caught:
        connect()
    assert caught.value.exit_code == DaemonUnavailableError.exit_code


def test_a_socket_that_may_not_be_used_is_a_matter_of_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    monkeypatch.setattr("bundler.engines.daemon._knock", refuse)
    with pytest.raises(DaemonPermissionError, match="may not use the Docker socket"):
        connect()
