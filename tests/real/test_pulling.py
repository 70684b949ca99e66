"""The embedded engine against a real registry, and a proxy before it that breaks what it serves."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import requests

from bundler.engines.distribution import Distribution
from bundler.errors import StalledError
from bundler.model.digest import Digest
from bundler.model.platform import ARCHITECTURES
from bundler.model.reference import parse_reference
from bundler.net.session import NetworkSettings, open_session
from bundler.progress import SilentTask
from tests.command import CommandLine, sums
from tests.engines.recorder import Recorder
from tests.reach import through
from tests.real.faults import Abreast, Cut, Drip, Drop, FlipByte, Redirect, Stall, Status
from tests.real.faulty_proxy import FaultyProxy
from tests.real.images import amd64_image, layers_of
from tests.real.layers import incompressible_layer
from tests.real.publish import publish
from tests.real.registry import Login, Realm, Registry
from tests.real.release_server import ReleaseServer
from tests.real.releases import Era, release_tree, write_channels
from tests.real.tokens import ISSUER, SERVICE, TokenServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bundler.model.platform import Architecture
    from tests.real.authority import Authority
    from tests.real.images import ImageSet

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


def test_the_limit_of_docker_hub_is_told_whole_when_it_says_no_time(command: CommandLine, proxy: FaultyProxy) -> None:
    headers = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600", "Content-Type": "application/json"}
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}'
    proxy.fail(MANIFESTS, Status(429, headers, body), times=None)
    said = refused(command, 3, "rate-limited")
    assert "100 requests in 6 h 0 min are used up; it is renewed bit by bit, the whole of it within 6 h 0 min" in said
    assert "You have reached your pull rate limit." in said
    assert "docker login" in said


def test_a_drip_is_given_up_by_name_and_what_it_brought_is_gone_on_with(
    registry: Registry, proxy: FaultyProxy, images: ImageSet, tmp_path: Path
) -> None:
    layer = images.k3s[0].on("arm64").layers[0]
    reference, digest = parse_reference(f"{proxy.host}/{images.k3s[0].repository}:1"), Digest(layer.digest)
    part, size = tmp_path / "part", len(layer.blob)
    proxy.fail(BLOBS, Drip(400), times=None)
    with open_session(NetworkSettings(slow_window=0.5, retries=1, backoff=0.01)) as session:
        distribution = Distribution(session, through())
        with pytest.raises(StalledError, match=rf"{proxy.host}.* sends less than 1024 bytes a second"):
            distribution.blob(reference, digest, size, part, SilentTask())
        kept = part.stat().st_size
        assert 100 < kept < 5000
        proxy.heal()
        distribution.blob(reference, digest, size, part, SilentTask())
    assert part.read_bytes() == layer.blob
    assert proxy.exchanges(BLOBS)[-1].range == f"bytes={kept}-"


def test_tokens_that_end_in_the_middle_of_a_pull_are_replaced_and_go_to_the_registry_alone(
    require: Callable[..., None], authority: Authority, images: ImageSet, tmp_path: Path, command: CommandLine
) -> None:
    """A real registry that verifies signed tokens, which end long before what their server promised."""
    require(*Registry.PACKAGES)
    folder = tmp_path / "guarded"
    folder.mkdir()
    with Registry(folder) as before:
        publish(before, images.k3s)
    login = Login("robot", "s3cret-of-the-site")
    tokens = TokenServer(authority, login, lifetime=2)
    base = images.k3s[0].on("arm64").layers[0]
    with Recorder(tokens.answer) as realm:
        guard = Realm(f"{realm.url}/token", ISSUER, SERVICE, authority.ca)
        with Registry(folder, realm=guard) as guarded, FaultyProxy(guarded.url) as front:
            assert requests.get(f"{guarded.url}/v2/", timeout=20).status_code == 401
            recipe = replace(command, registry=front.url).recipe(arch="arm64")
            auth = "{username: {env: ROBOT}, password: {env: ROBOT_PASSWORD}}"
            recipe.write_text(recipe.read_text() + f'    "{front.host}": {{auth: {auth}}}\n')
            known = command.with_environment(ROBOT=login.username, ROBOT_PASSWORD=login.password)
            assert known.run("lock", recipe).returncode == 0
            locked = len(tokens.given)
            front.fail(base.digest, Drip(len(base.blob) // 4), times=None)
            known.build(recipe, "--jobs", "1", "--locked")
            exchanges = front.exchanges(BLOBS)
    refusals = [each for each in exchanges if each.status == 401]
    assert [each for each in refusals if each.authorization], "no token ended before its repository was done"
    assert all(each.authorization.startswith("Bearer ") for each in exchanges if each.authorization)
    assert len(tokens.given) - locked == len(refusals), "one token for each refusal"
    assert set(tokens.given) <= {f"repository:{image.repository}:pull" for image in images.k3s}


def test_kill_9_at_random_points_costs_next_to_nothing_of_files_and_layers(
    require: Callable[..., None],
    busybox: Mapping[Architecture, Path],
    images: ImageSet,
    empty_registry: Registry,
    tmp_path: Path,
) -> None:
    """With the default settings, counted by what a release server and a registry served in all."""
    require(*ReleaseServer.PACKAGES)
    image = amd64_image("docker.io/tests/big:1.0", (incompressible_layer("killed", 20 << 20),))
    publish(empty_registry, [*images.k3s, image])
    program = tmp_path / "k3s"
    program.write_bytes(busybox["amd64"].read_bytes() + random.Random(5).randbytes(20 << 20))
    files, folder, nginx = (tmp_path / name for name in ("releases", "builder", "nginx"))
    binary = release_tree(files, "v1.34.1+k3s1", Era.GITHUB, dict.fromkeys(ARCHITECTURES, program)) / "k3s"
    write_channels(files, {"stable": "v1.34.1+k3s1"})
    for each in (folder, nginx):
        each.mkdir()
    partial = folder / ".cache" / "k3s-bundler" / "partial"
    of_binary = hashlib.sha256(binary.read_bytes()).hexdigest()

    def arrived(path: str) -> int:
        part = partial / (path.rpartition("sha256:")[2] if "/blobs/" in path else of_binary)
        return part.stat().st_size if part.exists() else 0

    with (
        ReleaseServer(nginx, files) as server,
        FaultyProxy(server.url) as releases,
        FaultyProxy(empty_registry.url) as layers,
    ):
        releases.fail("/k3s$", Abreast(arrived), times=None)
        layers.fail("/blobs/", Abreast(arrived), times=None)
        command = CommandLine(folder, releases.url, f"{releases.url}/v1-release/channels", layers.url)
        recipe = command.recipe(arch="amd64", extra=image.reference)
        blobs = {layer.digest: len(layer.blob) for layer in layers_of((*images.k3s, image), "amd64")}
        blobs |= {each.on("amd64").config_digest: len(each.on("amd64").config) for each in (*images.k3s, image)}
        whole = binary.stat().st_size + sum(blobs.values())

        def served() -> int:
            return releases.body_bytes("/k3s$") + layers.body_bytes("/blobs/")

        dice = random.Random(20)
        for goal in sorted(dice.uniform(0.02, 0.9) * whole for _ in range(4)):
            building = command.start("build", recipe, "--engine", "registry", "--output", folder / "dist")
            _wait(lambda goal=goal, building=building: served() >= goal or building.poll() is not None)  # type: ignore[misc]
            building.kill()
            said = building.communicate()
            assert building.returncode == -signal.SIGKILL, said
            assert [path for path in command.built() if not path.name.startswith(".")] == []
        command.build(recipe)
        assert served() <= 1.05 * whole
        layer = image.on("amd64").layers[0]
        for pattern, size in (("/k3s$", binary.stat().st_size), (layer.digest, len(layer.blob))):
            both = releases.body_bytes(pattern) + layers.body_bytes(pattern)
            assert size <= both <= 1.05 * size


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
