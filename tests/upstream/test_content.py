"""The content is real: digests, platforms, tar files, ELF programs, checksum files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from tests.upstream import EXTRA_IMAGE, Filler, Image, PlatformImage, standard_content
from tests.upstream.conftest import absent
from tests.upstream.content import FILLED_IMAGE
from tests.upstream.elf import program
from tests.upstream.images import OCI
from tests.upstream.layers import Layer, sha256
from tests.upstream.odd_images import NESTED, NO_ARM64, SINGLE, WRONG_ARCHITECTURE, WRONG_DIFF_ID

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = standard_content()
MACHINES = {"amd64": ("x86_64", "qemu-x86_64"), "arm64": ("aarch64", "qemu-aarch64"), "arm": ("armv7l", "qemu-arm")}


def unpacked(layer: Layer) -> bytes:
    if layer.compression == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(layer.data)).read()
    return zlib.decompress(layer.data, wbits=31)


def config_of(image: PlatformImage) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(image.config.data)
    return config


def runner(architecture: str) -> list[str]:
    machine, emulator = MACHINES[architecture]
    if platform.machine() == machine:
        return []
    found = shutil.which(f"{emulator}-static") or shutil.which(emulator)
    if not found:
        absent(emulator, f"that the program for {architecture} runs")
    return [found]


@pytest.mark.parametrize("architecture", MACHINES)
def test_programs_write_their_line_and_exit_with_zero_whatever_the_arguments(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(program(architecture, "ready"))
    path.chmod(0o755)
    ran = subprocess.run([*runner(architecture), path, "--version"], capture_output=True, timeout=30, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"ready\n", b"")


@pytest.mark.parametrize(("architecture", "machine", "bits"), [("amd64", 62, 2), ("arm64", 183, 2), ("arm", 40, 1)])
def test_programs_have_the_header_of_their_machine_and_one_segment_that_is_the_file(
    architecture: str, machine: int, bits: int
) -> None:
    data = program(architecture, "x" * 254)
    assert data[:7] == b"\x7fELF" + bytes([bits, 1, 1])
    assert struct.unpack_from("<HH", data, 16) == (2, machine)
    size_at = (64 + 32) if bits == 2 else (52 + 16)
    assert struct.unpack_from("<Q" if bits == 2 else "<I", data, size_at) == (len(data),)


def test_a_line_too_long_for_the_machine_code_is_refused() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        program("arm", "x" * 255)


def test_binaries_of_a_release_say_that_they_are_no_k3s() -> None:
    for release in CONTENT.releases:
        for name in ("k3s", "k3s-arm64", "k3s-armhf"):
            assert f"stand-in for k3s {release.tag}".encode() in release.assets[name]


@pytest.mark.parametrize(
    ("tag", "architecture", "names"),
    [
        ("v1.34.1+k3s1", "amd64", "airgap.tar airgap.tar.gz airgap.tar.zst k3s"),
        ("v1.34.1+k3s1", "arm", "airgap.tar airgap.tar.gz airgap.tar.zst k3s-armhf"),
        ("v1.30.0+k3s1", "amd64", "k3s airgap.tar airgap.tar.gz airgap.tar.zst k3s-images.txt"),
        ("v1.30.0+k3s1", "arm64", "airgap.tar airgap.tar.gz airgap.tar.zst k3s-arm64"),
        ("v1.20.8+k3s1", "amd64", "k3s airgap.tar k3s-images.txt"),
        ("v1.20.8+k3s1", "arm", "airgap.tar k3s-armhf"),
    ],
)
def test_checksum_files_name_what_their_era_named(tag: str, architecture: str, names: str) -> None:
    assets = CONTENT.release(tag).assets
    lines = assets[f"sha256sum-{architecture}.txt"].decode().splitlines()
    assert [line[66:] for line in lines] == names.replace("airgap", f"k3s-airgap-images-{architecture}").split()
    for line in lines:
        digits, gap, name = line[:64], line[64:66], line[66:]
        assert gap == "  "
        if name in assets:
            assert digits == hashlib.sha256(assets[name]).hexdigest()


def test_every_image_of_every_list_is_there_for_every_architecture() -> None:
    for release in CONTENT.releases:
        assert len(release.images) == 8
        for reference in release.images:
            for architecture in MACHINES:
                assert CONTENT.image(reference).on(architecture).platform.split("/")[1] == architecture


@pytest.mark.parametrize("image", CONTENT.images, ids=lambda image: image.reference)
def test_descriptors_have_the_size_and_digest_of_what_they_describe(image: Image) -> None:
    blobs = {blob.digest: len(blob.data) for blob in (image.top, *image.inner_indexes)}
    for part in (*image.platforms, *image.attestations):
        blobs |= {part.manifest.digest: len(part.manifest.data), part.config.digest: len(part.config.data)}
        blobs |= {sha256(layer.data): len(layer.data) for layer in part.layers}

    def walk(descriptor: dict[str, Any]) -> None:
        assert blobs[descriptor["digest"]] == descriptor["size"]
        found = documents.get(descriptor["digest"], {})
        assert found.get("mediaType", descriptor["mediaType"]) == descriptor["mediaType"]
        config = [found["config"]] if "config" in found else []
        for inner in (*found.get("manifests", ()), *config, *found.get("layers", ())):
            walk(inner)

    manifests = [image.top, *image.inner_indexes, *(part.manifest for part in (*image.platforms, *image.attestations))]
    documents = {blob.digest: json.loads(blob.data) for blob in manifests}
    walk({"digest": image.top.digest, "size": len(image.top.data), "mediaType": image.top.media_type})


@pytest.mark.parametrize("image", CONTENT.images, ids=lambda image: image.reference)
def test_layers_are_tar_files_that_match_their_diff_ids(image: Image) -> None:
    for part in image.platforms:
        assert config_of(part)["rootfs"]["diff_ids"] == list(part.diff_ids)
        for layer in part.layers:
            assert (sha256(unpacked(layer)) == layer.diff_id) is (image.reference != WRONG_DIFF_ID)
            with tarfile.open(fileobj=io.BytesIO(unpacked(layer))) as tar:
                assert {(member.mtime, member.uid, member.gid) for member in tar} == {(0, 0, 0)}


def test_configs_name_the_platform_of_the_index_but_for_the_one_that_lies() -> None:
    for image in CONTENT.images:
        for part in image.platforms:
            config = config_of(part)
            named = "/".join(filter(None, (config["os"], config["architecture"], config.get("variant"))))
            lies = image.reference == WRONG_ARCHITECTURE and part.platform == "linux/arm64/v8"
            assert named == ("linux/amd64" if lies else part.platform)


def test_images_differ_in_the_ways_that_matter() -> None:
    k3s = [CONTENT.image(reference) for reference in CONTENT.release("v1.34.1+k3s1").images]
    layers = [layer for image in k3s for part in image.platforms for layer in part.layers]
    assert {layer.compression for layer in layers} == {"gzip", "zstd"}
    assert {image.top.media_type.split(".")[1] for image in k3s} == {"docker", "oci"}
    assert {bool(image.attestations) for image in k3s} == {True, False}
    assert [
        image.repository for image in k3s if len(set(image.on("arm").diff_ids)) < len(image.on("arm").diff_ids)
    ] == ["rancher/local-path-provisioner"]
    assert {image.on("arm").platform for image in k3s if "traefik" in image.reference} == {"linux/arm/v6"}
    assert {image.on("arm").platform for image in k3s if "traefik" not in image.reference} == {"linux/arm/v7"}
    assert len({image.on("arm64").layers[0].digest for image in k3s}) == 1, "one base layer for all images"
    assert json.loads(CONTENT.image(SINGLE).top.data)["layers"]
    assert json.loads(CONTENT.image(NESTED).top.data)["manifests"][0]["mediaType"] == OCI.index
    with pytest.raises(LookupError):
        CONTENT.image(NO_ARM64).on("arm64")


def test_attestations_are_unknown_platforms_that_point_at_their_image() -> None:
    image = CONTENT.image(EXTRA_IMAGE)
    entries = json.loads(image.top.data)["manifests"]
    notes = [entry for entry in entries if entry["platform"] == {"architecture": "unknown", "os": "unknown"}]
    assert [entry["annotations"]["vnd.docker.reference.digest"] for entry in notes] == [
        part.manifest.digest for part in image.platforms
    ]


def test_content_is_the_same_in_another_process_with_another_hash_seed() -> None:
    script = "from tests.upstream import standard_content as c; print(*(i.top.digest for i in c().images))"
    environment = os.environ | {"PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo"}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [image.top.digest for image in CONTENT.images]


@pytest.mark.parametrize("compressible", [True, False])
def test_a_filler_makes_one_image_bigger_by_its_size(compressible: bool) -> None:  # noqa: FBT001 - a parameter of a test
    content = standard_content(Filler(2, compressible=compressible))
    changed = [now for now, before in zip(content.images, CONTENT.images, strict=True) if now != before]
    assert {image.repository for image in changed} == {f"rancher/{FILLED_IMAGE}"}
    bulk = changed[0].on("arm64").layers[-1]
    assert len(unpacked(bulk)) > 2 << 20
    assert (len(bulk.data) < 1 << 16) is compressible
