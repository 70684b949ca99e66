"""`docker save` as three engines really wrote it gives the same packed layers, configs and archives, or an error.

The recordings and what each is are described in tests/data/save-streams/README.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.archive import zstd
from bundler.archive.check import check_archive
from bundler.archive.layout import ImageContent, arrange
from bundler.archive.unpack import unpack_archive
from bundler.archive.writer import write_tar, write_tar_zst
from bundler.engines.intake import Intake
from bundler.engines.manifest import Manifest, parse_manifest
from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.errors import ArchiveError, BundlerError, DigestMismatchError, IncompleteImageError, IntegrityError
from bundler.model.digest import Digest, digest_of, hex_of, parse_digest
from bundler.model.lock import LockedImage, LockedLayer
from bundler.progress import SilentTask
from bundler.store.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundler.store.store import Store

RECORDED = Path(__file__).parent.parent / "data" / "save-streams"
REGISTRY: dict[str, Any] = json.loads((RECORDED / "registry.json").read_bytes())
PLATFORMS = {"amd64": "linux/amd64", "arm": "linux/arm/v7", "arm64": "linux/arm64/v8"}
COMPRESSOR = zstd.compressor(3)

PAUSE, COREDNS, TWICE = "demo/pause:3.6", "demo/coredns:1.12.3", "demo/twice:1.0"

# arch, images, and the streams that hold them: overlay2 of Docker 20 and 28, containerd's store of Docker 28
ARM = ("arm", (PAUSE, COREDNS))
ARM64 = ("arm64", (PAUSE, COREDNS, TWICE))
ONE = ("arm64", (TWICE,))
STREAMS = [
    *((name, *ARM) for name in ("docker20-overlay2.by-digest-arm", "docker28-overlay2.by-digest-arm",
                                "docker28-containerd.by-digest-arm")),
    *((name, *ARM64) for name in ("docker20-overlay2.names-arm64", "docker28-overlay2.names-arm64",
                                  "docker28-containerd.platform-arm64", "docker28-containerd.platform-arm64-of-both",
                                  "docker28-containerd.no-platform-both")),
    *((name, *ONE) for name in ("docker20-overlay2.one-by-id-arm64", "docker28-overlay2.one-by-id-arm64",
                                "docker28-containerd.platform-arm64")),
    ("docker28-containerd.no-platform-both", "amd64", (PAUSE, COREDNS, TWICE)),
]  # fmt: skip


def recorded(name: str) -> bytes:
    return (RECORDED / f"{name}.tar").read_bytes()


def blobs_of_the_registry() -> dict[str, bytes]:
    """Give what the registry held, as far as containerd's store kept it: manifests and configs by digest."""
    found: dict[str, bytes] = {}
    for path in RECORDED.glob("docker28-containerd.*.tar"):
        with tarfile.open(path) as archive:
            for info in archive:
                if info.isreg() and info.name.startswith("blobs/"):
                    data = archive.extractfile(info).read()  # type: ignore[union-attr]
                    found[digest_of(data)] = data
    return found


BLOBS = blobs_of_the_registry()


def locked(name: str, arch: str) -> LockedImage:
    """Give what the lock says of an image, from the registry's own manifest."""
    held = REGISTRY[name][arch]
    body = BLOBS[held["manifest"]]
    manifest = parse_manifest(body, "", name)
    assert isinstance(manifest, Manifest)
    assert manifest.config.digest == held["config"]
    layers = tuple(
        LockedLayer(digest=layer.digest, size=layer.size, media_type=layer.media_type, diff_id=diff_id)
        for layer, diff_id in zip(manifest.layers, held["diff_ids"], strict=True)
    )
    return LockedImage(
        reference=f"docker.io/{name}",
        index=parse_digest(REGISTRY[name]["index"]),
        manifest=parse_digest(held["manifest"]),
        manifest_size=len(body),
        platform=PLATFORMS[arch],
        config=manifest.config.digest,
        config_size=manifest.config.size,
        layers=layers,
    )


def take(data: bytes, images: Sequence[LockedImage], folder: Path) -> Store:
    store = open_store(folder)
    take_save_stream(io.BytesIO(data), images, Intake(store, COMPRESSOR), "the engine", MemberNames(), SilentTask())
    return store


def contents(store: Store, images: Sequence[LockedImage]) -> list[ImageContent]:
    intake = Intake(store, COMPRESSOR)
    packed = [[intake.packed(layer.diff_id) for layer in image.layers] for image in images]
    return [
        ImageContent(image, tuple(layer for layer in layers if layer))
        for image, layers in zip(images, packed, strict=True)
    ]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, tuple[str, ...]], dict[str, str]]:
    """Give the digests of everything made from the layers themselves, which no engine has touched."""
    plain = {}
    for name in ("docker28-overlay2.names-arm64", "docker28-overlay2.by-digest-arm"):
        with tarfile.open(RECORDED / f"{name}.tar") as archive:
            for info in archive:
                if info.isreg():
                    data = archive.extractfile(info).read()  # type: ignore[union-attr]
                    plain[digest_of(data)] = data

    def made(arch: str, names: tuple[str, ...]) -> dict[str, str]:
        images = [locked(name, arch) for name in names]
        store = open_store(tmp_path_factory.mktemp("expected"))
        intake = Intake(store, COMPRESSOR)
        for image in images:
            intake.take_config(BLOBS[image.config], image.config, "the registry")
            for layer in image.layers:
                stream = io.BytesIO(plain[layer.diff_id])
                intake.take_layer(stream, layer.diff_id, "the test", SilentTask())
        return digests(store, images)

    return made


def digests(store: Store, images: Sequence[LockedImage]) -> dict[str, str]:
    """Hash the blobs of the store, and the archive in every form."""
    found = {path.name: "" for path in (store.root / "blobs" / "sha256").iterdir()}
    for name in found:
        found[name] = hashlib.sha256((store.root / "blobs" / "sha256" / name).read_bytes()).hexdigest()
    zst, plain, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    write_tar(arrange(contents(store, images), "zstd"), store.open, zst, SilentTask())
    write_tar(arrange(contents(store, images), "plain"), store.open, plain, SilentTask())
    write_tar_zst(arrange(contents(store, images), "plain"), store.open, COMPRESSOR, packed, SilentTask())
    archives = {"zstd": zst, "plain": plain, "plain in zstd": packed}
    return found | {form: digest_of(out.getvalue()) for form, out in archives.items()}


@pytest.mark.parametrize(("stream", "arch", "names"), [each for each in STREAMS if each[1] != "amd64"])
def test_every_engine_gives_the_same_layers_configs_and_archives(
    stream: str,
    arch: str,
    names: tuple[str, ...],
    expected: Callable[[str, tuple[str, ...]], dict[str, str]],
    tmp_path: Path,
) -> None:
    images = [locked(name, arch) for name in names]
    store = take(recorded(stream), images, tmp_path / "cache")
    assert digests(store, images) == expected(arch, names)


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_the_archive_of_every_stream_is_complete_and_of_the_right_architecture(
    stream: str, arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    images = [locked(name, arch) for name in names]
    store = take(recorded(stream), images, tmp_path / "cache")
    out = io.BytesIO()
    write_tar(arrange(contents(store, images), "zstd"), store.open, out, SilentTask())
    out.seek(0)
    found = check_archive(out, "images.tar")
    out.seek(0)
    unpack_archive(out, "images.tar", found)
    assert {(each.name, str(each.platform), each.config) for each in found} == {
        (image.reference, PLATFORMS[arch], image.config) for image in images
    }


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_only_what_the_lock_names_is_kept(stream: str, arch: str, names: tuple[str, ...], tmp_path: Path) -> None:
    image = locked(names[0], arch)
    store = take(recorded(stream), [image], tmp_path / "cache")
    kept = {path.name for path in (store.root / "blobs" / "sha256").iterdir()}
    packed = {hex_of(layer.digest) for layer in contents(store, [image])[0].layers}
    assert kept == {hex_of(image.config), *packed}


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_images_of_another_architecture_are_never_taken(
    stream: str, arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    other = "arm64" if arch == "arm" else "arm"
    with pytest.raises(IncompleteImageError, match=f"{PAUSE} for {PLATFORMS[other]}"):
        take(recorded(stream), [locked(PAUSE, other)], tmp_path / "cache")


def rewritten(data: bytes, change: Callable[[tarfile.TarInfo, bytes], tuple[str, bytes] | None]) -> bytes:
    """Write the stream anew with members changed, renamed, or left out when `change` gives None."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for info in old:
            if not info.isreg():
                new.addfile(info)
                continue
            changed = change(info, old.extractfile(info).read())  # type: ignore[union-attr]
            if changed:
                info.name, info.size = changed[0], len(changed[1])
                new.addfile(info, io.BytesIO(changed[1]))
    return out.getvalue()


def content_names(image: LockedImage) -> set[str]:
    return {name for layer in image.layers for name in (layer.digest, layer.diff_id)}


def holds_a_layer(data: bytes, image: LockedImage) -> bool:
    return digest_of(data) in content_names(image)


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_a_missing_layer_is_named(stream: str, arch: str, names: tuple[str, ...], tmp_path: Path) -> None:
    image = locked(names[-1], arch)
    own = image.layers[1]
    data = rewritten(
        recorded(stream),
        lambda info, content: None if digest_of(content) in {own.digest, own.diff_id} else (info.name, content),
    )
    with pytest.raises(IncompleteImageError, match=own.diff_id) as caught:
        take(data, [image], tmp_path / "cache")
    assert image.reference in caught.value.what
    assert PLATFORMS[arch] in caught.value.what


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_a_missing_config_is_named(stream: str, arch: str, names: tuple[str, ...], tmp_path: Path) -> None:
    image = locked(names[0], arch)
    data = rewritten(
        recorded(stream),
        lambda info, content: None if digest_of(content) == image.config else (info.name, content),
    )
    with pytest.raises(IncompleteImageError, match=image.config):
        take(data, [image], tmp_path / "cache")


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_the_bytes_of_another_layer_under_a_layers_name_are_refused(
    stream: str, arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    image = locked(names[-1], arch)
    other = gzip_or_plain(recorded(stream), image)
    data = rewritten(
        recorded(stream),
        lambda info, content: (info.name, other if holds_a_layer(content, image) else content),
    )
    with pytest.raises((DigestMismatchError, IncompleteImageError)):
        take(data, [image], tmp_path / "cache")


def gzip_or_plain(data: bytes, image: LockedImage) -> bytes:
    """Give a layer that is not the image's, compressed as those in the stream are."""
    compressed = any(hex_of(layer.digest).encode() in data for layer in image.layers)
    return gzip.compress(b"another layer", mtime=0) if compressed else b"another layer".ljust(1024, b"\0")


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_the_config_of_another_image_under_a_configs_name_is_refused(
    stream: str, arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    image = locked(names[0], arch)
    foreign = BLOBS[REGISTRY[PAUSE]["amd64" if arch != "amd64" else "arm"]["config"]]
    data = rewritten(
        recorded(stream),
        lambda info, content: (info.name, foreign if digest_of(content) == image.config else content),
    )
    with pytest.raises(DigestMismatchError, match=image.config):
        take(data, [image], tmp_path / "cache")


@pytest.mark.parametrize(("stream", "arch", "names"), STREAMS)
def test_a_stream_that_is_cut_short_is_refused_wherever_it_ends(
    stream: str, arch: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    data = recorded(stream)
    images = [locked(name, arch) for name in names]
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        needed = {image.config for image in images} | {name for image in images for name in content_names(image)}
        ends = [
            info.offset_data + info.size
            for info in archive
            if info.isreg() and digest_of(archive.extractfile(info).read()) in needed  # type: ignore[union-attr]
        ]
    last = max(ends)
    for number, end in enumerate([0, 1, 511, 512, 513, *range(1000, last, 3001), last - 1]):
        with pytest.raises((ArchiveError, IncompleteImageError, IntegrityError)):
            take(data[:end], images, tmp_path / str(number))


@pytest.mark.parametrize("stream", ["docker20-overlay2.names-arm64", "docker28-containerd.platform-arm64"])
def test_layers_that_are_there_already_are_not_packed_again(stream: str, tmp_path: Path) -> None:
    images = [locked(name, "arm64") for name in (PAUSE, COREDNS, TWICE)]
    store = take(recorded(stream), images, tmp_path / "cache")
    records = {path: path.stat().st_ino for path in (store.root / "layers").iterdir()}
    take(recorded(stream), images, tmp_path / "cache")
    assert {path: path.stat().st_ino for path in (store.root / "layers").iterdir()} == records


def test_a_layer_that_two_compressors_would_pack_is_packed_by_both(tmp_path: Path) -> None:
    image = locked(PAUSE, "arm64")
    store = open_store(tmp_path)
    for level in (3, 5):
        intake = Intake(store, zstd.compressor(level))
        assert intake.lacks(image)
        data = recorded("docker28-overlay2.names-arm64")
        take_save_stream(io.BytesIO(data), [image], intake, "the engine", MemberNames(), SilentTask())
        assert not intake.lacks(image)
    assert len(list((store.root / "layers").iterdir())) == 2


def test_a_record_that_speaks_of_another_layer_does_not_count(tmp_path: Path) -> None:
    image = locked(COREDNS, "arm64")
    store = take(recorded("docker28-overlay2.names-arm64"), [image], tmp_path)
    records = sorted((store.root / "layers").iterdir())
    assert len(records) == 2
    records[0].write_bytes(records[1].read_bytes())
    assert Intake(store, COMPRESSOR).lacks(image)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    stream=st.sampled_from([each[0] for each in STREAMS if each[1] == "arm64"]),
    changes=st.lists(st.tuples(st.integers(0, 33000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_stream_raises_nothing_but_our_errors(
    stream: str, changes: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(recorded(stream))
    for offset, value in changes:
        data[offset % len(data)] = value
    image = locked(TWICE, "arm64")
    folder = tmp_path_factory.mktemp("cache")
    try:
        store = take(bytes(data), [image], folder)
    except BundlerError as error:
        assert error.exit_code == 4, error  # noqa: PT017
    else:
        assert [layer.diff_id for layer in contents(store, [image])[0].layers] == [
            Digest(each.diff_id) for each in image.layers
        ]
