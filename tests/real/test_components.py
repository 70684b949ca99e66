"""The real components start, do their work, count, and leave nothing behind."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import socket
import ssl
import stat
import tarfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
import zstandard

from bundler.model.platform import ARCHITECTURES
from tests.real.containerd import Containerd
from tests.real.docker_engine import DockerEngine
from tests.real.images import K3S_IMAGE_LIST, big_image, layers_of
from tests.real.layers import digest_of
from tests.real.process import ComponentError, mounts_below
from tests.real.publish import publish
from tests.real.registry import Login, Registry
from tests.real.releases import BINARY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.model.platform import Architecture
    from tests.real.authority import Authority
    from tests.real.images import Image, ImageSet, PlatformImage
    from tests.real.layers import Layer
    from tests.real.readers import Podman, Skopeo
    from tests.real.release_server import ReleaseServer

TIMEOUT = 20


def inflated(layer: Layer) -> bytes:
    return gzip.decompress(layer.blob) if layer.compression == "gzip" else zstandard.decompress(layer.blob)


def docker_archive(path: Path, image: PlatformImage, reference: str) -> Path:
    """A plain `docker save`-like tar, to have something to load before the product writes one."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        names = [f"{layer.diff_id.partition(':')[2]}.tar" for layer in image.layers]
        for name, layer in dict(zip(names, image.layers, strict=True)).items():
            add(name, inflated(layer))
        add("config.json", image.config)
        add(
            "manifest.json",
            json.dumps([{"Config": "config.json", "RepoTags": [reference], "Layers": names}]).encode(),
        )
    return path


# --- images and registry ----------------------------------------------------------------------------------------


def test_image_set_is_consistent(images: ImageSet) -> None:
    assert tuple(image.reference for image in images.k3s) == K3S_IMAGE_LIST
    for image in (*images.k3s, images.zstd_layers):
        index = json.loads(image.top.content)
        named = {entry["digest"]: entry["platform"] for entry in index["manifests"]}
        for part in image.platforms:
            config = json.loads(part.config)
            manifest = json.loads(part.manifest.content)
            assert named[part.manifest.digest] == {
                key: config[key] for key in ("architecture", "os", "variant") if key in config
            }
            assert manifest["config"]["digest"] == digest_of(part.config)
            assert [entry["digest"] for entry in manifest["layers"]] == [layer.digest for layer in part.layers]
            assert config["rootfs"]["diff_ids"] == [digest_of(inflated(layer)) for layer in part.layers]
        unknown = [entry for entry in index["manifests"] if entry["platform"]["os"] == "unknown"]
        assert len(unknown) == len(image.attestations)
    by_name = {image.repository: image for image in images.k3s}
    assert by_name["rancher/mirrored-library-traefik"].on("arm").platform.variant == "v6"
    twice = by_name["rancher/local-path-provisioner"].on("arm64").diff_ids
    assert len(set(twice)) == len(twice) - 1
    for architecture in ARCHITECTURES:
        needed = sum(len(image.on(architecture).layers) for image in images.k3s)
        assert len(layers_of(images.k3s, architecture)) < needed, "no layer is shared"
    with pytest.raises(LookupError, match=r"without-arm64:1\.0 has no arm64"):
        images.without_arm64.on("arm64")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_images_of_each_architecture_hold_a_program_of_it(images: ImageSet, architecture: Architecture) -> None:
    base = images.k3s[0].on(architecture).layers[0]
    with tarfile.open(fileobj=io.BytesIO(inflated(base))) as tree:
        program = tree.extractfile("bin/busybox")
        assert program is not None
        header = program.read(20)
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == {"amd64": 62, "arm64": 183, "arm": 40}[architecture]


def test_registry_serves_what_was_published(registry: Registry, images: ImageSet, skopeo: Skopeo) -> None:
    for image in images.k3s:
        answer = requests.get(
            f"{registry.url}/v2/{image.repository}/manifests/{image.tag}",
            headers={"Accept": image.top.media_type},
            timeout=TIMEOUT,
        )
        assert answer.content == image.top.content
        assert answer.headers["Docker-Content-Digest"] == image.top.digest
    pause = images.k3s[-1]
    source = f"docker://{registry.host}/{pause.repository}:{pause.tag}"
    assert skopeo.raw(source).encode() == pause.top.content
    assert skopeo.inspect(source)["Architecture"] == "amd64"


def test_registry_lacks_the_layer_that_was_taken_out(registry: Registry, images: ImageSet) -> None:
    image = images.missing_layer
    base, own = image.on("arm64").layers
    blobs = f"{registry.url}/v2/{image.repository}/blobs"
    assert requests.get(f"{blobs}/{base.digest}", timeout=TIMEOUT).content == base.blob
    assert requests.get(f"{blobs}/{own.digest}", timeout=TIMEOUT).status_code == 404


def test_registry_with_a_password_refuses_others(require: Callable[..., None], tmp_path: Path) -> None:
    require(*Registry.PACKAGES)
    with Registry(tmp_path, login=Login("builder", "let me in")) as registry:
        assert requests.get(f"{registry.url}/v2/", timeout=TIMEOUT).status_code == 401
        wrong = requests.get(f"{registry.url}/v2/", auth=("builder", "guess"), timeout=TIMEOUT)
        assert wrong.status_code == 401
        image = big_image("docker.io/tests/big:1.0", 1000)
        publish(registry, [image])
        right = requests.get(f"{registry.url}/v2/tests/big/tags/list", auth=("builder", "let me in"), timeout=TIMEOUT)
        assert right.json()["tags"] == ["1.0"]


def test_registry_with_tls_needs_the_authority(
    require: Callable[..., None], authority: Authority, tmp_path: Path
) -> None:
    require(*Registry.PACKAGES)
    with Registry(tmp_path, authority=authority) as registry:
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{registry.url}/v2/", timeout=TIMEOUT)
        context = ssl.create_default_context(cafile=str(authority.ca))
        with urllib.request.urlopen(f"{registry.url}/v2/", timeout=TIMEOUT, context=context) as answer:
            assert answer.status == 200
        publish(registry, [big_image("docker.io/tests/big:1.0", 1000)])


# --- engines and readers ----------------------------------------------------------------------------------------


def test_docker_engine_pulls_every_platform_by_digest(
    docker_engine: DockerEngine, registry: Registry, images: ImageSet
) -> None:
    for image in images.k3s:
        for part in image.platforms:
            name = f"{registry.host}/{image.repository}@{part.manifest.digest}"
            docker_engine.pull(name)
            found = docker_engine.inspect(name)
            assert found["Architecture"] == part.platform.architecture
            assert tuple(found["RootFS"]["Layers"]) == part.diff_ids
    assert not any(image.tags for image in docker_engine.snapshot())


def test_snapshot_of_an_engine_tells_every_change_of_a_tag(
    docker_engine: DockerEngine, registry: Registry, images: ImageSet
) -> None:
    name = f"{registry.host}/{images.k3s[-1].repository}"
    assert docker_engine.snapshot() == frozenset()
    docker_engine.pull(f"{name}:{images.k3s[-1].tag}", "linux/amd64")
    before = docker_engine.snapshot()
    assert len(before) == 1
    with contextlib.closing(docker_engine.client()) as client:
        client.api.tag(f"{name}:{images.k3s[-1].tag}", "mine", "1")
        tagged = docker_engine.snapshot()
        assert tagged != before
        client.api.remove_image("mine:1")
    assert docker_engine.snapshot() == before


def test_docker_engine_refuses_the_bad_images(
    docker_engine: DockerEngine, registry: Registry, images: ImageSet
) -> None:
    for image, reason in (
        (images.without_arm64, "no matching manifest for linux/arm64"),
        (images.missing_layer, "blob"),
    ):
        with pytest.raises(ComponentError, match=reason):
            docker_engine.pull(f"{registry.host}/{image.repository}:{image.tag}", "linux/arm64")
    docker_engine.pull(f"{registry.host}/{images.lying.repository}:{images.lying.tag}", "linux/arm64")
    found = docker_engine.inspect(f"{registry.host}/{images.lying.repository}:{images.lying.tag}")
    assert found["Architecture"] == "amd64"


def test_docker_engine_comes_back_after_a_kill_with_its_images(
    docker_engine: DockerEngine, registry: Registry, images: ImageSet
) -> None:
    docker_engine.pull(f"{registry.host}/{images.k3s[0].repository}:{images.k3s[0].tag}")
    before = docker_engine.snapshot()
    docker_engine.kill()
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(ConnectionRefusedError):
        connection.connect(str(docker_engine.socket))
    docker_engine.start()
    assert docker_engine.snapshot() == before


def test_docker_engine_asks_its_mirror_for_names_of_docker_hub(
    require: Callable[..., None], registry: Registry, images: ImageSet, tmp_path: Path
) -> None:
    require(*DockerEngine.PACKAGES)
    image = images.k3s[-1]
    with DockerEngine(tmp_path, registry_mirrors=[registry.url]) as engine:
        engine.pull(f"{image.repository}:{image.tag}", "linux/arm64")
        (found,) = engine.snapshot()
        assert found.tags == (f"{image.repository}:{image.tag}",)
        assert found.repository_digests == (f"{image.repository}@{image.top.digest}",)


def test_docker_engine_never_goes_past_a_failing_mirror_to_docker_hub(
    require: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require(*DockerEngine.PACKAGES)
    monkeypatch.setenv("NO_PROXY", "*")
    with (
        DockerEngine(tmp_path, registry_mirrors=["http://127.0.0.1:9"]) as engine,
        pytest.raises(ComponentError, match=r"registry-1\.docker\.io.*proxyconnect tcp: dial tcp 127\.0\.0\.1:9"),
    ):
        engine.pull(K3S_IMAGE_LIST[-1])


def test_docker_engine_leaves_no_process_mount_or_socket(require: Callable[..., None], tmp_path: Path) -> None:
    require(*DockerEngine.PACKAGES)
    with contextlib.suppress(RuntimeError), DockerEngine(tmp_path) as engine:
        engine.kill()
        engine.start()
        pids = [engine.process.pid, engine._containerd.process.pid]
        path = engine.socket
        assert path.exists()
        raise RuntimeError("a failing test")
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert mounts_below(tmp_path) == ()
    assert not path.parent.exists()


def test_docker_engine_that_cannot_start_shows_its_log(require: Callable[..., None], tmp_path: Path) -> None:
    require(*DockerEngine.PACKAGES)
    engine = DockerEngine(tmp_path, registry_mirrors=["not a URL"])
    with pytest.raises(ComponentError, match=r"dockerd ended with status 1\n(.*\n)*.*mirror"), engine:
        pytest.fail("it started")
    assert not engine.socket.parent.exists()


def test_containerd_imports_checks_and_gives_content(containerd: Containerd, images: ImageSet, tmp_path: Path) -> None:
    image = images.k3s[2]
    for architecture in ("amd64", "arm64"):
        archive = docker_archive(tmp_path / "image.tar", image.on(architecture), image.reference)
        containerd.import_archive(archive)
        assert containerd.image_names() == (image.reference,)
        (checked,) = containerd.check()
        assert checked.complete
        assert not checked.unpacked
        manifest = json.loads(containerd.content(checked.digest))
        assert containerd.content(manifest["config"]["digest"]) == image.on(architecture).config
        containerd.remove_image(image.reference)
    with pytest.raises(ComponentError, match="content get"):
        containerd.content(digest_of(b"never stored"))


def test_containerd_leaves_no_process_mount_or_socket(
    require: Callable[..., None], images: ImageSet, tmp_path: Path
) -> None:
    require(*Containerd.PACKAGES)
    with Containerd(tmp_path) as containerd:
        pause = images.k3s[-1]
        archive = docker_archive(tmp_path / "pause.tar", pause.on("amd64"), pause.reference)
        containerd.import_archive(archive, unpack=True)
        assert containerd.check()[0].unpacked
        pid = containerd.process.pid
    assert not Path(f"/proc/{pid}").exists()
    assert mounts_below(tmp_path) == ()
    assert not containerd.address.parent.exists()


def test_podman_loads_another_architecture(podman: Podman, images: ImageSet, tmp_path: Path) -> None:
    image = images.k3s[-1]
    podman.load(docker_archive(tmp_path / "pause.tar", image.on("arm64"), image.reference))
    assert podman.image_names() == (image.reference,)
    found = podman.inspect(image.reference)
    assert found["Architecture"] == "arm64"
    assert found["Id"] == image.on("arm64").config_digest.partition(":")[2]


def test_skopeo_copies_one_platform(skopeo: Skopeo, registry: Registry, images: ImageSet, tmp_path: Path) -> None:
    image = images.k3s[0]
    skopeo.copy(
        f"docker://{registry.host}/{image.repository}:{image.tag}", f"dir:{tmp_path / 'copy'}", architecture="arm64"
    )
    assert (tmp_path / "copy" / "manifest.json").read_bytes() == image.on("arm64").manifest.content
    with pytest.raises(ComponentError, match="no-such"):
        skopeo.inspect(f"docker://{registry.host}/tests/no-such:1.0")


# --- releases ---------------------------------------------------------------------------------------------------


def test_release_folders_look_like_the_real_ones(releases: Path, busybox: Mapping[Architecture, Path]) -> None:
    for tag, covers_image_list in (("v1.34.1+k3s1", False), ("v1.30.0+k3s1", True)):
        assert (releases / tag / "k3s-images.txt").read_text() == "\n".join(K3S_IMAGE_LIST) + "\n"
        for architecture, name in BINARY_NAME.items():
            lines = (releases / tag / f"sha256sum-{architecture}.txt").read_text().splitlines()
            sums = {line.partition("  ")[2]: line.partition("  ")[0] for line in lines}
            binary = (releases / tag / name).read_bytes()
            assert sums[name] == hashlib.sha256(binary).hexdigest()
            assert binary.startswith(busybox[architecture].read_bytes())
            assert f"k3s-airgap-images-{architecture}.tar.zst" in sums
            assert ("k3s-images.txt" in sums) == (covers_image_list and architecture == "amd64")


def test_release_server_serves_ranges_redirects_and_counts(release_server: ReleaseServer, releases: Path) -> None:
    content = (releases / "v1.34.1+k3s1" / "k3s-arm64").read_bytes()
    for path in ("/v1.34.1%2Bk3s1/k3s-arm64", "/v1.34.1+k3s1/k3s-arm64"):
        assert requests.get(release_server.url + path, timeout=TIMEOUT).content == content
    whole = requests.head(release_server.url + path, timeout=TIMEOUT)
    tail = requests.get(
        release_server.url + path,
        headers={"Range": f"bytes={len(content) - 10}-", "If-Range": whole.headers["ETag"]},
        timeout=TIMEOUT,
    )
    assert (tail.status_code, tail.content) == (206, content[-10:])
    changed = requests.get(
        release_server.url + path, headers={"Range": "bytes=5-", "If-Range": '"other"'}, timeout=TIMEOUT
    )
    assert changed.status_code == 200

    away = requests.get(
        f"{release_server.redirecting_url}/v1.34.1%2Bk3s1/k3s-arm64", allow_redirects=False, timeout=TIMEOUT
    )
    assert away.status_code == 302
    assert away.headers["Location"].startswith("http://localhost:")
    assert f":{release_server.port}/" not in away.headers["Location"]
    assert requests.get(away.headers["Location"], timeout=TIMEOUT).content == content
    assert requests.get(f"{release_server.url}/v9.9.9/k3s", timeout=TIMEOUT).status_code == 404

    served = release_server.served()
    assert [entry.status for entry in served] == [200, 200, 200, 206, 200, 302, 200, 404]
    assert [entry.method for entry in served].count("HEAD") == 1
    assert served[0].path == "/v1.34.1+k3s1/k3s-arm64"
    assert served[3].range == f"bytes={len(content) - 10}-"
    assert release_server.body_bytes("/k3s-arm64") == 4 * len(content) + 10 + served[5].body_bytes


def test_release_server_serves_the_channels(release_server: ReleaseServer) -> None:
    answer = requests.get(f"{release_server.url}/v1-release/channels", timeout=TIMEOUT)
    latest = {channel["name"]: channel.get("latest") for channel in answer.json()["data"]}
    assert latest["stable"] == "v1.34.1+k3s1"
    assert latest["testing"] is None


def test_cached_programs_are_executable_by_their_owner(busybox: Mapping[Architecture, Path]) -> None:
    assert all(path.stat().st_mode & stat.S_IXUSR for path in busybox.values())


def published(image: Image, registry: Registry) -> bool:
    answer = requests.head(f"{registry.url}/v2/{image.repository}/manifests/{image.tag}", timeout=TIMEOUT)
    return answer.ok


def test_an_empty_registry_is_empty_and_forgets_repositories(empty_registry: Registry) -> None:
    image = big_image("docker.io/tests/big:1.0", 1000)
    assert not published(image, empty_registry)
    publish(empty_registry, [image])
    assert requests.get(f"{empty_registry.url}/v2/_catalog", timeout=TIMEOUT).json()["repositories"] == ["tests/big"]
    empty_registry.remove_repository("tests/big")
    assert requests.get(f"{empty_registry.url}/v2/_catalog", timeout=TIMEOUT).json()["repositories"] == []
