"""Whatever happened to a bundle on its way is found, named, and ends with exit code 4."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from bundler.archive.tar import header as tar_header
from tests.build.workshop import Result, Workshop
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["zstd", "plain"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Upstream() as upstream:
        workshop = Workshop(tmp_path_factory.mktemp("verify"), upstream)
        workshop.write_recipe(layers=request.param, arch=("amd64", "arm64"))
        assert workshop.build().code == 0
        yield workshop


@pytest.fixture
def bundle(made: Workshop, tmp_path: Path) -> Path:
    (source,) = made.output.iterdir()
    return shutil.copytree(source, tmp_path / "stick")


def verify(made: Workshop, bundle: Path) -> Result:
    """Check a bundle; unpacking as well, which must not let pass what the plain check refuses."""
    result = made.run("verify", bundle)
    unpacked = made.run("verify", "--unpack", bundle)
    assert (unpacked.code, unpacked.out, unpacked.err) == (result.code, result.out, result.err)
    return result


def sha256sum(bundle: Path) -> bool:
    command = ["sha256sum", "--quiet", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=bundle, capture_output=True, check=False).returncode == 0


def refused(made: Workshop, bundle: Path, *named: str) -> None:
    result = verify(made, bundle)
    assert (result.error, result.code) == ("bundle-damaged", 4), result.err
    for name in named:
        assert name in result.err


def files_of(bundle: Path) -> list[str]:
    return sorted(path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file())


def write_sums_anew(bundle: Path) -> None:
    names = [name for name in files_of(bundle) if name != "SHA256SUMS"]
    lines = [f"{hashlib.sha256((bundle / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (bundle / "SHA256SUMS").write_text("".join(lines))


def test_a_whole_bundle_is_whole_for_us_and_for_sha256sum(made: Workshop, bundle: Path) -> None:
    result = verify(made, bundle)
    assert result.code == 0, result.err
    assert sha256sum(bundle)


def test_any_flipped_byte_is_found_and_its_file_named(made: Workshop, bundle: Path) -> None:
    chance = random.Random(7)
    for name in files_of(bundle):
        path = bundle / name
        good = path.read_bytes()
        damaged = bytearray(good)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        result = verify(made, bundle)
        assert result.code == 4, (name, result.err)
        assert result.error
        assert name in result.err
        assert not sha256sum(bundle)
        path.write_bytes(good)


def test_missing_extra_and_truncated_files_are_all_named_at_once(made: Workshop, bundle: Path) -> None:
    (bundle / "README.txt").unlink()
    (bundle / "etc" / "autorun.inf").write_text("x")
    archive = next((bundle / "images").iterdir())
    os.truncate(archive, archive.stat().st_size - 1)
    refused(made, bundle, "README.txt: missing", "etc/autorun.inf: does not belong", f"images/{archive.name}")
    assert not sha256sum(bundle)


def test_swapped_archives_are_found(made: Workshop, bundle: Path) -> None:
    one, two = sorted((bundle / "images").glob("k3s-airgap*"))
    one.rename(bundle / "x")
    two.rename(one)
    (bundle / "x").rename(two)
    refused(made, bundle, one.name, two.name)
    write_sums_anew(bundle)
    refused(made, bundle, one.name, two.name, "not for")


def test_a_link_in_place_of_a_file_is_found_though_its_bytes_are_right(made: Workshop, bundle: Path) -> None:
    path = bundle / "install.sh"
    path.rename(bundle.parent / "elsewhere.sh")
    path.symlink_to("../elsewhere.sh")
    assert sha256sum(bundle), "sha256sum follows links"
    refused(made, bundle, "install.sh: no regular file")


def test_a_link_to_a_folder_is_found(made: Workshop, bundle: Path) -> None:
    (bundle / "more").symlink_to("etc")
    refused(made, bundle, "more")


def test_sums_with_windows_line_ends_are_found(made: Workshop, bundle: Path) -> None:
    sums = bundle / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    refused(made, bundle, "SHA256SUMS")


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "etc/../../outside", "./install.sh", "etc//x"])
def test_sums_that_point_elsewhere_are_refused(name: str, made: Workshop, bundle: Path) -> None:
    (bundle.parent / "outside").write_text("x")
    with (bundle / "SHA256SUMS").open("a") as sums:
        sums.write(f"{hashlib.sha256(b'x').hexdigest()}  {name}\n")
    refused(made, bundle, "SHA256SUMS:")


def test_a_file_listed_twice_is_refused(made: Workshop, bundle: Path) -> None:
    with (bundle / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  install.sh\n")
    refused(made, bundle, "SHA256SUMS:")


def test_sums_that_are_empty_leave_nothing_unsaid(made: Workshop, bundle: Path) -> None:
    (bundle / "SHA256SUMS").write_bytes(b"")
    refused(made, bundle, "install.sh", "bundle.json")


def test_a_lock_that_cannot_be_read_is_damage_though_the_sums_agree(made: Workshop, bundle: Path) -> None:
    (bundle / "lock.json").write_text("{}")
    write_sums_anew(bundle)
    refused(made, bundle, "lock.json")


@pytest.mark.parametrize("name", ["SHA256SUMS", "bundle.json", "lock.json"])
def test_a_folder_without_its_papers_is_no_bundle(name: str, made: Workshop, bundle: Path) -> None:
    (bundle / name).unlink()
    result = verify(made, bundle)
    assert (result.error, result.code) == ("not-a-bundle", 2)
    assert name in result.err


def spoil_archive(bundle: Path) -> str:
    path = min((bundle / "images").iterdir())
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)
    return path.name


def cut_archive(bundle: Path) -> str:
    path = min((bundle / "images").iterdir())
    os.truncate(path, path.stat().st_size * 2 // 3)
    return path.name


def empty_archive(bundle: Path) -> str:
    path = min((bundle / "images").iterdir())
    with tarfile.open(path, "w") as tar:
        member = tarfile.TarInfo("oci-layout")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"{}"))
    return path.name


def drop_archive(bundle: Path) -> str:
    path = min((bundle / "images").glob("edge-*"))
    path.unlink()
    document = json.loads((bundle / "bundle.json").read_text())
    document["archives"] = [each for each in document["archives"] if path.name not in each["path"]]
    (bundle / "bundle.json").write_text(json.dumps(document))
    return "docker.io/example/hello:1.0"


def wrong_binary(bundle: Path) -> str:
    shutil.copy(bundle / "bin" / "k3s-amd64", bundle / "bin" / "k3s-arm64")
    return "bin/k3s-arm64"


def foreign_facts(bundle: Path) -> str:
    with (bundle / "bundle.facts").open("a") as facts:
        facts.write("evil=$(reboot)\n")
    return "bundle.facts"


@pytest.mark.parametrize("harm", [spoil_archive, cut_archive, empty_archive, drop_archive, wrong_binary, foreign_facts])
def test_sums_made_anew_after_damage_do_not_hide_it(harm: Callable[[Path], str], made: Workshop, bundle: Path) -> None:
    named = harm(bundle)
    write_sums_anew(bundle)
    assert sha256sum(bundle)
    refused(made, bundle, named)


def exchange_layers(path: Path) -> tuple[str, str]:
    """Let the layers of an image be listed the other way round, with every digest put right; gives name and layer."""
    with tarfile.open(path) as read:
        members = {info.name: read.extractfile(info).read() for info in read}  # type: ignore[union-attr]
    index = json.loads(members["index.json"])
    entry = next(each for each in index["manifests"] if len(layers_of(members, each)) > 1)
    old, manifest = blob(entry["digest"]), json.loads(members[blob(entry["digest"])])
    manifest["layers"].reverse()
    body = compact(manifest)
    entry["digest"], entry["size"] = f"sha256:{hashlib.sha256(body).hexdigest()}", len(body)
    docker = json.loads(members["manifest.json"])
    for image in docker:
        if image["RepoTags"] == [entry["annotations"]["io.containerd.image.name"]]:
            image["Layers"].reverse()
    changed = {**members, blob(entry["digest"]): body, "index.json": compact(index), "manifest.json": compact(docker)}
    order = ["oci-layout", "index.json", "manifest.json"]
    for each in index["manifests"]:
        own = json.loads(changed[blob(each["digest"])])
        order += [blob(each["digest"]), *(blob(part["digest"]) for part in (own["config"], *own["layers"]))]
    assert old not in order
    path.write_bytes(
        b"".join(tar_header(name, len(changed[name])) + padded(changed[name]) for name in dict.fromkeys(order))
        + bytes(1024)
    )
    return entry["annotations"]["io.containerd.image.name"], manifest["layers"][0]["digest"]


def layers_of(members: dict[str, bytes], entry: dict[str, str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(members[blob(entry["digest"])])["layers"]
    return found


def blob(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


# A layer of the form plain is named by what it unpacks to.
@pytest.mark.parametrize("made", ["zstd"], indirect=True)
def test_layers_that_unpack_to_something_else_are_found_when_they_are_unpacked(made: Workshop, bundle: Path) -> None:
    archive = min((bundle / "images").iterdir())
    _, layer = exchange_layers(archive)
    write_sums_anew(bundle)
    assert made.run("verify", bundle).code == 0, "its digests are in order, and nothing is unpacked"
    result = made.run("verify", "--unpack", bundle)
    assert (result.error, result.code) == ("bundle-damaged", 4), result.err
    assert f"{archive.name}: layer {layer} unpacks to" in result.err
