"""What registries say of images: decoded as the specs have it, refused when it is anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.archive.layout import LAYER_TYPES, MANIFEST_TYPES
from bundler.engines.manifest import (
    INDEX_TYPES,
    Config,
    Index,
    Manifest,
    choose,
    parse_config,
    parse_manifest,
    require_platform,
)
from bundler.errors import (
    BundlerError,
    MalformedAnswerError,
    MissingPlatformError,
    UnsupportedImageError,
    WrongArchitectureError,
)
from bundler.model.platform import ARCHITECTURES, Architecture, Platform
from tests.upstream import standard_content
from tests.upstream.odd_images import NESTED, NO_ARM64, SINGLE, WRONG_ARCHITECTURE

DIGEST = "sha256:" + "ab" * 32
IMAGES = [image.reference for image in standard_content().images]
PAUSE = "docker.io/rancher/mirrored-pause:3.6"


def descriptor(**changes: Any) -> dict[str, Any]:
    return {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": DIGEST, "size": 5, **changes}


def manifest(**changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "config": descriptor(), "layers": [descriptor()], **changes}).encode()


def index(*platforms: str, **changes: Any) -> bytes:
    entries = []
    for number, platform in enumerate(platforms):
        os, architecture, *variant = (platform or "/").split("/")
        stated = {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        digest = f"sha256:{number:064x}"
        entries.append(descriptor(digest=digest, mediaType=MANIFEST_TYPES[0], **({"platform": stated} if os else {})))
    return json.dumps({"schemaVersion": 2, "manifests": entries, **changes}).encode()


@pytest.mark.parametrize("reference", IMAGES)
def test_every_document_of_every_image_is_read_as_it_was_written(reference: str) -> None:
    image = standard_content().image(reference)
    top = parse_manifest(image.top.data, image.top.media_type, reference)
    assert isinstance(top, Manifest if reference == SINGLE else Index)
    for inner in image.inner_indexes:
        assert isinstance(parse_manifest(inner.data, inner.media_type, reference), Index)
    for part in image.platforms:
        read = parse_manifest(part.manifest.data, part.manifest.media_type, reference)
        assert isinstance(read, Manifest)
        assert read.config.digest == part.config.digest
        assert [(layer.digest, layer.size) for layer in read.layers] == [
            (layer.digest, len(layer.data)) for layer in part.layers
        ]
        config = parse_config(part.config.data, reference)
        assert config.diff_ids == part.diff_ids
        assert (str(config.platform) == part.platform) == (
            reference != WRONG_ARCHITECTURE or part.platform != "linux/arm64/v8"
        )


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("reference", [each for each in IMAGES if each not in {SINGLE, NESTED}])
def test_the_platform_that_fits_is_chosen_and_never_an_attestation(reference: str, arch: Architecture) -> None:
    image = standard_content().image(reference)
    top = parse_manifest(image.top.data, image.top.media_type, reference)
    assert isinstance(top, Index)
    if reference == NO_ARM64 and arch == "arm64":
        with pytest.raises(MissingPlatformError) as caught:
            choose(top, arch, reference)
        assert caught.value.what.endswith("it is there for linux/amd64, linux/arm/v7")
        return
    assert choose(top, arch, reference).digest == image.on(arch).manifest.digest


@pytest.mark.parametrize(
    ("platforms", "arch", "chosen"),
    [
        (("linux/arm/v6", "linux/arm/v7", "linux/arm/v5"), "arm", 1),
        (("linux/arm/v6", "linux/arm"), "arm", 0),
        (("linux/arm/v5", "linux/arm"), "arm", 1),
        (("linux/arm64", "linux/arm64/v8"), "arm64", 0),
        (("windows/amd64", "linux/amd64"), "amd64", 1),
        (("linux/amd64/v3", "linux/amd64"), "amd64", 1),
        (("unknown/unknown", "linux/arm64/v8", "unknown/unknown"), "arm64", 1),
        (("linux/arm64/v8", "linux/arm64/v8"), "arm64", 0),
        (("",), "amd64", 0),
        (("", "linux/arm64"), "amd64", 0),
        (("", "linux/arm64"), "arm64", 1),
    ],
)
def test_the_best_variant_wins_wherever_it_stands(platforms: tuple[str, ...], arch: Architecture, chosen: int) -> None:
    read = parse_manifest(index(*platforms), "", PAUSE)
    assert isinstance(read, Index)
    assert choose(read, arch, PAUSE) is read.entries[chosen]


@pytest.mark.parametrize(
    ("platforms", "arch", "present"),
    [
        ((), "amd64", "nothing"),
        (("linux/s390x", "linux/ppc64le"), "amd64", "linux/ppc64le, linux/s390x"),
        (("linux/arm/v5",), "arm", "linux/arm/v5"),
        (("linux/arm/v8",), "arm", "linux/arm/v8"),
        (("linux/arm64/v9",), "arm64", "linux/arm64/v9"),
        (("linux/amd64/v2",), "amd64", "linux/amd64/v2"),
        (("freebsd/amd64",), "amd64", "freebsd/amd64"),
        (("unknown/unknown",), "amd64", "nothing"),
        (("", ""), "amd64", "nothing"),
    ],
)
def test_a_missing_platform_is_an_error_that_names_what_there_is(
    platforms: tuple[str, ...], arch: Architecture, present: str
) -> None:
    read = parse_manifest(index(*platforms), "", PAUSE)
    assert isinstance(read, Index)
    with pytest.raises(MissingPlatformError) as caught:
        choose(read, arch, PAUSE)
    assert caught.value.what.endswith(f"not there for linux/{arch}; it is there for {present}")


def test_the_config_has_the_last_word_on_the_architecture() -> None:
    require_platform(Config(Platform("linux", "arm", "v6"), ()), "arm", PAUSE)
    for platform in (Platform("linux", "amd64"), Platform("windows", "arm"), Platform("linux", "arm", "v5")):
        with pytest.raises(WrongArchitectureError, match=f"linux/arm, but its config says {platform}"):
            require_platform(Config(platform, ()), "arm", PAUSE)


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
def test_schema_1_is_refused_by_its_name(media_type: str) -> None:
    with pytest.raises(UnsupportedImageError, match="schema 1"):
        parse_manifest(b"{}", media_type, PAUSE)


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "publisher"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "publisher"),
        ("application/vnd.cncf.helm.chart.content.v1.tar+gzip", "no file system layer"),
        ("application/vnd.in-toto+json", "no file system layer"),
    ],
)
def test_layers_that_no_node_can_run_are_refused(layer: str, why: str) -> None:
    with pytest.raises(UnsupportedImageError, match=why):
        parse_manifest(manifest(layers=[descriptor(), descriptor(mediaType=layer)]), "", PAUSE)


@pytest.mark.parametrize("media_type", sorted(LAYER_TYPES))
def test_layers_of_every_kind_a_node_runs_are_taken(media_type: str) -> None:
    assert isinstance(parse_manifest(manifest(layers=[descriptor(mediaType=media_type)]), "", PAUSE), Manifest)


@pytest.mark.parametrize(
    ("body", "served"),
    [
        (b"", ""),
        (b"\xff", ""),
        (b"null", ""),
        (b"[]", ""),
        (b"5", ""),
        (b"{}", ""),
        (b"[" * 100_000, ""),
        (b"<html></html>", "text/html"),
        (manifest(config=None), ""),
        (manifest(layers=None), ""),
        (manifest(layers=["x"]), ""),
        (manifest(config=descriptor(digest="sha512:" + "ab" * 64)), ""),
        (manifest(config=descriptor(digest=DIGEST.upper())), ""),
        (manifest(config=descriptor(digest=DIGEST + "\n")), ""),
        (manifest(config=descriptor(digest="sha256:../../../etc/passwd")), ""),
        (manifest(config=descriptor(digest=5)), ""),
        (manifest(config=descriptor(size=-1)), ""),
        (manifest(config=descriptor(size="5")), ""),
        (manifest(config=descriptor(size=5.0)), ""),
        (manifest(config=descriptor(size=True)), ""),
        (manifest(layers=[descriptor(size=(1 << 53) + 1)]), ""),
        (manifest(layers=[descriptor(size=10**300)]), ""),
        (manifest(layers=[descriptor(size=float("inf"))]), ""),
        (manifest(config=descriptor(mediaType=["x"])), ""),
        (manifest(config=descriptor(mediaType="\ud800")), ""),
        (manifest(config=descriptor(mediaType="a\x1b[31m")), ""),
        (manifest(mediaType=["x"]), MANIFEST_TYPES[0]),
        (index(manifests=5), ""),
        (index(manifests=[descriptor(platform={"os": "linux"})]), ""),
        (index(manifests=[descriptor(platform={"os": 5, "architecture": "arm"})]), ""),
        (index(manifests=[descriptor(platform={"os": "linux", "architecture": "arm", "variant": ["v7"]})]), ""),
        # CVE-2021-41190: bytes that are an index to one reader and a manifest to another
        (manifest(mediaType=INDEX_TYPES[0]), ""),
        (manifest(), INDEX_TYPES[0]),
        (manifest(), INDEX_TYPES[1]),
        (manifest(mediaType=MANIFEST_TYPES[0]), MANIFEST_TYPES[1]),
        (index("linux/amd64"), MANIFEST_TYPES[0]),
        (index("linux/amd64", mediaType=MANIFEST_TYPES[1]), ""),
        (manifest(manifests=[]), ""),
        (index("linux/amd64", layers=[]), ""),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(body: bytes, served: str) -> None:
    with pytest.raises(MalformedAnswerError, match=f"manifest of {PAUSE} cannot be read") as caught:
        parse_manifest(body, served, PAUSE)
    assert caught.value.what.isprintable()
    assert len(caught.value.what) < 500


def config(**changes: Any) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [DIGEST]}
    return json.dumps({"os": "linux", "architecture": "arm64", "rootfs": rootfs, **changes}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        config(os=None),
        config(os=5),
        config(architecture=["arm64"]),
        config(variant=8),
        config(rootfs=None),
        config(rootfs={"diff_ids": None}),
        config(rootfs={"diff_ids": ["sha256:x"]}),
        config(rootfs={"diff_ids": [5]}),
        config(rootfs={"diff_ids": "sha256"}),
    ],
)
def test_what_is_no_config_is_refused_in_one_line(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match=f"config of {PAUSE} cannot be read") as caught:
        parse_config(body, PAUSE)
    assert caught.value.what.isprintable()


def test_a_variant_that_is_empty_or_null_is_none() -> None:
    for body in (config(), config(variant=""), config(variant=None)):
        assert parse_config(body, PAUSE).platform == Platform("linux", "arm64")


OUTER = st.sampled_from(["mediaType", "config", "layers", "manifests", "rootfs", "diff_ids"])
KEYS = OUTER | st.sampled_from(["digest", "size", "platform", "os", "architecture", "variant"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([DIGEST, "linux"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)
TYPES = st.sampled_from(["", "text/html", *INDEX_TYPES, *MANIFEST_TYPES])


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), TYPES)
def test_no_bytes_give_anything_but_a_value_or_our_errors(body: bytes, served: str) -> None:
    try:
        read = parse_manifest(body, served, PAUSE)
        if isinstance(read, Index):
            choose(read, "arm", PAUSE)
    except BundlerError as error:
        assert error.exit_code in {3, 4}  # noqa: PT017
    try:
        require_platform(parse_config(body, PAUSE), "arm", PAUSE)
    except BundlerError as error:
        assert error.exit_code in {3, 4}  # noqa: PT017


@settings(deadline=None)
@given(st.sampled_from(["config", "layers", "manifests", "mediaType"]), JSON, TYPES)
def test_one_odd_value_gives_nothing_but_a_value_or_our_errors(key: str, value: Any, served: str) -> None:
    for body in (manifest(**{key: value}), index("linux/arm", **{key: value})):
        try:
            read = parse_manifest(body, served, PAUSE)
            if isinstance(read, Index):
                choose(read, "arm", PAUSE)
        except BundlerError as error:
            assert error.exit_code in {3, 4}  # noqa: PT017
