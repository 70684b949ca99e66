"""The image archive: the same bytes from the same images, and nothing passes for one that is not."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bundler.archive import tar, zstd
from bundler.archive.check import ArchivedImage, check_archive
from bundler.archive.layout import arrange
from bundler.archive.unpack import unpack_archive
from bundler.archive.writer import write_tar, write_tar_zst
from bundler.errors import ArchiveError, CacheDamagedError
from bundler.model.digest import digest_of
from bundler.model.lock import PackedLayer
from bundler.model.platform import Platform
from bundler.progress import SilentTask
from tests.archive.samples import COMPRESSOR, Blobs
from tests.upstream.conftest import absent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.archive.layout import ImageContent
    from bundler.model.lock import LayerForm

FORMS: tuple[LayerForm, ...] = ("zstd", "plain")
BASE, NOTES, OWN = b"the base layer " * 50, b"notes " * 90, b"what is its own " * 40
Members = list[tuple[str, bytes]]


def sample() -> tuple[Blobs, list[ImageContent]]:
    """Make three images: two share a layer, one has a layer twice, and one has none."""
    blobs = Blobs()
    images = [
        blobs.image("docker.io/rancher/mirrored-pause:3.6", BASE),
        blobs.image("docker.io/rancher/coredns:1.12.3", BASE, OWN, platform="linux/amd64"),
        blobs.image("docker.io/example/twice:1.0", NOTES, OWN, NOTES, platform="linux/arm/v6"),
        blobs.image("registry.example:5000/empty:1"),
    ]
    return blobs, images


def check(data: bytes, folder: Path, suffix: str = ".tar") -> tuple[ArchivedImage, ...]:
    path = folder / f"images{suffix}"
    path.write_bytes(data)
    with path.open("rb") as file:
        return check_archive(file, path.name)


def wide_frame(data: bytes) -> bytes:
    """Compress with a window that k3s refuses."""
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=26, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


def members_of(data: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(data)) as read:
        return [(info.name, read.extractfile(info).read()) for info in read]  # type: ignore[union-attr]


def put_together(members: Members) -> bytes:
    parts = [tar.header(name, len(data)) + data + tar.padding(len(data)) for name, data in members]
    return b"".join(parts) + tar.END


# The writer


@settings(deadline=None)
@given(st.permutations(range(4)), st.sampled_from(FORMS))
def test_the_order_in_which_images_come_does_not_show(order: list[int], form: LayerForm) -> None:
    blobs, images = sample()
    shuffled = [images[number] for number in order]
    assert blobs.tar(shuffled, form) == blobs.tar(images, form)
    assert blobs.tar_zst(shuffled) == blobs.tar_zst(images)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=2000), max_size=4), st.lists(st.binary(max_size=2000), max_size=4))
def test_the_compressed_plain_form_unpacks_to_the_bytes_of_the_plain_tar(one: list[bytes], two: list[bytes]) -> None:
    blobs = Blobs()
    images = [blobs.image("docker.io/example/one:1", *one), blobs.image("docker.io/example/two:2", *two)]
    with zstd.inflated(io.BytesIO(blobs.tar_zst(images))) as unpacked:
        assert unpacked.read() == blobs.tar(images, "plain")


def test_a_plain_archive_of_literal_bytes_has_this_digest() -> None:
    # Whoever changes it changes the bytes of every bundle in the `plain` form; no compressor has a part in it.
    blobs, images = sample()
    pinned = "sha256:4b49d27032323be004e3a0a3f9af9aa1707034bde92c7de8022f3d6890dd9fb9"
    assert digest_of(blobs.tar(images, "plain")) == pinned


def test_the_layout_is_what_containerd_and_docker_read() -> None:
    blobs, images = sample()
    found = dict(members_of(blobs.tar(images, "plain")))
    assert [*found][:3] == ["oci-layout", "index.json", "manifest.json"]
    index, docker = json.loads(found["index.json"]), json.loads(found["manifest.json"])
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == sorted(content.image.reference for content in images)
    assert [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in index["manifests"]] == [
        "1.0", "1.12.3", "3.6", "1",
    ]  # fmt: skip
    assert index["manifests"][0]["platform"] == {"os": "linux", "architecture": "arm", "variant": "v6"}
    assert docker[0]["RepoTags"] == ["docker.io/example/twice:1.0"]
    assert [found[layer] for layer in docker[0]["Layers"]] == [NOTES, OWN, NOTES]
    for entry, described in zip(docker, index["manifests"], strict=True):
        manifest = found["blobs/sha256/" + described["digest"].removeprefix("sha256:")]
        assert described["size"] == len(manifest)
        assert [layer["digest"] for layer in json.loads(manifest)["layers"]] == [
            "sha256:" + layer.rpartition("/")[2] for layer in entry["Layers"]
        ]


@pytest.mark.parametrize("form", FORMS)
def test_every_member_is_a_plain_file_of_root_without_a_time(form: LayerForm) -> None:
    blobs, images = sample()
    with tarfile.open(fileobj=io.BytesIO(blobs.tar(images, form))) as read:
        for info in read:
            assert (info.type, info.mode, info.uid, info.gid, info.mtime) == (tarfile.REGTYPE, 0o644, 0, 0, 0)
            assert (info.uname, info.gname, info.linkname, info.pax_headers) == ("", "", "", {})


@pytest.mark.parametrize("size", [0, 1, 511, 512, (8 << 30) - 1, 8 << 30, 40 << 30])
def test_headers_state_sizes_beyond_8_gib_in_one_block(size: int) -> None:
    block = tar.header("blobs/sha256/" + "a" * 64, size)
    assert len(block) == 512
    assert tarfile.TarInfo.frombuf(block, "ascii", "strict").size == size
    assert (size + len(tar.padding(size))) % 512 == 0
    assert (block[124] == 0x80) == (size >= 8 << 30)  # GNU's base 256, which busybox tar reads too


@pytest.mark.parametrize("reader", ["tar", "busybox"])
@pytest.mark.parametrize("form", FORMS)
def test_tar_and_busybox_list_and_unpack_it(reader: str, form: LayerForm, tmp_path: Path) -> None:
    if not shutil.which(reader):
        absent(reader, "that it reads an image archive")
    blobs, images = sample()
    data = blobs.tar(images, form)
    program = ["busybox", "tar"] if reader == "busybox" else ["tar"]
    (tmp_path / "images.tar").write_bytes(data)
    listed = subprocess.run([*program, "tf", "images.tar"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert listed.stdout.split() == [name for name, _ in members_of(data)]
    subprocess.run([*program, "xf", "images.tar"], cwd=tmp_path, check=True)
    assert [(name, (tmp_path / name).read_bytes()) for name, _ in members_of(data)] == members_of(data)


def test_the_zstd_command_unpacks_it() -> None:
    if not shutil.which("zstd"):
        absent("zstd", "that it unpacks an image archive")
    blobs, images = sample()
    unpacked = subprocess.run(["zstd", "-dc"], input=blobs.tar_zst(images), capture_output=True, check=True)
    assert unpacked.stdout == blobs.tar(images, "plain")


@pytest.mark.parametrize("which", ["config", "layer"])
@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "other"])
@pytest.mark.parametrize("form", ["zstd", "plain", "plain in zstd"])
def test_a_blob_that_is_not_what_its_digest_says_is_never_packed(which: str, damage: str, form: str) -> None:
    blobs, images = sample()
    content = images[0]
    digest = content.image.config if which == "config" else content.layers[0].digest
    right = blobs.data[digest]
    blobs.data[digest] = {
        "flip": right[:-5] + bytes([right[-5] ^ 1]) + right[-4:],
        "cut": right[:-1],
        "grow": right + b"\0",
        "other": zstd.frame(b"another layer", COMPRESSOR),
    }[damage]
    with pytest.raises(CacheDamagedError):
        blobs.tar_zst([content]) if form == "plain in zstd" else blobs.tar([content], form)  # type: ignore[arg-type]


def test_a_size_that_is_not_the_blobs_is_never_written_into_a_header() -> None:
    blobs, images = sample()
    content = images[0]
    lie = content.image.model_copy(update={"config_size": content.image.config_size + 1})
    members = arrange([type(content)(lie, content.layers)], "plain")
    with pytest.raises(CacheDamagedError):
        write_tar(members, blobs.open, io.BytesIO(), SilentTask())
    with pytest.raises(CacheDamagedError):
        write_tar_zst(members, blobs.open, COMPRESSOR, io.BytesIO(), SilentTask())


# The checker


@pytest.mark.parametrize("form", FORMS)
def test_the_checker_says_what_is_inside(form: LayerForm, tmp_path: Path) -> None:
    blobs, images = sample()
    found = check(blobs.tar(images, form), tmp_path)
    by_name = {each.name: each for each in found}
    assert [each.name for each in found] == sorted(content.image.reference for content in images)
    twice = by_name["docker.io/example/twice:1.0"]
    assert twice.platform == Platform("linux", "arm", "v6")
    assert twice.config == images[2].image.config
    own = {"zstd": [layer.digest for layer in images[2].layers], "plain": [digest_of(b) for b in (NOTES, OWN, NOTES)]}
    assert list(twice.layers) == own[form]
    if form == "plain":
        assert check(blobs.tar_zst(images), tmp_path, ".tar.zst") == found


def one_image() -> tuple[Blobs, list[ImageContent]]:
    blobs = Blobs()
    return blobs, [blobs.image("docker.io/rancher/pause:3.6", b"layer " * 30)]


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_bit_is_refused_wherever_it_is(form: LayerForm, tmp_path: Path) -> None:
    blobs, images = one_image()
    data = bytearray(blobs.tar(images, form))
    for offset in range(0, len(data), 3):
        data[offset] ^= 1 << offset % 8
        with pytest.raises(ArchiveError):
            check(bytes(data), tmp_path)
        data[offset] ^= 1 << offset % 8


def test_a_flipped_bit_inside_zstd_is_refused_or_changes_nothing_that_k3s_reads(tmp_path: Path) -> None:
    blobs, images = one_image()
    data = bytearray(blobs.tar_zst(images))
    right = check(bytes(data), tmp_path, ".tar.zst")
    harmless = 0
    for offset in range(len(data)):
        data[offset] ^= 1 << offset % 8
        try:
            assert check(bytes(data), tmp_path, ".tar.zst") == right
            harmless += 1
        except ArchiveError:
            pass
        data[offset] ^= 1 << offset % 8
    assert harmless < len(data) // 20  # bits of frame headers that are unused or state a smaller window


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst"])
def test_an_archive_cut_short_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    blobs, images = one_image()
    data = blobs.tar(images, "zstd") if suffix == ".tar" else blobs.tar_zst(images)
    for end in [*range(0, len(data), 5), len(data) - 1]:
        with pytest.raises(ArchiveError):
            check(data[:end], tmp_path, suffix)


@pytest.mark.parametrize("suffix", [".tar", ".tar.zst"])
@pytest.mark.parametrize("more", [b"\0", bytes(512), bytes(10240), b"rubbish"])
def test_anything_after_the_end_is_refused(suffix: str, more: bytes, tmp_path: Path) -> None:
    blobs, images = one_image()
    if suffix == ".tar":
        data = blobs.tar(images, "plain") + more
    else:
        data = blobs.tar_zst(images) + zstd.frame(more, COMPRESSOR)
    with pytest.raises(ArchiveError):
        check(data, tmp_path, suffix)


def test_a_name_that_says_zstd_over_bytes_that_are_not_is_refused(tmp_path: Path) -> None:
    blobs, images = one_image()  # k3s chooses the decompressor by the name
    with pytest.raises(ArchiveError):
        check(blobs.tar(images, "plain"), tmp_path, ".tar.zst")
    with pytest.raises(ArchiveError):
        check(blobs.tar_zst(images), tmp_path, ".tar")


@pytest.mark.parametrize("form", FORMS)
def test_a_member_missing_there_twice_added_or_out_of_place_is_refused(form: LayerForm, tmp_path: Path) -> None:
    blobs, images = sample()
    members = members_of(blobs.tar(images, form))
    assert put_together(members) == blobs.tar(images, form)
    for number, member in enumerate(members):
        rest = members[:number] + members[number + 1 :]
        variants = [rest, [*rest, member], [*members, member], [*members[:number], member, *members[number:]]]
        if number + 1 < len(members):
            variants.append([*members[:number], members[number + 1], member, *members[number + 2 :]])
        else:
            variants.remove([*rest, member])
        variants.append([*members[:number], ("blobs/sha256/" + "0" * 64, b"extra"), *members[number:]])
        for variant in variants:
            with pytest.raises(ArchiveError):
                check(put_together(variant), tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_two_members_with_their_contents_exchanged_are_refused(form: LayerForm, tmp_path: Path) -> None:
    blobs = Blobs()
    images = [blobs.image("docker.io/example/one:1", b"a" * 100, b"b" * 100)]
    members = members_of(blobs.tar(images, form))
    for first in range(len(members)):
        for second in range(first):
            swapped = list(members)
            swapped[first] = (members[first][0], members[second][1])
            swapped[second] = (members[second][0], members[first][1])
            with pytest.raises(ArchiveError):
                check(put_together(swapped), tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_more_or_fewer_layers_than_the_config_lists_are_refused(form: LayerForm, tmp_path: Path) -> None:
    blobs = Blobs()
    right = blobs.image("docker.io/example/one:1", BASE, OWN)
    for layers in (right.layers[:1], (*right.layers, right.layers[0]), ()):
        with pytest.raises(ArchiveError, match="are not those that its config lists"):
            check(blobs.tar([type(right)(right.image, layers)], form), tmp_path)


def test_plain_layers_in_another_order_than_the_config_lists_are_refused(tmp_path: Path) -> None:
    blobs = Blobs()
    right = blobs.image("docker.io/example/one:1", BASE, OWN)
    with pytest.raises(ArchiveError, match="are not those that its config lists"):
        check(blobs.tar([type(right)(right.image, right.layers[::-1])], "plain"), tmp_path)


def test_a_layer_that_two_configs_want_to_unpack_to_different_things_is_refused(tmp_path: Path) -> None:
    blobs = Blobs()
    one, two = blobs.image("docker.io/example/one:1", BASE), blobs.image("docker.io/example/two:1", OWN)
    with pytest.raises(ArchiveError, match="two:1 are not those that its config lists"):
        check(blobs.tar([one, type(two)(two.image, one.layers)], "zstd"), tmp_path)


def test_compressed_layers_in_another_order_than_the_config_lists_are_found_by_unpacking(tmp_path: Path) -> None:
    blobs = Blobs()
    right = blobs.image("docker.io/example/one:1", BASE, OWN)
    swapped = blobs.tar([type(right)(right.image, right.layers[::-1])], "zstd")
    images = check(swapped, tmp_path)
    with pytest.raises(ArchiveError, match=f"unpacks to {digest_of(OWN)}, its image's config says {digest_of(BASE)}"):
        unpack_archive(io.BytesIO(swapped), "images.tar", images)


@pytest.mark.parametrize("harm", ["rubbish", "cut", "wide"])
def test_a_layer_that_does_not_unpack_is_found_by_unpacking(harm: str, tmp_path: Path) -> None:
    blobs = Blobs()
    right = blobs.image("docker.io/example/one:1", BASE)
    (layer,) = right.layers
    packed = {
        "rubbish": zstd.ZSTD_MAGIC + b"rubbish" * 20,
        "cut": blobs.data[layer.digest][:-4],
        "wide": wide_frame(BASE),
    }[harm]
    wrong = layer.model_copy(update={"digest": blobs.put(packed), "size": len(packed)})
    data = blobs.tar([type(right)(right.image, (wrong,))], "zstd")
    images = check(data, tmp_path)
    with pytest.raises(ArchiveError, match=f"layer {wrong.digest} does not unpack"):
        unpack_archive(io.BytesIO(data), "images.tar", images)


@pytest.mark.parametrize("form", FORMS)
def test_every_layer_of_a_right_archive_unpacks(form: LayerForm, tmp_path: Path) -> None:
    blobs, images = sample()
    data = blobs.tar(images, form)
    unpack_archive(io.BytesIO(data), "images.tar", check(data, tmp_path))
    if form == "plain":
        data = blobs.tar_zst(images)
        unpack_archive(io.BytesIO(data), "images.tar.zst", check(data, tmp_path, ".tar.zst"))


def test_one_blob_in_two_roles_or_of_two_sizes_is_refused(tmp_path: Path) -> None:
    blobs = Blobs()
    right = blobs.image("docker.io/example/one:1", BASE)
    config = PackedLayer(
        diff_id=digest_of(BASE),
        digest=right.image.config,
        size=right.image.config_size,
        unpacked_size=len(BASE),
    )
    with pytest.raises(ArchiveError, match="two kinds or sizes"):
        check(blobs.tar([type(right)(right.image, (config,))], "zstd"), tmp_path)
    other = blobs.image("docker.io/example/two:1", BASE)
    longer = right.layers[0].model_copy(update={"size": right.layers[0].size + 1})
    whole = members_of(blobs.tar([right], "zstd"))
    manifest = arrange([type(other)(other.image, (longer,))], "zstd")
    index = json.loads(dict(whole)["index.json"])
    index["manifests"] += json.loads(manifest[1].data)["manifests"]  # type: ignore[union-attr]
    members = [(name, json.dumps(index).encode() if name == "index.json" else data) for name, data in whole]
    members.insert(-1, (manifest[3].name, manifest[3].data))  # type: ignore[union-attr]
    with pytest.raises(ArchiveError, match="two kinds or sizes"):
        check(put_together(members), tmp_path)


def test_a_config_of_another_platform_than_the_index_says_is_refused(tmp_path: Path) -> None:
    blobs, images = one_image()
    lie = images[0].image.model_copy(update={"platform": "linux/amd64"})
    with pytest.raises(ArchiveError, match="linux/arm64/v8, but its index says linux/amd64"):
        check(blobs.tar([type(images[0])(lie, images[0].layers)], "zstd"), tmp_path)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    blobs = Blobs()
    images = [blobs.image("docker.io/example/one:1", BASE), blobs.image("docker.io/example/one:1", OWN)]
    with pytest.raises(ArchiveError, match="another order"):
        check(blobs.tar(images, "zstd"), tmp_path)


def changed(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """Give an archive whose layer has another header; its content stays."""
    blobs, images = one_image()
    data = blobs.tar(images, "plain")
    start = data.rindex(b"blobs/sha256/")
    info = tarfile.TarInfo.frombuf(data[start : start + 512], "ascii", "strict")
    change(info)
    return data[:start] + info.tobuf(tarfile.GNU_FORMAT) + data[start + 512 :]


CHANGES: dict[str, Callable[[tarfile.TarInfo], Any]] = {
    "symbolic link": lambda info: setattr(info, "type", tarfile.SYMTYPE),
    "hard link": lambda info: setattr(info, "type", tarfile.LNKTYPE),
    "device": lambda info: setattr(info, "type", tarfile.BLKTYPE),
    "pipe": lambda info: setattr(info, "type", tarfile.FIFOTYPE),
    "folder": lambda info: setattr(info, "type", tarfile.DIRTYPE),
    "long name": lambda info: setattr(info, "name", "a" * 300),
    "traversal": lambda info: setattr(info, "name", "../../etc/passwd"),
    "traversal inside": lambda info: setattr(info, "name", "blobs/sha256/../../etc/passwd"),
    "absolute": lambda info: setattr(info, "name", "/etc/passwd"),
    "dot": lambda info: setattr(info, "name", "./" + info.name),
    "not ASCII": lambda info: setattr(info, "name", "ä"),
    "mode": lambda info: setattr(info, "mode", 0o4755),
    "owner": lambda info: setattr(info, "uid", 1000),
    "user name": lambda info: setattr(info, "uname", "root"),
    "time": lambda info: setattr(info, "mtime", 1),
    "size": lambda info: setattr(info, "size", 1),
    "huge size": lambda info: setattr(info, "size", 9 << 30),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_links_devices_odd_names_and_foreign_headers_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        check(changed(CHANGES[kind]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["images.tar"]


def test_a_layer_whose_window_k3s_would_refuse_is_refused(tmp_path: Path) -> None:
    blobs, images = one_image()
    with pytest.raises(ArchiveError, match="window"):
        check(wide_frame(blobs.tar(images, "plain")), tmp_path, ".tar.zst")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged_documents(draw: st.DrawFn) -> bytes:
    """Give an archive one of whose JSON documents has another value somewhere, with all digests put right."""
    blobs, images = one_image()
    members = members_of(blobs.tar(images, "plain"))
    number = draw(st.integers(0, 2))
    document = json.loads(members[number][1])
    whole: list[Any] = [document]
    place: Any = whole
    key: Any = 0
    at: Any = document
    while isinstance(at, (dict, list)) and at and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        place, at = at, at[key]
    place[key] = draw(JSON)
    members[number] = (members[number][0], json.dumps(whole[0]).encode())
    return put_together(members)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    blobs, contents = one_image()
    members = members_of(blobs.tar(contents, "zstd"))
    index = json.loads(dict(members)["index.json"])
    index["manifests"][0]["annotations"]["io.containerd.image.name"] = 5
    changed_members = [(name, json.dumps(index).encode() if name == "index.json" else data) for name, data in members]
    with pytest.raises(ArchiveError, match="not as the OCI image layout demands"):
        check(put_together(changed_members), tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=damaged_documents())
def test_no_json_raises_anything_but_our_errors(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError):
        check(data, tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary(max_size=3000))
def test_no_bytes_raise_anything_but_our_errors(data: bytes, tmp_path: Path) -> None:
    for suffix in (".tar", ".tar.zst"):
        with pytest.raises(ArchiveError):
            check(data, tmp_path, suffix)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), st.integers(0, 6000))
def test_a_foreign_tar_raises_nothing_but_our_errors_while_it_is_read(changes: list[tuple[int, int]], end: int) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
        for name in ("a", "n" * 150, "ü"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 600, 1.5
            made.addfile(info, io.BytesIO(bytes(600)))
    data = bytearray(buffer.getvalue())
    for offset, value in changes:
        data[offset] = value
    try:
        for member in tar.members(io.BytesIO(bytes(data[:end])), "a stream"):
            if member.content:
                member.content.read()
    except ArchiveError:
        return
