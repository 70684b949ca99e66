"""Images that a real Docker Engine builds or has alone: what is bundled, what is not done again, what stays there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import signal
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from bundler.archive.check import check_archive
from tests.build.workshop import Workshop
from tests.command import CommandLine, sums
from tests.upstream import Upstream

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bundler.model.platform import Architecture
    from tests.real.docker_engine import DockerEngine
    from tests.real.registry import Registry
    from tests.real.release_server import ReleaseServer

APP = "registry.corp/team/app:1.0"
BUILD = {"build": "./app", "ref": APP}
ALL = ("amd64", "arm64", "arm")
COPY_ONLY = "FROM scratch\nCOPY . /srv/\nENV LEVEL=1\n"
WITH_SHELL = 'FROM scratch\nCOPY busybox /bin/busybox\nSHELL ["/bin/busybox", "sh", "-c"]\n'


@pytest.fixture
def shop(tmp_path: Path, docker_engine: DockerEngine) -> Iterator[Workshop]:
    """A builder's machine with a context, against one local upstream and a private engine."""
    with Upstream() as upstream:
        found = Workshop(tmp_path / "shop", upstream, {"DOCKER_HOST": docker_engine.host})
        (found.folder / "app").mkdir()
        (found.folder / "app" / "page.html").write_text("<p>offline</p>\n")
        (found.folder / "app" / "Dockerfile").write_text(COPY_ONLY)
        write(found)
        yield found


def write(shop: Workshop, *extra: Mapping[str, Any] | str, arch: tuple[str, ...] = ("arm64",), **more: Any) -> None:
    shop.write_recipe(arch=arch, extra=extra or (BUILD,), **more)  # type: ignore[arg-type]


def without_docker(shop: Workshop) -> dict[str, str]:
    return {"DOCKER_HOST": f"unix://{shop.folder}/nobody.sock"}


def own_image(lock: Path, reference: str = APP, arch: str = "arm64") -> dict[str, Any]:
    (found,) = (
        image
        for each in json.loads(lock.read_text())["architectures"]
        if each["arch"] == arch
        for image in each["recipeImages"]
        if image["reference"] == reference
    )
    return dict(found)


def files_of(bundle: Path, image: dict[str, Any], arch: str = "arm64") -> dict[str, bytes]:
    """The regular files of an image, from the archive in the bundle."""
    import zstandard

    found: dict[str, bytes] = {}
    with tarfile.open(bundle / "images" / f"edge-images-{arch}.tar") as archive:
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
        (entry,) = (
            each for each in index["manifests"] if image["reference"] == each["annotations"]["io.containerd.image.name"]
        )
        manifest = json.load(archive.extractfile(f"blobs/sha256/{entry['digest'][7:]}"))  # type: ignore[arg-type]
        for layer in manifest["layers"]:
            blob = archive.extractfile(f"blobs/sha256/{layer['digest'][7:]}")
            assert blob
            plain = zstandard.ZstdDecompressor().stream_reader(blob).read()
            with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
                found |= {
                    member.name: content.read()
                    for member in tar
                    if member.isreg() and (content := tar.extractfile(member))
                }
    return found


def containers(engine: DockerEngine) -> list[Any]:
    with contextlib.closing(engine.client()) as client:
        return list(client.api.containers(all=True))


def give(engine: DockerEngine, name: str, arch: str, text: str = "given") -> str:
    """Give the engine an image as a user does with `docker load`; its id."""
    layer = tar_of({"etc/own": text.encode()})
    config = json.dumps(
        {
            "os": "linux",
            "architecture": arch,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    index = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()
    with contextlib.closing(engine.client()) as client:
        list(client.images.load(tar_of({"config.json": config, "layer.tar": layer, "manifest.json": index})))
        return str(client.images.get(name).id)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_context_is_built_for_each_architecture_and_the_engine_stays_as_it_was(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    give(docker_engine, "mine/own:1", "amd64")
    before = docker_engine.snapshot()
    write(shop, BUILD, arch=ALL)

    done = shop.build()

    bundle = done.path
    assert docker_engine.snapshot() == before
    assert containers(docker_engine) == []
    assert f"{APP} (arm64): Step 2/3 : COPY . /srv/" in done.err
    for arch, platform in zip(ALL, ("linux/amd64", "linux/arm64", "linux/arm/v7"), strict=True):
        with (bundle / "images" / f"edge-images-{arch}.tar").open("rb") as archive:
            (image,) = check_archive(archive, "edge.tar")
        assert (image.name, str(image.platform)) == (APP, platform)
        assert files_of(bundle, own_image(shop.lock, arch=arch), arch)["srv/page.html"] == b"<p>offline</p>\n"
    assert shop.run("verify", bundle).code == 0


def test_an_unchanged_context_is_not_built_again_and_needs_no_docker(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    (shop.folder / "app" / ".dockerignore").write_text("*.log\n")
    first = shop.build()
    assert first.err.count("Step 1/3") == 1
    known = shop.lock.read_bytes()

    (shop.folder / "app" / "noise.log").write_text("ignored\n")
    for arguments in (("--locked",), ("--locked", "--engine", "registry"), ()):
        again = shop.build("--replace", *arguments, env=without_docker(shop))
        assert again.path == first.path
        assert "Step" not in again.err
    assert shop.run("lock", shop.recipe, "--update", "--cache-dir", shop.cache, env=without_docker(shop)).code == 0
    assert shop.lock.read_bytes() == known


def test_a_changed_context_makes_the_lock_outdated_and_is_built(shop: Workshop) -> None:
    assert shop.build().code == 0
    before = own_image(shop.lock)
    (shop.folder / "app" / "page.html").write_text("<p>changed</p>\n")

    refused = shop.build("--locked", "--replace")
    assert (refused.code, refused.error) == (6, "lock-outdated")
    assert "./app changed since it was locked" in refused.err
    check = shop.run("lock", shop.recipe, "--check", "--cache-dir", shop.cache)
    assert (check.code, check.error) == (6, "lock-outdated")

    bundle = shop.build("--replace").path
    after = own_image(shop.lock)
    assert after["build"]["digest"] != before["build"]["digest"]
    assert after["layers"][0]["diffId"] != before["layers"][0]["diffId"]
    assert files_of(bundle, after)["srv/page.html"] == b"<p>changed</p>\n"


def test_another_machine_builds_again_and_says_when_that_gives_something_else(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    assert shop.build().code == 0
    known = own_image(shop.lock)

    elsewhere = shop.build("--locked", "--replace", "--cache-dir", shop.folder / "elsewhere")
    assert (elsewhere.code, elsewhere.error) == (6, "lock-outdated")
    assert f"{APP} for arm64 was made again" in elsewhere.err
    assert known["config"] in elsewhere.err
    assert "lock --update" in elsewhere.err
    assert "archive" in elsewhere.err
    assert docker_engine.snapshot() == frozenset()

    update = shop.run("lock", shop.recipe, "--update", "--cache-dir", shop.folder / "elsewhere")
    assert update.code == 0, update.err
    assert own_image(shop.lock)["config"] != known["config"]
    assert shop.build("--locked", "--replace", "--cache-dir", shop.folder / "elsewhere").code == 0


def test_a_kept_image_serves_an_empty_cache(shop: Workshop, docker_engine: DockerEngine) -> None:
    assert shop.build("--keep-images").code == 0
    known = own_image(shop.lock)
    assert known["config"] in {image.identifier for image in docker_engine.snapshot()}

    again = shop.build("--locked", "--replace", "--cache-dir", shop.folder / "elsewhere")

    assert again.code == 0, again.err
    assert "Step" not in again.err


def test_both_engines_give_the_same_rest_of_the_bundle(
    tmp_path: Path, release_server: ReleaseServer, registry: Registry, docker_engine: DockerEngine
) -> None:
    folder = tmp_path / "builder"
    (folder / "app").mkdir(parents=True)
    (folder / "app" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    channels = f"{release_server.url}/v1-release/channels"
    command = CommandLine(folder, release_server.url, channels, registry.url, docker_engine.host, engine="docker")
    recipe = command.recipe(arch="arm64", extra=f"{{build: ./app, ref: {APP}}}")

    through_docker = sums(command.build(recipe))
    done = command.run("build", recipe, "--engine", "registry", "--replace", "--locked")

    assert done.returncode == 0, done.stderr
    assert sums(command.folder / done.stdout.strip()) == through_docker
    assert docker_engine.snapshot() == frozenset()


def test_arguments_reach_the_build_and_their_values_stay_out_of_lock_and_log(shop: Workshop) -> None:
    (shop.folder / "app" / "Dockerfile").write_text(
        f"{WITH_SHELL}ARG COMMIT\nARG TARGETARCH\n"
        "RUN echo $COMMIT for $TARGETARCH > /told && echo the commit is $COMMIT\n"
    )
    shop_binary(shop, "amd64")
    write(shop, {**BUILD, "args": {"COMMIT": {"env": "GIT_COMMIT"}}}, arch=("amd64",))

    unset = shop.build()
    assert (unset.code, unset.error) == (2, "wrong-use")
    assert "GIT_COMMIT" in unset.err

    done = shop.build(env={"GIT_COMMIT": "0123abcd4567"})
    assert files_of(done.path, {"reference": APP}, "amd64")["told"] == b"0123abcd4567 for amd64\n"
    assert "the commit is ***" in done.err
    for text in (done.err, done.out, shop.lock.read_text()):
        assert "0123abcd4567" not in text

    other = shop.build("--locked", "--replace", env={"GIT_COMMIT": "another"})
    assert other.error == "lock-outdated"


def shop_binary(shop: Workshop, arch: Architecture) -> None:
    from tests.real.busybox import busybox_programs

    target = shop.folder / "app" / "busybox"
    target.write_bytes(busybox_programs()[arch].read_bytes())
    target.chmod(0o755)


def test_a_stage_can_be_chosen_and_stages_leave_nothing_behind(shop: Workshop, docker_engine: DockerEngine) -> None:
    (shop.folder / "app" / "docker").mkdir()
    (shop.folder / "app" / "docker" / "Dockerfile").write_text(
        "FROM scratch AS data\nCOPY page.html /data/one\nFROM scratch AS app\nCOPY --from=data /data /srv\n"
        "FROM docker.io/example/gone:1.0\nRUN never\n"
    )
    write(shop, {**BUILD, "target": "app", "dockerfile": "docker/Dockerfile"})

    bundle = shop.build().path

    assert files_of(bundle, {"reference": APP}) == {"srv/one": b"<p>offline</p>\n"}
    assert docker_engine.snapshot() == frozenset()


def test_base_images_are_pinned_and_no_tag_of_the_user_moves(shop: Workshop, docker_engine: DockerEngine) -> None:
    hello = "docker.io/example/hello:1.0"
    (shop.folder / "app" / "Dockerfile").write_text("ARG OF=1.0\nFROM example/hello:${OF}\nCOPY page.html /srv/page\n")
    write(shop, BUILD, hello)
    mine = give(docker_engine, "example/hello:1.0", "amd64")
    before = docker_engine.snapshot()

    bundle = shop.build().path

    assert docker_engine.snapshot() == before
    assert docker_engine.inspect("example/hello:1.0")["Id"] == mine
    image, published = own_image(shop.lock), own_image(shop.lock, hello)
    assert image["build"]["bases"] == [{"name": "example/hello:1.0", "digest": published["manifest"]}]
    diff_ids = [layer["diffId"] for layer in image["layers"]]
    assert diff_ids[:-1] == [layer["diffId"] for layer in published["layers"]]
    assert files_of(bundle, image)["srv/page"] == b"<p>offline</p>\n"

    again = shop.run("lock", shop.recipe, "--update", "--cache-dir", shop.cache, env=without_docker(shop))
    assert again.code == 0, again.err
    assert own_image(shop.lock) == image


def test_a_base_that_only_the_engine_has_is_taken_for_its_architecture_alone(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    name = f"{shop.upstream.url.removeprefix('http://')}/mine/base:1"
    mine = give(docker_engine, name, "arm64")
    (shop.folder / "app" / "Dockerfile").write_text(f"FROM {name}\nCOPY page.html /srv/page\n")

    done = shop.build()

    assert done.code == 0, done.err
    assert f"{name}: no registry shows it, the Docker engine's own is taken" in done.err
    assert own_image(shop.lock)["build"]["bases"] == [{"name": name, "digest": mine}]
    assert [image.tags for image in docker_engine.snapshot()] == [(name,)]
    write(shop, arch=("amd64",))
    assert shop.build("--replace").error == "image-not-found"


def test_a_run_that_fails_shows_the_end_of_its_log_and_leaves_nothing(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    # The engine reads two pipes: what is written to the one and the other at once has no order.
    script = (
        "for n in $(/bin/busybox seq 40); do echo line $n; done; /bin/busybox sleep 1; echo cannot go on >&2; exit 9"
    )
    (shop.folder / "app" / "Dockerfile").write_text(f"{WITH_SHELL}RUN {script}\n")
    shop_binary(shop, "amd64")
    write(shop, arch=("amd64",))

    done = shop.build()

    assert (done.code, done.error) == (3, "build-failed")
    error = done.err.partition("error[")[2]
    assert f"{APP} (amd64): building ./app failed" in error
    assert "returned a non-zero code: 9" in error
    assert "| line 40\n" in error
    assert "| cannot go on\n" in error
    assert "| line 20\n" not in error
    assert docker_engine.snapshot() == frozenset()
    assert containers(docker_engine) == []
    assert not shop.lock.exists()
    assert shop.left_in_output() == []


def test_a_program_that_cannot_run_here_is_explained(shop: Workshop) -> None:
    # Unlike a program of another architecture, this one runs nowhere, whatever emulation the machine has.
    (shop.folder / "app" / "odd").write_bytes(b"\x7fELF of no machine")
    (shop.folder / "app" / "odd").chmod(0o755)
    (shop.folder / "app" / "Dockerfile").write_text('FROM scratch\nCOPY odd /odd\nRUN ["/odd"]\n')

    done = shop.build()

    assert done.error == "build-failed"
    assert "exec format error" in done.err
    assert "qemu-user-static" in done.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_broken_off_leaves_nothing_in_the_end(
    shop: Workshop, docker_engine: DockerEngine, number: signal.Signals
) -> None:
    (shop.folder / "app" / "Dockerfile").write_text(f"{WITH_SHELL}RUN echo begun; /bin/busybox sleep 600\n")
    shop_binary(shop, "amd64")
    write(shop, arch=("amd64",))
    building = shop.start(*shop.arguments("--progress", "lines"))
    told = until(building, "begun")
    building.send_signal(number)
    building.communicate(timeout=60)
    assert building.returncode == (-9 if number == signal.SIGKILL else 128 + number), told

    (shop.folder / "app" / "Dockerfile").write_text(COPY_ONLY)
    assert shop.build().code == 0

    assert docker_engine.snapshot() == frozenset()
    wait_until(lambda: containers(docker_engine) == [])


def until(building: subprocess.Popen[str], sign: str) -> list[str]:
    assert building.stderr
    told = []
    for line in building.stderr:
        told.append(line)
        if line.rstrip().endswith(sign):
            return told
    raise AssertionError("".join(told))


def wait_until(reached: Any, seconds: float = 60) -> None:
    import time

    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_daemon_that_dies_in_the_middle_of_a_build_is_named(shop: Workshop, docker_engine: DockerEngine) -> None:
    (shop.folder / "app" / "Dockerfile").write_text(f"{WITH_SHELL}RUN echo begun; /bin/busybox sleep 20\n")
    shop_binary(shop, "amd64")
    write(shop, arch=("amd64",))
    building = shop.start(*shop.arguments("--progress", "lines"))
    until(building, "begun")
    docker_engine.kill()
    _, rest = building.communicate(timeout=120)

    assert building.returncode == 3, rest
    assert "error[daemon-failed]" in rest
    assert "Traceback" not in rest
    assert not shop.lock.exists()

    docker_engine.start()
    (shop.folder / "app" / "Dockerfile").write_text(COPY_ONLY)
    assert shop.build().code == 0


def test_without_docker_every_verb_refuses_what_needs_it(shop: Workshop, docker_engine: DockerEngine) -> None:
    docker_engine.stop()
    for extra in (BUILD, {"ref": "app:dev", "engine": "docker"}):
        write(shop, extra)
        for verb in ("build", "lock", "plan"):
            done = shop.run(verb, shop.recipe, "--cache-dir", shop.cache)
            assert (done.code, done.error) == (3, "daemon-unavailable"), done.err
            assert "which needs Docker" in done.err
            assert "archive" in done.err
        seen = shop.run("doctor", shop.recipe, "--cache-dir", shop.cache)
        assert seen.code == 3
        assert "error[daemon-unavailable] docker: images.extra has" in seen.out
    docker_engine.start()


def test_a_plan_says_what_will_be_built_and_builds_nothing(shop: Workshop, docker_engine: DockerEngine) -> None:
    planned = shop.run("plan", shop.recipe, "--cache-dir", shop.cache, "--json")
    assert planned.document["unbuilt"] == [{"reference": APP, "arch": "arm64", "source": "./app"}]
    assert docker_engine.snapshot() == frozenset()
    assert "make from ./app" in shop.run("plan", shop.recipe, "--cache-dir", shop.cache).out

    assert shop.build().code == 0
    again = shop.run("plan", shop.recipe, "--cache-dir", shop.cache, "--json", env=without_docker(shop))
    (image,) = (each for each in again.document["images"] if each["reference"] == APP)
    assert (image["source"], image["cached"]) == ("build", image["size"])
    assert again.document["unbuilt"] == []


def test_the_form_registry_is_refused_where_the_engine_keeps_no_manifests(shop: Workshop) -> None:
    for extra in (BUILD, {"ref": "app:dev", "engine": "docker"}):
        write(shop, extra, layers="registry")
        done = shop.build()
        assert (done.code, done.error) == (2, "engine-unfit")
        assert "images.layers is registry" in done.err
        assert shop.run("doctor", shop.recipe, "--cache-dir", shop.cache).code == 2


def test_an_image_of_the_engine_is_taken_as_it_is_and_a_moved_tag_outdates_the_lock(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    name = "docker.io/library/app:dev"
    write(shop, {"ref": "app:dev", "engine": "docker"})
    first = give(docker_engine, "app:dev", "arm64", "first")
    before = docker_engine.snapshot()

    bundle = shop.build().path

    assert docker_engine.snapshot() == before
    image = own_image(shop.lock, name)
    assert (image["config"], image["engineId"]) == (first, first)
    assert files_of(bundle, image) == {"etc/own": b"first"}
    assert shop.build("--locked", "--replace", "--cache-dir", shop.folder / "elsewhere").code == 0

    give(docker_engine, "app:dev", "arm64", "second")
    moved = shop.build("--locked", "--replace")
    assert (moved.code, moved.error) == (6, "lock-outdated")
    assert "docker.io/library/app:dev in the Docker engine changed since it was locked" in moved.err
    assert files_of(shop.build("--replace").path, image) == {"etc/own": b"second"}


def test_an_image_that_the_engine_has_not_or_for_another_architecture_is_refused_by_name(
    shop: Workshop, docker_engine: DockerEngine
) -> None:
    write(shop, {"ref": "app:dev", "engine": "docker"}, arch=("amd64", "arm64"))
    absent = shop.build()
    assert (absent.code, absent.error) == (3, "image-not-found")
    assert "has no docker.io/library/app:dev" in absent.err

    give(docker_engine, "app:dev", "arm64")
    other = shop.build()
    assert (other.code, other.error) == (4, "image-without-platform")
    assert "docker.io/library/app:dev" in other.err
    assert "not there for linux/amd64; it is there for linux/arm64" in other.err
    assert shop.left_in_output() == []


def test_what_is_wrong_with_a_context_is_said_before_anything_is_built(shop: Workshop) -> None:
    app = shop.folder / "app"
    (app / "Dockerfile").unlink()
    missing = shop.build()
    assert (missing.code, missing.error) == (2, "recipe-not-found")
    assert f"there is no Dockerfile {app}/Dockerfile" in missing.err

    (app / "Dockerfile").write_text("# syntax=docker/dockerfile:1\nFROM scratch\n")
    buildkit = shop.build()
    assert (buildkit.code, buildkit.error) == (2, "wrong-use")
    assert "docker buildx build" in buildkit.err

    (app / "Dockerfile").write_text("FROM scratch\nCOPPY . /\n")
    unknown = shop.build()
    assert (unknown.code, unknown.error) == (3, "build-failed")
    assert "COPPY" in unknown.err


def test_a_manifest_may_use_an_image_that_is_built(shop: Workshop) -> None:
    (shop.folder / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\n"
        f"spec:\n  containers: [{{name: web, image: '{APP}', imagePullPolicy: IfNotPresent}}]\n"
    )
    write(shop, more="manifests: [./pod.yaml]\n")

    bundle = shop.build().path

    image = own_image(shop.lock)
    assert image["build"]["context"] == "./app"
    first, second = image["wantedBy"]
    assert first == "images.extra, built from ./app"
    assert "pod.yaml" in second
    assert shop.run("verify", bundle, "--closure").code == 0
