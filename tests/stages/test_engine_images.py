"""Images of a containerd image store, as a Docker 28 was recorded: several architectures under one id."""

from __future__ import annotations

import io
import json
import tarfile
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from bundler.engines.access import RegistryAccess
from bundler.engines.secrets import Secrets
from bundler.errors import EngineUnfitError, MissingPlatformError
from bundler.progress import Silent
from bundler.stages.engine_images import EngineImages, engine_inputs
from bundler.stages.lockfile import why_outdated
from bundler.stages.read import parse_recipe
from bundler.store.store import open_store
from tests.recorded_daemon import CONTAINERD, OVERLAY2, RECORDED, RecordedDaemon
from tests.stages.test_archived import lock_of

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model.lock import LockedImage
    from bundler.model.recipe import Recipe

NAME = "docker.io/demo/coredns:1.12.3"
HELD = json.loads((RECORDED / "registry.json").read_text())["demo/coredns:1.12.3"]


def recipe(layers: str = "zstd", *arch: str) -> Recipe:
    text = {
        "version": 1,
        "name": "edge",
        "release": "v1.34.1+k3s1",
        "arch": arch or ["amd64", "arm64"],
        "images": {"layers": layers, "extra": [{"ref": "demo/coredns:1.12.3", "engine": "docker"}]},
    }
    return parse_recipe(json.dumps(text).encode(), "edge.yaml")


def saved(stream: str) -> bytes:
    """What the engine would save of this one image: the recording without the others."""
    out = io.BytesIO()
    with tarfile.open(RECORDED / f"{stream}.tar") as recorded, tarfile.open(fileobj=out, mode="w") as one:
        for member in recorded:
            content = recorded.extractfile(member) if member.isreg() else None
            data = content.read() if content else b""
            if member.name == "index.json":
                index = json.loads(data)
                index["manifests"] = [each for each in index["manifests"] if "coredns" in json.dumps(each)]
                data = json.dumps(index).encode()
            member.size = len(data)
            one.addfile(member, io.BytesIO(data))
    return out.getvalue()


def image(platform: str = "arm64", digest: str = HELD["index"]) -> dict[str, Any]:
    return {NAME: {"Id": digest, "Os": "linux", "Architecture": platform, "RepoTags": [NAME]}}


def found(recipe: Recipe, folder: Path) -> dict[str, dict[Any, LockedImage]]:
    inputs = engine_inputs(recipe, folder, {})
    return images_of(recipe, folder).lock(inputs, None)


def images_of(recipe: Recipe, folder: Path) -> EngineImages:
    def find(*_: object) -> NoReturn:
        raise AssertionError("no registry is asked for an image of the engine")

    access = RegistryAccess({}, Secrets(folder, {}))
    return EngineImages(recipe, find, access, open_store(folder / "cache"), Silent(), keep_images=False)


@pytest.mark.parametrize("layers", ["zstd", "registry"])
def test_each_architecture_is_saved_by_itself_and_keeps_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str
) -> None:
    with RecordedDaemon(CONTAINERD, saved("docker28-containerd.no-platform-both"), images=image()) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        locked = found(recipe(layers), tmp_path)[NAME]

    for arch, one in locked.items():
        assert one.manifest == HELD[arch]["manifest"]
        assert one.config == HELD[arch]["config"]
        assert one.engine_id == HELD["index"]
    asked = [json.loads(each)["architecture"] for each in daemon.platforms if each]
    assert asked == ["amd64", "amd64", "arm64", "arm64"]
    assert daemon.removed == []


def test_what_is_locked_and_stored_is_not_saved_again_and_another_id_outdates_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe("zstd", "arm64")
    with RecordedDaemon(CONTAINERD, saved("docker28-containerd.no-platform-both"), images=image()) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        inputs = engine_inputs(wanted, tmp_path, {})
        locked = images_of(wanted, tmp_path).lock(inputs, None)[NAME]["arm64"]
        known = lock_of(locked).model_copy(update={"recipe": wanted.fingerprint()})
        saves = len(daemon.saved)
        assert images_of(wanted, tmp_path).lock(inputs, known)[NAME]["arm64"] == locked
        assert len(daemon.saved) == saves

        moved = f"sha256:{'0' * 64}"
        daemon.images |= image(digest=moved)
        later = engine_inputs(wanted, tmp_path, {})
    assert why_outdated(known, wanted, (), later) == f"{NAME} in the Docker engine changed since it was locked"
    assert why_outdated(known, wanted, (), inputs) != f"{NAME} in the Docker engine changed since it was locked"


def test_an_architecture_that_was_not_pulled_there_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordedDaemon(CONTAINERD, saved("docker28-containerd.platform-arm64"), images=image()) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        assert found(recipe("zstd", "arm64"), tmp_path)
        with pytest.raises(MissingPlatformError, match=f"{NAME} .*not there for linux/amd64"):
            found(recipe("zstd", "amd64"), tmp_path)


def test_an_overlay2_engine_of_docker_28_that_refuses_a_platform_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = json.loads((RECORDED / "docker28-overlay2.platform-mismatch.error.json").read_text())
    refusal = (recorded["status"], json.dumps(recorded["body"]).encode())
    with RecordedDaemon(OVERLAY2, b"", images=image(), refused_save=refusal) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        with pytest.raises(MissingPlatformError, match=f"{NAME} .amd64.: .*no suitable export target"):
            found(recipe("zstd", "amd64"), tmp_path)
        with pytest.raises(EngineUnfitError, match=r"images\.layers is registry"):
            found(recipe("registry", "amd64"), tmp_path)
