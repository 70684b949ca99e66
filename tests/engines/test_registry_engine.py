"""The embedded engine against a registry: each thing is fetched once, and what lies is refused."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bundler.archive import zstd
from bundler.archive.check import check_archive
from bundler.archive.layout import ImageContent, arrange
from bundler.archive.unpack import unpack_archive
from bundler.archive.writer import write_tar
from bundler.engines.distribution import Distribution
from bundler.engines.intake import Intake
from bundler.engines.registry import RegistryEngine
from bundler.errors import BundlerError, DigestMismatchError, MalformedAnswerError, NetworkError
from bundler.model.digest import Digest, digest_of
from bundler.model.lock import LockedImage, LockedLayer
from bundler.progress import Silent, SilentTask
from bundler.stages.read import parse_recipe
from bundler.stages.resolve import resolve
from bundler.stages.survey import wanted_images
from bundler.store.store import open_store
from bundler.workloads.uses import Findings
from tests.engines.recorder import Asked, Recorder, Reply
from tests.reach import releases_of, through
from tests.upstream import EXTRA_IMAGE, Cut, Flip, Status, Upstream
from tests.upstream.images import DOCKER, platform_image
from tests.upstream.layers import Entry, layer
from tests.upstream.odd_images import WRONG_DIFF_ID

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model.lock import Lock
    from bundler.net.session import Session
    from bundler.store.store import Store

PAUSE = "rancher/mirrored-pause"


def distribution(upstream: Upstream, session: Session) -> Distribution:
    return Distribution(session, through({"docker.io": [upstream.url]}))


def lock_of(
    upstream: Upstream, session: Session, store: Store, arch: str = "amd64, arm64, arm", extra: str = ""
) -> Lock:
    text = f"""
version: 1
name: edge
release: v1.34.1+k3s1
arch: [{arch}]
images: {{extra: [{extra}]}}
sources: {{releases: "{upstream.releases_url}", channels: "{upstream.channels_url}"}}
"""
    recipe = parse_recipe(text.encode(), "edge.yaml")
    wanted = wanted_images(recipe, Findings())
    releases = releases_of(recipe, session)
    return resolve(recipe, releases.release(), wanted, releases, distribution(upstream, session), store, 4, Silent())


def pull(upstream: Upstream, session: Session, store: Store, lock: Lock, jobs: int = 4) -> Intake:
    intake = Intake(store, lock.compressor)
    RegistryEngine(distribution(upstream, session)).pull(lock.images, intake, jobs, Silent())
    return intake


def archives(lock: Lock, intake: Intake, folder: Path) -> list[str]:
    """Write and check the archive of every architecture; give their digests."""
    digests: list[str] = []
    for each in lock.architectures:
        contents = []
        for image in each.images:
            layers = [intake.packed(layer.diff_id) for layer in image.layers]
            contents.append(ImageContent(image, tuple(layer for layer in layers if layer)))
        path = folder / f"{each.arch}.tar"
        with path.open("wb") as out:
            write_tar(arrange(contents, "zstd"), intake.store.open, out, SilentTask())
        with path.open("rb") as file:
            found = check_archive(file, path.name)
            file.seek(0)
            unpack_archive(file, path.name, found)
        assert [image.name for image in found] == sorted(image.reference for image in each.images)
        assert {image.platform.architecture for image in found} == {each.arch}
        digests.append(digest_of(path.read_bytes()))
    return digests


def test_every_layer_is_fetched_once_however_many_images_share_it(session: Session, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache")
    with Upstream() as upstream:
        lock = lock_of(upstream, session, store, extra=EXTRA_IMAGE)
        upstream.forget_requests()
        intake = pull(upstream, session, store, lock)
        layers = {layer.diff_id: layer for image in lock.images for layer in image.layers}
        assert len(upstream.requests_to("*/blobs/*")) == len(upstream.requests) == len(layers)
        assert upstream.bytes_sent() == sum(layer.size for layer in layers.values())
        upstream.forget_requests()
        archives(lock, intake, tmp_path)
        pull(upstream, session, store, lock)
        assert upstream.requests == ()


def test_the_number_of_jobs_does_not_show_in_the_archives(session: Session, tmp_path: Path) -> None:
    with Upstream() as upstream:
        made = []
        for jobs in (1, 8):
            store = open_store(tmp_path / f"cache-{jobs}")
            lock = lock_of(upstream, session, store)
            made.append(archives(lock, pull(upstream, session, store, lock, jobs), tmp_path))
    assert made[0] == made[1]


@pytest.mark.parametrize("jobs", [1, 3])
def test_as_many_transfers_as_jobs_are_under_way_and_no_more(jobs: int, session: Session, tmp_path: Path) -> None:
    under_way = most = 0
    guard = threading.Lock()

    def answer(asked: Asked) -> Reply:
        nonlocal under_way, most
        with guard:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.02)
        with guard:
            under_way -= 1
        return Reply(200, upstream.document(asked.path).body)

    with Upstream() as upstream, Recorder(answer) as registry:
        lock = lock_of(upstream, session, open_store(tmp_path / "locking"))
        empty = Intake(open_store(tmp_path / "cache"), lock.compressor)
        reached = Distribution(session, through({"docker.io": [registry.url]}))
        RegistryEngine(reached).pull(lock.images, empty, jobs, Silent())
        assert not any(empty.lacks(image) for image in lock.images)
    assert most == jobs


def image_at(host: str, number: int, size: int) -> tuple[LockedImage, dict[str, bytes]]:
    """Make an image with a layer of its own, and what its registry serves by path."""
    own = layer(Entry("own", random.Random(f"{host} {number}").randbytes(size)))
    part = platform_image(DOCKER, "linux/arm64/v8", (own,))
    locked = LockedImage(
        reference=f"{host}/some/image{number}:1",
        index=Digest(part.manifest.digest),
        manifest=Digest(part.manifest.digest),
        manifest_size=len(part.manifest.data),
        platform=part.platform,
        config=Digest(part.config.digest),
        config_size=len(part.config.data),
        layers=(
            LockedLayer(
                digest=Digest(own.digest), size=len(own.data), media_type=DOCKER.gzip, diff_id=Digest(own.diff_id)
            ),
        ),
    )
    blobs = f"/v2/some/image{number}/blobs"
    return locked, {f"{blobs}/{part.config.digest}": part.config.data, f"{blobs}/{own.digest}": own.data}


@pytest.mark.parametrize("configs", ["to fetch", "there"])
def test_a_registry_that_hangs_keeps_no_other_from_its_turn(configs: str, session: Session, tmp_path: Path) -> None:
    """Two transfers at a time, and all of the registry that hangs would be first: it has the bigger layers."""
    released, served = threading.Event(), dict[str, bytes]()

    def hang(asked: Asked) -> Reply:
        assert released.wait(30), "the other registry had no turn"
        return Reply(200, served[asked.path])

    with Recorder(hang) as slow, Recorder(lambda asked: Reply(200, served[asked.path])) as fast:
        images = []
        for host, numbers, size in ((slow.host, range(4), 200_000), (fast.host, range(4, 8), 1000)):
            for number in numbers:
                image, documents = image_at(host, number, size)
                images.append(image)
                served |= documents
        intake = Intake(open_store(tmp_path), zstd.compressor(3))
        if configs == "there":
            for path, data in served.items():
                if digest_of(data) in {image.config for image in images}:
                    intake.take_config(data, digest_of(data), path)
        with ThreadPoolExecutor(1) as pool:
            engine = RegistryEngine(Distribution(session, through()))
            pulling = pool.submit(engine.pull, images, intake, 2, Silent())
            patience = time.monotonic() + 20
            while any(intake.lacks(image) for image in images[4:]) and time.monotonic() < patience:
                time.sleep(0.02)
            waiting = [image.reference for image in images[4:] if intake.lacks(image)]
            released.set()
            pulling.result(30)
    assert not waiting
    assert not any(intake.lacks(image) for image in images)


def test_a_layer_that_broke_off_for_good_goes_on_where_it_stopped(session: Session, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache")
    with Upstream() as upstream:
        lock = lock_of(upstream, session, store, arch="arm64", extra=EXTRA_IMAGE)
        layer = lock.architectures[0].recipe_images[0].layers[0]
        upstream.fail(f"*/blobs/{layer.digest}", Cut(100))
        upstream.fail(f"*/blobs/{layer.digest}", Status(404), times=None)
        with pytest.raises(NetworkError):
            pull(upstream, session, store, lock)
        upstream.heal()
        upstream.forget_requests()
        archives(lock, pull(upstream, session, store, lock), tmp_path)
        assert upstream.bytes_sent(f"*/blobs/{layer.digest}") == layer.size - 100


def test_a_layer_of_wrong_bytes_is_refused_and_leaves_nothing_of_it(session: Session, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache")
    with Upstream() as upstream:
        lock = lock_of(upstream, session, store, arch="arm64")
        layer = lock.images[0].layers[0]
        upstream.fail(f"*/blobs/{layer.digest}", Flip(30), times=None)
        with pytest.raises(BundlerError) as caught:
            pull(upstream, session, store, lock, jobs=1)
        assert caught.value.exit_code == 4
        assert layer.digest in caught.value.what
        assert list((store.root / "partial").glob(layer.digest.removeprefix("sha256:"))) == []
        upstream.heal()
        archives(lock, pull(upstream, session, store, lock), tmp_path)


def test_layers_that_are_not_those_of_the_config_are_refused(session: Session, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache")
    with Upstream() as upstream:
        lock = lock_of(upstream, session, store, arch="arm64", extra=WRONG_DIFF_ID)
        image = lock.architectures[0].recipe_images[0]
        engine = RegistryEngine(distribution(upstream, session))
        with pytest.raises(DigestMismatchError, match=f"{WRONG_DIFF_ID} gave a layer that does not unpack to"):
            engine.pull([image], Intake(store, lock.compressor), 1, Silent())


def test_a_config_of_another_size_than_its_manifest_says_is_refused(session: Session, tmp_path: Path) -> None:
    store = open_store(tmp_path / "cache")
    with Upstream() as upstream:
        top = upstream.document(f"/v2/{PAUSE}/manifests/3.6")
        index = json.loads(top.body)
        for entry in index["manifests"]:
            old = upstream.document(f"/v2/{PAUSE}/manifests/{entry['digest']}")
            manifest = json.loads(old.body)
            manifest["config"]["size"] += 1
            body = json.dumps(manifest).encode()
            entry["digest"], entry["size"] = digest_of(body), len(body)
            upstream.put_document(f"/v2/{PAUSE}/manifests/{entry['digest']}", replace(old, body=body))
        upstream.put_document(f"/v2/{PAUSE}/manifests/3.6", replace(top, body=json.dumps(index).encode(), headers={}))
        with pytest.raises(MalformedAnswerError, match=r"its config has [0-9]+ bytes"):
            lock_of(upstream, session, store)
