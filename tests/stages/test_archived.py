"""Images from archives on disk: every layout is read, nothing incomplete or of another architecture gets through."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from bundler.archive import zstd
from bundler.archive.check import check_archive
from bundler.archive.layout import ImageContent, arrange
from bundler.archive.writer import write_tar
from bundler.engines.archive import WithArchives
from bundler.engines.intake import Intake
from bundler.errors import (
    ArchiveError,
    BundlerError,
    IncompleteImageError,
    MissingPlatformError,
    RecipeNotFoundError,
    UnsupportedImageError,
    UsageError,
    WrongArchitectureError,
)
from bundler.model.lock import Lock, LockedArchitecture, LockedFile, LockedImage
from bundler.progress import Silent, SilentTask
from bundler.stages.archived import changed_archive, lock_archives, with_own_images
from bundler.stages.read import parse_recipe
from bundler.store.store import open_store
from tests.upstream.images import BUILDKIT, DOCKER, OCI, Image, standard_image
from tests.upstream.layers import Entry, layer
from tests.upstream.odd_images import odd_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.engines.intake import Intake as IntakeType
    from bundler.model.platform import Architecture
    from bundler.progress import Progress
    from bundler.stages.archived import Archived

RECORDED = Path(__file__).parent.parent / "data" / "save-streams"
COMPRESSOR = zstd.compressor(3)
HOST = "127.0.0.1:5099"
NAMES = (f"{HOST}/demo/coredns:1.12.3", f"{HOST}/demo/pause:3.6", f"{HOST}/demo/twice:1.0")
HELLO = "docker.io/example/hello:1.0"
PLATFORMS: dict[Architecture, str] = {"amd64": "linux/amd64", "arm64": "linux/arm64/v8", "arm": "linux/arm/v7"}
TWO: tuple[Architecture, ...] = ("amd64", "arm64")


def locked(folder: Path, extra: Sequence[dict[str, str]], *architectures: str) -> Archived:
    text = json.dumps(
        {
            "version": 1,
            "name": "edge",
            "release": "stable",
            "arch": list(architectures or ("arm64",)),
            "images": {"extra": list(extra)},
        }
    )
    recipe = parse_recipe(text.encode(), "edge.yaml")
    return lock_archives(recipe, folder, open_store(folder / "cache"), Silent())


def of(path: str, *names: str) -> list[dict[str, str]]:
    return [{"archive": path, "ref": name} for name in names] if names else [{"archive": path}]


class NoEngine:
    """An engine that must not be asked for anything."""

    name = "none"

    def pull(self, images: Sequence[LockedImage], intake: IntakeType, jobs: int, progress: Progress) -> None:
        assert not images

    def close(self) -> None:
        pass


def packed(images: Sequence[LockedImage], folder: Path, cache: Path) -> bytes:
    """Build the image archive of these images with nothing but the lock and the archives."""
    store = open_store(cache)
    intake = Intake(store, COMPRESSOR)
    WithArchives(NoEngine(), folder).pull(images, intake, 2, Silent())
    contents = []
    for image in images:
        layers = [intake.packed(each.diff_id) for each in image.layers]
        contents.append(ImageContent(image, tuple(each for each in layers if each)))
    out = io.BytesIO()
    write_tar(arrange(contents, "zstd"), store.open, out, SilentTask())
    return out.getvalue()


def tar_of(members: dict[str, bytes], *, prefix: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def oci_layout(image: Image, *, name: str | None = None, without: Sequence[str] = ()) -> dict[str, bytes]:
    """Lay an image out as skopeo does; `without` are digests of blobs to leave away."""
    blobs = [image.top, *image.inner_indexes]
    datas = [blob.data for blob in blobs]
    for part in (*image.platforms, *image.attestations):
        datas += [part.manifest.data, part.config.data, *(each.data for each in part.layers)]
    notes = {"org.opencontainers.image.ref.name": name or image.reference}
    top = {"mediaType": image.top.media_type, "digest": image.top.digest, "size": len(image.top.data)}
    index = {"schemaVersion": 2, "manifests": [top | {"annotations": notes}]}
    members = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    for data in datas:
        digest = hashlib.sha256(data).hexdigest()
        if f"sha256:{digest}" not in without:
            members[f"blobs/sha256/{digest}"] = data
    return members


def docker_archive(image: Image, arch: str, tags: Sequence[str] = (), suffix: str = "tar") -> dict[str, bytes]:
    """Write an archive as build tools do, with names of their own; layers stay compressed when `suffix` says so."""
    part = image.on(arch)
    layers = {f"layer-{number}.{suffix}": each.data for number, each in enumerate(part.layers)}
    if suffix == "tar":
        layers = {name: zstd.inflated(io.BytesIO(data)).read() for name, data in layers.items()}
    entry = {"Config": "config.json", "RepoTags": list(tags) or None, "Layers": list(layers)}
    return {**layers, "config.json": part.config.data, "manifest.json": json.dumps([entry]).encode()}


ARM64 = [
    "docker20-overlay2.names-arm64",
    "docker28-overlay2.names-arm64",
    "docker28-containerd.platform-arm64",
    "docker28-containerd.platform-arm64-of-both",
    "docker28-containerd.no-platform-both",
]


def test_the_save_streams_of_all_engines_give_the_same_archive(tmp_path: Path) -> None:
    made = set()
    for name in ARM64:
        found = locked_recorded(tmp_path, name, NAMES)
        images = [found[each]["arm64"] for each in NAMES]
        data = packed(images, tmp_path, tmp_path / f"cache-{name}")
        made.add(hashlib.sha256(data).hexdigest())
        assert tuple(image.name for image in check_archive(io.BytesIO(data), "out.tar")) == NAMES
    assert len(made) == 1


def locked_recorded(folder: Path, name: str, names: Sequence[str], *architectures: str) -> Archived:
    (folder / f"{name}.tar").write_bytes((RECORDED / f"{name}.tar").read_bytes())
    return locked(folder, of(f"{name}.tar", *names), *architectures)


def test_an_index_in_an_archive_serves_every_architecture_that_is_there(tmp_path: Path) -> None:
    found = locked_recorded(tmp_path, "docker28-containerd.no-platform-both", NAMES, "amd64", "arm64")

    registry = json.loads((RECORDED / "registry.json").read_bytes())
    for name in NAMES:
        held = registry[name.removeprefix(f"{HOST}/")]
        for arch in TWO:
            image = found[name][arch]
            assert (image.index, image.manifest) == (held["index"], held[arch]["manifest"])
            assert image.config == held[arch]["config"]
            assert [each.diff_id for each in image.layers] == held[arch]["diff_ids"]


def test_the_lock_records_name_size_and_hash_of_the_archive(tmp_path: Path) -> None:
    name = "docker20-overlay2.one-by-id-arm64"
    (image,) = (found["arm64"] for found in locked_recorded(tmp_path, name, ["registry.example/twice:1"]).values())

    data = (RECORDED / f"{name}.tar").read_bytes()
    assert image.reference == "registry.example/twice:1"
    assert image.archive
    assert image.archive.path == f"{name}.tar"
    assert image.archive.size == len(data)
    assert image.archive.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    ("name", "arch"),
    [(name, arch) for name in ARM64 for arch in ("amd64", "arm") if (name, arch) != (ARM64[-1], "amd64")],
)
def test_an_architecture_that_is_not_there_is_refused_by_name(tmp_path: Path, name: str, arch: str) -> None:
    with pytest.raises(MissingPlatformError, match=f"{NAMES[1]} in {name}.tar is not there for linux/{arch}"):
        locked_recorded(tmp_path, name, [NAMES[1]], arch)


@pytest.mark.parametrize("shape", [OCI, DOCKER, BUILDKIT], ids=["oci-zstd", "docker", "buildkit-attestations"])
@pytest.mark.parametrize("outer", ["plain", "gzip", "zstd", "dotted"])
def test_an_oci_layout_of_any_kind_is_read(tmp_path: Path, shape: Any, outer: str) -> None:
    image = standard_image(HELLO, shape)
    data = tar_of(oci_layout(image), prefix="./" if outer == "dotted" else "")
    if outer in {"gzip", "zstd"}:
        data = gzip.compress(data) if outer == "gzip" else zstandard.compress(data)
    (tmp_path / "app.tar").write_bytes(data)

    found = locked(tmp_path, of("app.tar"), "amd64", "arm64", "arm")[HELLO]

    for arch, platform in PLATFORMS.items():
        one = found[arch]
        assert one.platform == platform
        assert one.manifest == image.on(arch).manifest.digest
        assert [each.diff_id for each in one.layers] == list(image.on(arch).diff_ids)
        assert packed([one], tmp_path, tmp_path / f"cache-{arch}")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_docker_archive_with_names_of_its_own_is_read(tmp_path: Path, suffix: str) -> None:
    image = standard_image(HELLO, DOCKER)
    (tmp_path / "app.tar").write_bytes(tar_of(docker_archive(image, "arm", [HELLO, "other:2"], suffix)))

    one = locked(tmp_path, of("app.tar", "docker.io/library/other:2"), "arm")["docker.io/library/other:2"]["arm"]

    assert one.config == image.on("arm").config.digest
    data = packed([one], tmp_path, tmp_path / "elsewhere")
    (checked,) = check_archive(io.BytesIO(data), "out.tar")
    assert (checked.name, str(checked.platform)) == ("docker.io/library/other:2", "linux/arm/v7")


def test_archives_of_one_architecture_each_make_one_image(tmp_path: Path) -> None:
    image = standard_image(HELLO, DOCKER)
    for arch in PLATFORMS:
        (tmp_path / f"{arch}.tar").write_bytes(tar_of(docker_archive(image, arch, [HELLO])))
    extra = [{"archive": f"{arch}.tar"} for arch in PLATFORMS]

    found = locked(tmp_path, extra, *PLATFORMS)[HELLO]

    assert {arch: one.archive.path for arch, one in found.items() if one.archive} == {
        arch: f"{arch}.tar" for arch in PLATFORMS
    }
    with pytest.raises(
        MissingPlatformError, match=r"amd64\.tar is not there for linux/arm64; it is there for linux/am"
    ):
        locked(tmp_path, extra[:1], "amd64", "arm64")


def test_two_different_images_of_one_name_and_architecture_are_refused(tmp_path: Path) -> None:
    other = replace(standard_image("docker.io/example/other:1.0", DOCKER), reference=HELLO)
    for number, image in enumerate((standard_image(HELLO, DOCKER), other)):
        (tmp_path / f"{number}.tar").write_bytes(tar_of(docker_archive(image, "arm64", [HELLO])))

    with pytest.raises(UsageError, match="is there for arm64 more than once"):
        locked(tmp_path, [*of("0.tar"), *of("1.tar")])


def test_which_image_is_meant_must_be_clear(tmp_path: Path) -> None:
    name, unnamed = "docker28-overlay2.names-arm64", "docker28-overlay2.one-by-id-arm64"
    with pytest.raises(UsageError, match=r"names several images: .*coredns.*pause.*twice") as several:
        locked_recorded(tmp_path, name, [])
    assert f"ref: {NAMES[0]}" in several.value.hint
    with pytest.raises(UsageError, match="names no image"):
        locked_recorded(tmp_path, unnamed, [])
    with pytest.raises(UsageError, match=r"has no docker\.io/library/pause:3\.6; it has .*pause"):
        locked_recorded(tmp_path, name, ["pause:3.6"])
    with pytest.raises(UsageError, match="is there for arm more than once"):
        locked_recorded(tmp_path, "docker28-containerd.by-digest-arm", ["x:1"], "arm")


def test_a_name_that_a_registry_or_the_release_gives_too_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.tar").write_bytes(tar_of(oci_layout(standard_image(HELLO, DOCKER))))
    with pytest.raises(UsageError, match="takes an image of that name from an archive"):
        locked(tmp_path, [HELLO, *of("app.tar")])  # type: ignore[list-item]

    archived = locked(tmp_path, of("app.tar"))
    with pytest.raises(UsageError, match="but it is in the list of v1"):
        with_own_images(lock_of(archived[HELLO]["arm64"], k3s=True), archived)


def lock_of(image: LockedImage, *, k3s: bool = False) -> Lock:
    file = LockedFile(name="k3s", url="http://x/k3s", size=1, digest=image.config)
    each = LockedArchitecture(
        arch="arm64",
        binary=file,
        checksums=file,
        image_list=file,
        k3s_images=(image,) if k3s else (),
        recipe_images=() if k3s else (image,),
    )
    return Lock(
        name="edge", recipe=image.config, release="v1.34.1+k3s1", layers="zstd", compressor=COMPRESSOR,
        architectures=(each,),
    )  # fmt: skip


def test_a_layer_config_or_manifest_that_is_not_there_is_named(tmp_path: Path) -> None:
    image = standard_image(HELLO, DOCKER)
    part = image.on("arm64")
    layer_digest = f"sha256:{hashlib.sha256(part.layers[1].data).hexdigest()}"
    for gone in (layer_digest, part.config.digest, image.top.digest):
        (tmp_path / "app.tar").write_bytes(tar_of(oci_layout(image, without=[gone])))
        with pytest.raises(IncompleteImageError, match=gone):
            locked(tmp_path, of("app.tar"))

    members = docker_archive(image, "arm64", [HELLO])
    del members["layer-1.tar"]
    (tmp_path / "app.tar").write_bytes(tar_of(members))
    with pytest.raises(IncompleteImageError, match=part.diff_ids[1]):
        locked(tmp_path, of("app.tar"))


def test_a_platform_that_was_not_saved_is_refused_though_the_index_names_it(tmp_path: Path) -> None:
    image = standard_image(HELLO, BUILDKIT)
    gone = [image.on(arch).manifest.digest for arch in ("arm64", "arm")]
    (tmp_path / "app.tar").write_bytes(tar_of(oci_layout(image, without=gone)))

    assert locked(tmp_path, of("app.tar"), "amd64")
    with pytest.raises(MissingPlatformError, match=r"not there for linux/arm64; it is there for linux/amd64"):
        locked(tmp_path, of("app.tar"), "amd64", "arm64")


def test_odd_images_are_told_apart(tmp_path: Path) -> None:
    single, nested, _, lying, wrong_diff_id = odd_images()
    for number, image in enumerate((single, nested, lying, wrong_diff_id)):
        (tmp_path / f"{number}.tar").write_bytes(tar_of(oci_layout(image)))

    assert locked(tmp_path, of("0.tar"), "amd64")
    with pytest.raises(MissingPlatformError, match="it is there for linux/amd64"):
        locked(tmp_path, of("0.tar"), "arm64")
    assert locked(tmp_path, of("1.tar"), "amd64", "arm64", "arm")
    with pytest.raises(WrongArchitectureError, match="its config says linux/amd64"):
        locked(tmp_path, of("2.tar"))
    with pytest.raises(ArchiveError, match="does not unpack to"):
        locked(tmp_path, of("3.tar"))


def test_a_changed_bit_anywhere_in_a_blob_is_noticed(tmp_path: Path) -> None:
    image = standard_image(HELLO, DOCKER)
    part = image.on("arm64")
    for data in (part.manifest.data, part.config.data, part.layers[0].data, part.layers[-1].data):
        members = oci_layout(image)
        name = f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"
        members[name] = bytes([*data[:-9], data[-9] ^ 1, *data[-8:]])
        (tmp_path / "app.tar").write_bytes(tar_of(members))
        with pytest.raises((ArchiveError, IncompleteImageError, MissingPlatformError)):
            locked(tmp_path, of("app.tar"))


def test_layers_that_cannot_be_carried_are_refused(tmp_path: Path) -> None:
    image = standard_image(HELLO, DOCKER)
    part = image.on("arm64")
    foreign = part.manifest.data.replace(b"image.rootfs.diff.tar.gzip", b"image.rootfs.foreign.diff.tar.gzip")
    manifest = replace(part.manifest, data=foreign)
    index = {"schemaVersion": 2, "manifests": [
        {"mediaType": manifest.media_type, "digest": manifest.digest, "size": len(foreign),
         "annotations": {"io.containerd.image.name": HELLO}}
    ]}  # fmt: skip
    members = oci_layout(image) | {
        f"blobs/sha256/{manifest.digest[7:]}": foreign,
        "index.json": json.dumps(index).encode(),
    }
    (tmp_path / "app.tar").write_bytes(tar_of(members))

    with pytest.raises(UnsupportedImageError, match="foreign"):
        locked(tmp_path, of("app.tar"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar at all" * 100,
        tar_of({"etc/passwd": b"root"}),
        tar_of({"index.json": b"[]"}),
        tar_of({"index.json": b'{"manifests":[{"digest":"sha256:0"}]}'}),
        tar_of({"index.json": b"{" * 100_000}),
        tar_of({"manifest.json": b'[{"Config":"../../etc/passwd","Layers":[]}]'}),
        tar_of({"manifest.json": b"{}", "index.json": b"no"}),
        gzip.compress(tar_of({"index.json": b"{}"}))[:-30],
        zstandard.compress(tar_of({"index.json": b"{}"}))[:-3],
        tar_of({"index.json": b'{"manifests":[]}', "blob": b"\x1f\x8b\x08damaged"}),
    ],
    ids=range(11),
)
def test_what_is_no_archive_of_images_is_one_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "app.tar").write_bytes(data)

    with pytest.raises(BundlerError) as raised:
        locked(tmp_path, of("app.tar", HELLO))

    assert raised.value.exit_code in {2, 4}
    assert "app.tar" in raised.value.what


def test_a_recorded_stream_cut_anywhere_is_refused_unless_all_that_is_needed_came_before(tmp_path: Path) -> None:
    name = "docker28-containerd.platform-arm64"
    data = (RECORDED / f"{name}.tar").read_bytes()
    whole = {each: found["arm64"].layers for each, found in locked_recorded(tmp_path, name, NAMES).items()}
    refused = 0
    for end in range(1, len(data), 997):
        (tmp_path / "app.tar").write_bytes(data[:end])
        try:
            found = locked(tmp_path, of("app.tar", *NAMES))
        except BundlerError:
            refused += 1
        else:
            assert {each: image["arm64"].layers for each, image in found.items()} == whole
    assert refused >= 12


def test_an_archive_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeNotFoundError, match=r"there is no archive .*/none\.tar"):
        locked(tmp_path, of("none.tar"))


def test_an_archive_that_changed_since_the_lock_is_named_and_one_that_went_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "app.tar"
    data = tar_of(oci_layout(standard_image(HELLO, DOCKER)))
    path.write_bytes(data)
    lock = lock_of(locked(tmp_path, of("app.tar"))[HELLO]["arm64"])
    assert changed_archive(lock, tmp_path, Silent()) is None

    for other in (data + b"\0", data[:-1] + b"\1"):
        path.write_bytes(other)
        assert changed_archive(lock, tmp_path, Silent()) == "app.tar changed since it was locked"
    path.unlink()
    with pytest.raises(RecipeNotFoundError, match=r"there is no archive .*app\.tar"):
        changed_archive(lock, tmp_path, Silent())


def test_a_layer_is_read_once_however_many_images_have_it(tmp_path: Path) -> None:
    found = locked_recorded(tmp_path, "docker28-overlay2.names-arm64", NAMES)
    store = open_store(tmp_path / "one")
    taken = []

    class Counting(Intake):
        def take_layer(self, stream: Any, diff_id: Any, source: str, task: Any) -> Any:
            taken.append(diff_id)
            return super().take_layer(stream, diff_id, source, task)

    images = [found[each]["arm64"] for each in NAMES]
    WithArchives(NoEngine(), tmp_path).pull(images, Counting(store, COMPRESSOR), 2, Silent())

    assert len(taken) == len({each.diff_id for image in images for each in image.layers})


def test_a_path_in_a_folder_and_an_absolute_one_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    data = tar_of(oci_layout(standard_image(HELLO, DOCKER)))
    (tmp_path / "sub" / "app.tar").write_bytes(data)

    for path in ("./sub/app.tar", str(tmp_path / "sub" / "app.tar")):
        assert HELLO in locked(tmp_path, of(path))


def test_layers_outside_the_manifest_do_not_matter(tmp_path: Path) -> None:
    other = layer(Entry("etc/other", b"of nobody"))
    members = oci_layout(standard_image(HELLO, DOCKER)) | {"blobs/sha256/" + "0" * 64: other.data, "junk": b"{}"}
    (tmp_path / "app.tar").write_bytes(tar_of(members))

    assert HELLO in locked(tmp_path, of("app.tar"))
