"""`make bundle` through a real Docker Engine: what it gives, and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.command import ROOT, CommandLine, sums
from tests.real.publish import publish
from tests.real.registry import Login, Registry

if TYPE_CHECKING:
    from bundler.model.platform import Architecture
    from tests.real.containerd import Containerd
    from tests.real.docker_engine import DockerEngine
    from tests.real.images import ImageSet
    from tests.real.readers import Podman
    from tests.real.release_server import ReleaseServer


@pytest.fixture
def command(
    tmp_path: Path, release_server: ReleaseServer, registry: Registry, docker_engine: DockerEngine
) -> CommandLine:
    """The command line with real servers and a private engine."""
    folder = tmp_path / "builder"
    folder.mkdir()
    channels = f"{release_server.url}/v1-release/channels"
    return CommandLine(folder, release_server.url, channels, registry.url, docker_engine.host, engine="docker")


def only_archive(bundle: Path) -> Path:
    """The one image archive of a bundle."""
    (archive,) = (bundle / "images").iterdir()
    return archive


@pytest.mark.parametrize("arch", ["amd64", "arm64", "arm"])
def test_containerd_and_podman_load_every_image_and_every_config_is_of_the_architecture(
    command: CommandLine, images: ImageSet, containerd: Containerd, podman: Podman, arch: Architecture
) -> None:
    archive = only_archive(command.build(command.recipe(), "--arch", arch))

    containerd.import_archive(archive)
    checked = containerd.check()
    assert [image.name for image in checked] == sorted(image.reference for image in images.k3s)
    assert all(image.complete for image in checked)
    for image in images.k3s:
        config = json.loads(containerd.content(image.on(arch).config_digest))
        assert config["architecture"] == arch
        assert config["rootfs"]["diff_ids"] == list(image.on(arch).diff_ids)

    podman.load(archive)
    assert podman.image_names() == tuple(sorted(image.reference for image in images.k3s))
    assert {podman.inspect(image.reference)["Architecture"] for image in images.k3s} == {arch}


def test_containerd_unpacks_every_layer_of_the_archive(
    command: CommandLine, images: ImageSet, containerd: Containerd
) -> None:
    archive = only_archive(command.build(command.recipe(arch="amd64")))

    containerd.import_archive(archive, unpack=True)

    assert {image.name for image in containerd.check() if image.unpacked} == {image.reference for image in images.k3s}


def test_the_engine_has_exactly_the_images_it_had_before(
    command: CommandLine, images: ImageSet, registry: Registry, docker_engine: DockerEngine
) -> None:
    pause, coredns = images.k3s[-1], images.k3s[3]
    with_client = docker_engine.client()
    with_client.api.pull(f"{registry.host}/{pause.repository}", tag=pause.tag, platform="linux/amd64")
    with_client.api.tag(f"{registry.host}/{pause.repository}:{pause.tag}", "mine/pause", "kept")
    # An image without any name, as a moved tag leaves it.
    with_client.api.pull(f"{registry.host}/{coredns.repository}", tag=coredns.tag, platform="linux/arm64")
    with_client.api.pull(f"{registry.host}/{coredns.repository}", tag=coredns.tag, platform="linux/amd64")
    with_client.close()
    before = docker_engine.snapshot()
    assert before

    command.build(command.recipe())

    assert docker_engine.snapshot() == before


def test_kept_images_stay_in_the_engine(command: CommandLine, docker_engine: DockerEngine, images: ImageSet) -> None:
    command.build(command.recipe(arch="arm64"), "--keep-images")

    assert {image.identifier for image in docker_engine.snapshot()} == {
        image.on("arm64").config_digest for image in images.k3s
    }


def test_a_build_that_was_killed_leaves_nothing_in_the_engine_after_the_next_one(
    command: CommandLine, docker_engine: DockerEngine
) -> None:
    recipe = command.recipe(arch="arm64")
    assert command.run("lock", recipe).returncode == 0
    building = command.start("build", recipe, "--engine", "docker", "--progress", "json")
    assert building.stderr
    for line in building.stderr:
        if " save" in line:
            break
    building.kill()
    building.communicate()

    command.build(recipe)

    assert docker_engine.snapshot() == frozenset()


def test_both_engines_and_both_orders_give_the_same_bytes(command: CommandLine) -> None:
    recipe = command.recipe(extra="docker.io/tests/zstd-layers:1.0") if _newer_docker() else command.recipe()
    through_docker = sums(command.build(recipe, "--jobs", "1", "--cache-dir", command.folder / "one"))
    other = command.with_environment(
        TZ="Pacific/Kiritimati", LC_ALL="C", PYTHONHASHSEED="7", HOME=str(command.folder / "elsewhere")
    )
    old_umask = os.umask(0o077)
    try:
        again = sums(other.build(recipe, "--jobs", "8", "--cache-dir", command.folder / "two", "--replace"))
    finally:
        os.umask(old_umask)
    done = command.run("build", recipe, "--engine", "registry", "--cache-dir", "three", "--replace", "--locked")
    assert done.returncode == 0, done.stderr

    assert again == through_docker
    assert sums(command.folder / done.stdout.strip()) == through_docker


def _newer_docker() -> bool:
    return False  # Debian's Docker 20.10 cannot pull zstd layers; the recorded streams of 28 cover them


def test_plain_layers_load_in_containerd_after_k3s_unpacks_the_archive(
    command: CommandLine, images: ImageSet, containerd: Containerd, tmp_path: Path
) -> None:
    archive = only_archive(command.build(command.recipe(arch="arm64", layers="plain")))
    assert archive.name.endswith(".tar.zst")
    plain = tmp_path / "plain.tar"
    with archive.open("rb") as source, plain.open("wb") as target:
        # As k3s does: its decoder takes windows up to 2^25 (rancher/wharfie pkg/tarfile).
        zstandard.ZstdDecompressor(max_window_size=1 << 25).copy_stream(source, target)

    containerd.import_archive(plain)

    assert [image.name for image in containerd.check() if image.complete] == sorted(
        image.reference for image in images.k3s
    )


@pytest.mark.parametrize("arch", ["amd64", "arm"])
def test_containerd_gets_the_registrys_own_manifests_in_the_registry_form(
    command: CommandLine, images: ImageSet, containerd: Containerd, podman: Podman, arch: Architecture
) -> None:
    recipe = command.recipe(layers="registry", extra="docker.io/tests/zstd-layers:1.0")
    refused = command.run("build", recipe, "--engine", "docker")
    assert (refused.returncode, "error[engine-unfit]" in refused.stderr) == (2, True)
    done = command.run("build", recipe, "--arch", arch)
    assert done.returncode == 0, done.stderr
    assert "engine registry: images.layers is registry, but Docker 20" in done.stderr

    for archive in sorted((command.folder / done.stdout.strip() / "images").iterdir()):
        containerd.import_archive(archive, unpack=arch == "amd64")
        podman.load(archive)

    wanted = (*images.k3s, images.zstd_layers)
    assert {image.name for image in containerd.check() if image.complete} == {image.reference for image in wanted}
    for image in wanted:
        own = image.on(arch).manifest
        assert containerd.content(own.digest) == own.content
        assert podman.inspect(image.reference)["Architecture"] == arch


def test_a_daemon_that_dies_in_the_middle_is_named_and_the_next_build_goes_on(
    command: CommandLine, docker_engine: DockerEngine
) -> None:
    recipe = command.recipe(arch="arm64")
    building = command.start("build", recipe, "--engine", "docker", "--progress", "json", "--jobs", "1")
    assert building.stderr
    said = []
    for line in building.stderr:
        said.append(line)
        if '"stage": "fetch"' in line and "mirrored-pause" not in line and '"start"' in line and "rancher" in line:
            docker_engine.kill()
            break
    _, rest = building.communicate(timeout=60)

    assert building.returncode == 3, rest
    assert "error[daemon-" in rest
    assert "Traceback" not in rest
    assert not (command.folder / "dist").exists() or not list((command.folder / "dist").iterdir())

    docker_engine.start()
    command.build(recipe)
    assert docker_engine.snapshot() == frozenset()


def test_no_daemon_is_one_error_by_name_and_auto_goes_without(command: CommandLine, tmp_path: Path) -> None:
    absent = command.with_environment(DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")
    recipe = command.recipe(arch="amd64")

    refused = absent.run("build", recipe, "--engine", "docker")
    assert refused.returncode == 3
    assert "error[daemon-unavailable]" in refused.stderr
    assert "--engine registry" in refused.stderr

    built = absent.run("build", recipe)
    assert built.returncode == 0, built.stderr
    assert "engine registry: no Docker daemon answers" in built.stderr


def test_make_bundle_goes_on_without_docker_and_gives_the_same(
    command: CommandLine, docker_engine: DockerEngine
) -> None:
    """As a person calls it; only the virtual environment is that of the tests."""
    recipe = command.recipe(arch="arm64")

    def make(cache: str) -> subprocess.CompletedProcess[str]:
        own = [f"BIN={Path(sys.executable).parent}", "--assume-old=.venv/.made-of-pyproject"]
        asked = [f"RECIPE={recipe}", f"OUTPUT={command.folder / 'dist'}", f"FLAGS=--cache-dir {command.folder / cache}"]
        return subprocess.run(
            ["make", "--no-print-directory", "-C", ROOT, "bundle", *own, *asked],
            check=False, capture_output=True, text=True, env=command.variables(),
        )  # fmt: skip

    through_docker = make("one")
    assert through_docker.returncode == 0, through_docker.stderr
    assert re.search(rf"engine docker: Docker [0-9.]\S+ answers at {docker_engine.host}\n", through_docker.stderr)
    bundle = Path(through_docker.stdout.splitlines()[-1])
    whole = sums(bundle)

    docker_engine.stop()
    without = make("two")
    assert without.returncode == 0, without.stderr
    assert "engine registry: no Docker daemon answers" in without.stderr
    assert sums(bundle) == whole


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_a_socket_of_somebody_else_is_named(docker_engine: DockerEngine) -> None:
    docker_engine.socket.parent.chmod(0o755)
    docker_engine.socket.chmod(0o600)
    # Imported first: the interpreter itself may lie where nobody can read.
    program = """
import os, docker, docker.api.client
from bundler.engines.daemon import connect
from bundler.errors import BundlerError
os.setgid(65534), os.setuid(65534)
try:
    connect()
except BundlerError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "DOCKER_HOST": docker_engine.host},
        cwd=ROOT,
    )

    assert done.stdout.startswith("error[daemon-permission]")
    assert "group docker" in done.stdout


def test_registries_behind_a_password_are_pulled_with_the_login_of_docker(
    command: CommandLine, images: ImageSet, tmp_path: Path
) -> None:
    folder = tmp_path / "private"
    folder.mkdir()
    login = Login("carrier", "s3cret-of-the-site")
    with Registry(folder, login=login) as private:
        publish(private, images.k3s)
        closed = replace(command, registry=private.url)
        recipe = closed.recipe(arch="arm64")

        refused = closed.run("build", recipe, "--engine", "docker")
        assert refused.returncode == 3
        assert "error[access-denied]" in refused.stderr
        assert "docker login" in refused.stderr

        (closed.folder / ".docker").mkdir()
        import base64

        token = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        (closed.folder / ".docker" / "config.json").write_text(json.dumps({"auths": {private.host: {"auth": token}}}))
        bundle = closed.build(recipe)
    for path in [*bundle.rglob("*"), closed.folder / "edge.lock.json"]:
        if path.is_file():
            assert login.password.encode() not in path.read_bytes()


def test_what_is_wrong_with_an_image_is_said_before_anything_is_pulled(
    command: CommandLine, docker_engine: DockerEngine
) -> None:
    cases = {
        "docker.io/tests/without-arm64:1.0": ("image-without-platform", 4),
        "docker.io/tests/lying:1.0": ("wrong-architecture", 4),
    }
    for reference, (name, code) in cases.items():
        recipe = command.recipe(arch="arm64", extra=reference)
        done = command.run("build", recipe, "--engine", "docker")
        assert done.returncode == code, done.stderr
        assert f"error[{name}]" in done.stderr
        assert reference in done.stderr
        assert "arm64" in done.stderr
    assert docker_engine.snapshot() == frozenset()


def test_a_layer_the_registry_lost_is_named_and_there_is_no_bundle(command: CommandLine, images: ImageSet) -> None:
    recipe = command.recipe(arch="arm64", extra=images.missing_layer.reference)

    done = command.run("build", recipe, "--engine", "docker")

    assert done.returncode in {3, 4}, done.stderr
    assert images.missing_layer.reference in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((command.folder / "dist").iterdir())


def test_the_archive_option_writes_one_tar_with_its_checksum(command: CommandLine) -> None:
    bundle = command.build(command.recipe(arch="arm"), "--archive")
    archive = bundle.with_name(f"{bundle.name}.tar")

    digest, name = archive.with_name(f"{archive.name}.sha256").read_text().split()
    assert (hashlib.sha256(archive.read_bytes()).hexdigest(), archive.name) == (digest, name)
    with tarfile.open(archive) as tar:
        inside = {
            member.name: hashlib.sha256(content.read()).hexdigest()
            for member in tar
            if (content := tar.extractfile(member))
        }
    assert inside == {f"{bundle.name}/{path}": digest for path, digest in sums(bundle).items()}
