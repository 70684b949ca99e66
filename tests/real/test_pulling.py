"""The embedded engine against a real registry, and a proxy before it that breaks what it serves."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.command import CommandLine, sums
from tests.real.faults import Cut, Drop, FlipByte, Redirect, Stall, Status
from tests.real.faulty_proxy import FaultyProxy
from tests.real.publish import publish
from tests.real.registry import Login, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.real.authority import Authority
    from tests.real.images import ImageSet
    from tests.real.release_server import ReleaseServer

BLOBS = "/v2/rancher/.*/blobs/"
MANIFESTS = "/v2/rancher/.*/manifests/"


@pytest.fixture
def proxy(registry: Registry) -> Iterator[FaultyProxy]:
    with FaultyProxy(registry.url) as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, release_server: ReleaseServer, proxy: FaultyProxy) -> CommandLine:
    folder = tmp_path / "builder"
    folder.mkdir()
    return CommandLine(folder, release_server.url, f"{release_server.url}/v1-release/channels", proxy.url)


def refused(command: CommandLine, code: int, name: str) -> str:
    """Build, which must fail with one error; gives what was said."""
    done = command.try_build(command.recipe(arch="arm64"))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("error[") == 1
    assert f"error[{name}]" in done.stderr
    assert "Traceback" not in done.stderr
    assert command.built() == []
    return done.stderr


def test_each_layer_is_served_once_however_many_images_share_it(
    command: CommandLine, proxy: FaultyProxy, images: ImageSet
) -> None:
    command.build(command.recipe(arch="arm64"))
    blobs = [exchange.path.rpartition("/")[2] for exchange in proxy.exchanges(BLOBS)]
    assert len(blobs) == len(set(blobs))
    assert set(blobs) >= {image.on("arm64").config_digest for image in images.k3s}


def test_bodies_that_break_off_connections_that_drop_and_failing_answers_cost_nothing_twice(
    command: CommandLine, proxy: FaultyProxy
) -> None:
    whole = sums(command.build(command.recipe(arch="arm64")))
    served = proxy.body_bytes(BLOBS)
    proxy.fail(BLOBS, Cut(2000), times=3)
    proxy.fail(BLOBS, Drop(), times=2)
    proxy.fail(MANIFESTS, Status(500), times=2)
    again = command.build(command.recipe(arch="arm64"), "--replace", "--cache-dir", command.folder / "other")
    assert sums(again) == whole
    assert proxy.body_bytes(BLOBS) - served <= 1.05 * served


def test_a_server_that_always_fails_is_named_with_what_was_tried(command: CommandLine, proxy: FaultyProxy) -> None:
    proxy.fail(MANIFESTS, Status(500), times=None)
    said = refused(command, 3, "server-error")
    assert f"{proxy.host} answers with status 500: asking again, up to 4 times" in said
    asked = [exchange.path for exchange in proxy.exchanges(MANIFESTS)]
    assert max(asked.count(path) for path in set(asked)) == 5


def test_a_used_up_limit_is_explained_and_not_slept_through(command: CommandLine, proxy: FaultyProxy) -> None:
    proxy.fail(MANIFESTS, Status(429, {"Retry-After": "20000"}), times=None)
    said = refused(command, 3, "rate-limited")
    assert "wait 20000 s (5 h 33 min)" in said
    assert "docker login" in said
    asked = [exchange.path for exchange in proxy.exchanges(MANIFESTS)]
    assert len(asked) == len(set(asked))


def test_wrong_bytes_are_refused_by_digest(command: CommandLine, proxy: FaultyProxy) -> None:
    proxy.fail(BLOBS, FlipByte(20), times=None)
    assert "sha256:" in refused(command, 4, "digest-mismatch")


def test_layers_that_come_from_another_host_take_no_account_with_them(
    tmp_path: Path,
    images: ImageSet,
    command: CommandLine,
    registry: Registry,
) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    login = Login("robot", "s3cret-of-the-site")
    with (
        Registry(folder, login=login) as private,
        FaultyProxy(registry.url) as storage,
        FaultyProxy(private.url) as front,
    ):
        publish(private, images.k3s)
        front.fail(BLOBS, Redirect(storage.url), times=None)
        (command.folder / "password").write_text(f"{login.password}\n")
        recipe = replace(command, registry=front.url).recipe(arch="arm64")
        auth = "{username: {env: ROBOT}, password: {file: ./password}}"
        recipe.write_text(recipe.read_text() + f'    "{front.host}": {{auth: {auth}}}\n')
        bundle = command.with_environment(ROBOT=login.username).build(recipe)
        assert storage.exchanges(BLOBS)
        assert not any(exchange.authorization for exchange in storage.exchanges())
        # The real registry wants an account for what the proxy redirects: it was asked with one before.
        assert any(exchange.authorization.startswith("Basic ") for exchange in front.exchanges())
    for path in (*bundle.rglob("*"), *command.folder.glob("*.json")):
        assert not path.is_file() or login.password.encode() not in path.read_bytes()


def test_a_registry_with_tls_and_a_password_is_pulled_from_with_what_the_recipe_says(
    require: Callable[..., None], authority: Authority, images: ImageSet, tmp_path: Path, command: CommandLine
) -> None:
    folder = tmp_path / "secure"
    folder.mkdir()
    login = Login("robot", "s3cret-of-the-site")
    with Registry(folder, login=login, authority=authority) as secure:
        publish(secure, images.k3s)
        (command.folder / "ca.pem").write_bytes(authority.ca.read_bytes())
        recipe = replace(command, registry=secure.url).recipe(arch="arm64")
        whole = recipe.read_text()
        said = command.try_build(recipe)
        assert said.returncode == 3
        assert f"the certificate of {secure.host} is not trusted" in said.stderr
        auth = "{username: {env: ROBOT}, password: {env: ROBOT_PASSWORD}}"
        recipe.write_text(whole + f'    "{secure.host}": {{tls: {{ca_file: ./ca.pem}}, auth: {auth}}}\n')
        known = command.with_environment(ROBOT=login.username, ROBOT_PASSWORD=login.password)
        bundle = known.build(recipe)
        wrong = command.with_environment(ROBOT=login.username, ROBOT_PASSWORD="other")
        denied = wrong.try_build(recipe, "--replace", "--cache-dir", command.folder / "empty")
        assert (denied.returncode, "Traceback" in denied.stderr) == (3, False)
    assert json.loads((bundle / "bundle.json").read_text())["archives"]


def test_silence_is_gone_on_from_at_the_byte(command: CommandLine, proxy: FaultyProxy) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    partial = command.folder / ".cache" / "k3s-bundler" / "partial"
    proxy.fail(BLOBS, Stall(1000), times=None)
    building = command.start(
        "build", recipe, "--engine", "registry", "--jobs", "1", "--output", command.folder / "dist"
    )
    try:
        _wait(lambda: any(path.stat().st_size == 1000 for path in partial.glob("*")))
    finally:
        building.kill()
        building.communicate()
    proxy.heal()
    command.build(recipe)
    blobs = proxy.exchanges(BLOBS)
    assert any(exchange.range == "bytes=1000-" for exchange in blobs)


def _wait(done: Callable[[], bool]) -> None:
    for _ in range(6000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError("nothing was served in a minute")
