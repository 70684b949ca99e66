"""One lock gives one bundle, to the byte, whatever engine, Docker version and image store its images come through."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from bundler.archive import zstd
from bundler.build import assemble, bring
from bundler.engines.choice import choose_engine
from bundler.engines.distribution import Distribution
from bundler.errors import (
    BundleDamagedError,
    DaemonFailedError,
    DigestMismatchError,
    EngineUnfitError,
    ImageNotFoundError,
    IncompleteImageError,
)
from bundler.model.digest import digest_of
from bundler.model.lock import LayerForm, Lock, LockedArchitecture, LockedFile
from bundler.model.secret import SiteSecrets
from bundler.net.session import open_session
from bundler.progress import Silent
from bundler.site.told import told_by
from bundler.stages.read import parse_recipe
from bundler.stages.verify import verify
from bundler.store.store import open_store
from tests.engines.test_save_stream import BLOBS, COREDNS, PAUSE, locked
from tests.reach import releases_of, through
from tests.recorded_daemon import CONTAINERD, OVERLAY2, RECORDED, RecordedDaemon
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bundler.engines.engine import Engine
    from bundler.model.recipe import EngineChoice
    from bundler.store.store import Store
    from tests.real.docker_engine import DockerEngine

RELEASE = "v1.34.1+k3s1"
IMAGES = tuple(locked(name, "arm") for name in (PAUSE, COREDNS))
STREAMS = {
    "docker20-overlay2.by-digest-arm": {**OVERLAY2, "ServerVersion": "20.10.24"},
    "docker28-overlay2.by-digest-arm": OVERLAY2,
    "docker28-containerd.by-digest-arm": CONTAINERD,
}


class Notes(Silent):
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """A registry that has the recorded images, as a mirror of Docker Hub, and the release."""
    with Upstream() as running:
        for image in IMAGES:
            repository = image.reference.removeprefix("docker.io/").partition(":")[0]
            body = BLOBS[image.manifest]
            media_type = json.loads(body)["mediaType"]
            running.put(f"/v2/{repository}/manifests/{image.manifest}", body, media_type)
            for digest in (image.config, *(layer.digest for layer in image.layers)):
                running.put(f"/v2/{repository}/blobs/{digest}", BLOBS[digest])
        yield running


RECIPE = parse_recipe(b"{version: 1, name: edge, release: v1.34.1+k3s1, arch: [arm]}", "edge.yaml")


def lock_of(upstream: Upstream, form: LayerForm) -> Lock:
    asset = upstream.content.release(RELEASE).assets["k3s-armhf"]
    url = f"{upstream.releases_url}/{RELEASE}/k3s-armhf"
    file = LockedFile(name="k3s-armhf", url=url, size=len(asset), digest=digest_of(asset))
    text = f"{IMAGES[0].reference}\n".encode()
    upstream.put("/k3s-images.txt", text)
    image_list = LockedFile(
        name="k3s-images.txt", url=f"{upstream.url}/k3s-images.txt", size=len(text), digest=digest_of(text)
    )
    each = LockedArchitecture(
        arch="arm", binary=file, checksums=file, image_list=image_list, k3s_images=IMAGES[:1], recipe_images=IMAGES[1:]
    )
    return Lock(
        name="edge",
        recipe=file.digest,
        release=RELEASE,
        layers=form,
        compressor=zstd.compressor(3),
        architectures=(each,),
    )


@contextmanager
def engine_for(upstream: Upstream, name: EngineChoice, form: LayerForm, notes: Notes | None = None) -> Iterator[Engine]:
    access = through({"docker.io": [upstream.url]})
    with open_session() as session:
        distribution = Distribution(session, access)
        engine = choose_engine(name, distribution, access, notes or Notes(), layers=form, keep_images=False)
        with closing(engine):
            yield engine


def engine_chosen(upstream: Upstream, name: EngineChoice, form: LayerForm, notes: Notes | None = None) -> str:
    with engine_for(upstream, name, form, notes) as engine:
        return engine.name


def bring_all(upstream: Upstream, name: EngineChoice, lock: Lock, store: Store, jobs: int = 2) -> None:
    with open_session() as session, engine_for(upstream, name, lock.layers) as engine:
        bring(lock, engine, releases_of(RECIPE, session), store, jobs, Silent())


def build(upstream: Upstream, name: EngineChoice, form: LayerForm, folder: Path) -> Path:
    lock, store = lock_of(upstream, form), open_store(folder / "cache")
    bring_all(upstream, name, lock, store)
    assemble(told_by(RECIPE, SiteSecrets({})), lock, store, folder / "bundle", 2, Silent(), replace=False)
    return folder / "bundle"


def sums(bundle: Path) -> dict[str, str]:
    return {
        str(path.relative_to(bundle)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module", params=["zstd", "plain", "registry"])
def form(request: pytest.FixtureRequest) -> LayerForm:
    found: LayerForm = request.param
    return found


@pytest.fixture(scope="module")
def expected(upstream: Upstream, form: LayerForm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The bundle as the registry engine makes it."""
    return sums(build(upstream, "registry", form, tmp_path_factory.mktemp(form)))


@pytest.mark.parametrize("stream", STREAMS)
def test_recorded_engines_give_the_bundle_of_the_registry_engine(
    upstream: Upstream,
    form: LayerForm,
    expected: dict[str, str],
    stream: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with RecordedDaemon(STREAMS[stream], (RECORDED / f"{stream}.tar").read_bytes()) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        if form == "registry" and STREAMS[stream] is not CONTAINERD:
            with pytest.raises(EngineUnfitError, match="overlay2 image store unpacks what it pulls"):
                engine_chosen(upstream, "docker", form)
            return
        assert sums(build(upstream, "docker", form, tmp_path)) == expected

    names = sorted(f"{upstream.host}/{each.reference[10:].partition(':')[0]}@{each.manifest}" for each in IMAGES)
    assert sorted(daemon.pulled) == sorted(daemon.removed) == names
    assert sorted(name for each in daemon.saved for name in each) == names


def test_images_that_fit_are_saved_in_one_call(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine writes all that one call saves to its disk, and a layer that two images share once."""
    stream = (RECORDED / "docker28-overlay2.by-digest-arm.tar").read_bytes()
    with RecordedDaemon(OVERLAY2, stream) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        lock, store = lock_of(upstream, "zstd"), open_store(tmp_path)
        bring_all(upstream, "docker", lock, store, jobs=1)
        assert [sorted(names) for names in daemon.saved] == [sorted(daemon.pulled)]
        assert len(daemon.pulled) == 2
        bring_all(upstream, "docker", lock, store, jobs=1)
        assert len(daemon.saved) == 1, "a build that has everything asks for nothing"


def test_images_that_were_pulled_are_removed_when_one_cannot_be_had(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordedDaemon(OVERLAY2, b"", absent="coredns") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        lock, store = lock_of(upstream, "zstd"), open_store(tmp_path)
        with pytest.raises(ImageNotFoundError, match="coredns"):
            bring_all(upstream, "docker", lock, store, jobs=1)
        assert daemon.removed == [name for name in daemon.pulled if "coredns" not in name]
        assert not daemon.saved
    assert not list((store.root / "pulled").iterdir())


def test_the_docker_of_debian_gives_the_bundle_of_the_registry_engine(
    upstream: Upstream,
    docker_engine: DockerEngine,
    form: LayerForm,
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_engine.host)
    if form == "registry":
        with pytest.raises(EngineUnfitError, match="image store unpacks what it pulls"):
            engine_chosen(upstream, "docker", form)
        return

    assert sums(build(upstream, "docker", form, tmp_path)) == expected
    assert docker_engine.snapshot() == frozenset()


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {each.name: content.read() for each in tar if (content := tar.extractfile(each))}


def test_the_registry_form_carries_the_registrys_own_bytes(upstream: Upstream, tmp_path: Path) -> None:
    bundle = build(upstream, "registry", "registry", tmp_path)

    for name, image in zip(("k3s-airgap", "edge"), IMAGES, strict=True):
        inside = members(bundle / "images" / f"{name}-images-arm.tar")
        (entry,) = json.loads(inside["index.json"])["manifests"]
        assert (entry["digest"], entry["size"]) == (image.manifest, image.manifest_size)
        assert entry["mediaType"] == json.loads(BLOBS[image.manifest])["mediaType"]
        assert entry["annotations"]["io.containerd.image.name"] == image.reference
        for digest in (image.manifest, image.config, *(layer.digest for layer in image.layers)):
            assert inside[f"blobs/sha256/{digest[7:]}"] == BLOBS[digest]
        (docker,) = json.loads(inside["manifest.json"])
        assert docker["Layers"] == [f"blobs/sha256/{layer.digest[7:]}" for layer in image.layers]


def test_auto_goes_without_an_engine_that_lost_the_bytes_and_says_so(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    with RecordedDaemon(OVERLAY2, b"") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        assert engine_chosen(upstream, "auto", "registry", notes) == "registry"
        assert engine_chosen(upstream, "auto", "zstd", notes) == "docker"
        asked_for = Notes()
        assert engine_chosen(upstream, "docker", "zstd", asked_for) == "docker"
    lost, taken = notes.said
    assert lost.startswith("engine registry: images.layers is registry, but Docker 28")
    assert taken == f"engine docker: Docker 28.5.2 answers at {daemon.host.replace('tcp', 'http')}"
    assert asked_for.said == [], "who names an engine need not be told which it is"


def test_auto_goes_without_a_daemon_that_does_not_say_what_it_is(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    with RecordedDaemon({"ServerVersion": "28.5.2"}, b"") as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        assert engine_chosen(upstream, "auto", "zstd", notes) == "registry"
        with pytest.raises(DaemonFailedError):
            engine_chosen(upstream, "docker", "zstd")
    (note,) = notes.said
    assert note.startswith("engine registry: the Docker daemon broke off while being asked what it is")


def test_a_stream_without_the_manifest_is_incomplete_in_the_registry_form(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    stream = (RECORDED / "docker28-containerd.by-digest-arm.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(stream)) as whole, tarfile.open(fileobj=out, mode="w") as less:
        for each in whole:
            if IMAGES[1].manifest[7:] not in each.name:
                less.addfile(each, whole.extractfile(each))
    with RecordedDaemon(CONTAINERD, out.getvalue()) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        with pytest.raises(IncompleteImageError, match=IMAGES[1].manifest):
            build(upstream, "docker", "registry", tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_layers_that_only_unpack_to_the_right_bytes_do_not_pass_for_the_registrys(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overlay2 engine that pretends to have a containerd image store."""
    stream = (RECORDED / "docker28-overlay2.by-digest-arm.tar").read_bytes()
    with RecordedDaemon(CONTAINERD, stream) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        with pytest.raises(IncompleteImageError, match=IMAGES[0].layers[0].digest):
            build(upstream, "docker", "registry", tmp_path)


def test_a_damaged_layer_in_the_cache_is_brought_again(upstream: Upstream, tmp_path: Path) -> None:
    lock, store = lock_of(upstream, "registry"), open_store(tmp_path / "cache")
    layer = IMAGES[0].layers[0]
    bring_all(upstream, "registry", lock, store)
    upstream.forget_requests()
    bring_all(upstream, "registry", lock, store)
    assert not upstream.requests, "a second build asks nobody"
    for digest in (layer.digest, IMAGES[1].manifest):
        store.path(digest).write_bytes(b"rotten")
    bring_all(upstream, "registry", lock, store)

    assert store.read(layer.digest) == BLOBS[layer.digest]
    assert store.read(IMAGES[1].manifest) == BLOBS[IMAGES[1].manifest]
    assert len(upstream.requests_to("/v2/*/blobs/*")) == len(upstream.requests_to("/v2/*/manifests/*")) == 1


def test_a_layer_that_does_not_unpack_to_its_diff_id_is_refused(upstream: Upstream, tmp_path: Path) -> None:
    other = IMAGES[1].layers[1].diff_id
    wrong = IMAGES[0].model_copy(update={"layers": (IMAGES[0].layers[0].model_copy(update={"diff_id": other}),)})
    lock = lock_of(upstream, "registry")
    each = lock.architectures[0].model_copy(update={"k3s_images": (wrong,)})
    changed = lock.model_copy(update={"architectures": (each,)})
    with pytest.raises(DigestMismatchError, match=f"which unpacks to {other}"):
        bring_all(upstream, "registry", changed, open_store(tmp_path))


def test_a_bundle_whose_archive_has_another_form_than_it_says_is_damaged(upstream: Upstream, tmp_path: Path) -> None:
    """The archive of one form under the words of another, with every checksum made right."""
    own, other = (build(upstream, "registry", form, tmp_path / form) for form in ("zstd", "registry"))
    for name in ("images/edge-images-arm.tar", "images/k3s-airgap-images-arm.tar"):
        (own / name).write_bytes((other / name).read_bytes())
    lines = [line.partition("  ")[2] for line in (own / "SHA256SUMS").read_text().splitlines()]
    (own / "SHA256SUMS").write_text(
        "".join(f"{hashlib.sha256((own / name).read_bytes()).hexdigest()}  {name}\n" for name in lines)
    )

    with pytest.raises(BundleDamagedError, match="has layers in another form than zstd"):
        verify(own, 2, Silent())
