"""Digests, platforms and releases."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.digest import digest_from_hex, digest_of, hex_of, parse_digest
from bundler.model.platform import ARCHITECTURES, Architecture, Platform, rank
from bundler.model.release import is_channel, is_tag, parse_release


@given(st.binary(max_size=200))
def test_a_digest_is_the_sha256_of_the_bytes_and_survives_every_spelling(data: bytes) -> None:
    digest = digest_of(data)
    assert hex_of(digest) == hashlib.sha256(data).hexdigest()
    assert parse_digest(digest) == digest_from_hex(hex_of(digest)) == digest


@pytest.mark.parametrize(
    "text", ["", "sha256:", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n"]
)
def test_what_is_no_lower_case_sha256_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        parse_digest(text)


def test_arm_takes_v7_then_v6_then_an_unnamed_variant() -> None:
    ranks = [rank(Platform("linux", "arm", variant), "arm") for variant in ("v7", "v6", "")]
    assert ranks == sorted(rank for rank in ranks if rank is not None)
    assert len(set(ranks)) == 3
    assert rank(Platform("linux", "arm", "v8"), "arm") is None
    assert rank(Platform("linux", "arm", "v5"), "arm") is None


@pytest.mark.parametrize(
    ("arch", "variant", "fits"),
    [("arm64", "", True), ("arm64", "v8", True), ("arm64", "v9", False), ("amd64", "", True), ("amd64", "v3", False)],
)
def test_a_variant_that_needs_a_newer_cpu_does_not_fit(arch: Architecture, variant: str, *, fits: bool) -> None:
    assert (rank(Platform("linux", arch, variant), arch) is not None) is fits


@given(
    st.text(max_size=8), st.sampled_from([*ARCHITECTURES, "s390x", "unknown"]), st.sampled_from(["", "v6", "v7", "v8"])
)
def test_only_linux_on_the_same_architecture_ever_fits(os: str, architecture: str, variant: str) -> None:
    for wanted in ARCHITECTURES:
        if os != "linux" or architecture != wanted:
            assert rank(Platform(os, architecture, variant), wanted) is None


def test_releases_order_as_k3s_means_it() -> None:
    in_order = [
        "v1.9.9+k3s1",
        "v1.34.1-alpha2+k3s1",
        "v1.34.1-beta1+k3s1",
        "v1.34.1-rc1+k3s1",
        "v1.34.1-rc2+k3s1",
        "v1.34.1-rc10+k3s1",
        "v1.34.1+k3s1",
        "v1.34.1+k3s2",
        "v1.34.1+k3s10",
        "v1.34.10+k3s1",
        "v1.35.0+k3s1",
    ]
    for left, right in itertools.pairwise(in_order):
        assert parse_release(left).sort_key < parse_release(right).sort_key


numbers = st.integers(0, 99)


@given(numbers, numbers, numbers, st.sampled_from(["", "-rc1", "-alpha3", "-beta2"]), numbers)
def test_a_tag_reads_as_its_numbers_and_keeps_its_text(
    major: int, minor: int, patch: int, pre_release: str, build: int
) -> None:
    tag = f"v{major}.{minor}.{patch}{pre_release}+k3s{build}"
    release = parse_release(tag)
    assert (release.version, release.build, str(release)) == ((major, minor, patch), build, tag)
    assert release.path_name == tag.replace("+", "-")
    assert is_tag(tag)
    assert not is_channel(tag)


@pytest.mark.parametrize(
    "text",
    ["", "v1.34.1", "1.34.1+k3s1", "v1.34.1-k3s1", "v1.34.1+k3s", "v1.34.1+k3s1\n", "v\u0661.34.1+k3s1", "v1.34+k3s1"],
)
def test_what_is_no_tag_is_refused(text: str) -> None:
    assert not is_tag(text)
    with pytest.raises(ValueError, match=r"v1\.34\.1\+k3s1"):
        parse_release(text)


@pytest.mark.parametrize(
    ("text", "known"),
    [("stable", True), ("latest", True), ("testing", True), ("v1.34", True), ("v1.18-testing", True)]
    + [(text, False) for text in ("Stable", "v1", "1.34", "v1.34.1", "stable\n", "v\u0661.34", "")],
)
def test_channels_are_those_of_the_channel_server(text: str, *, known: bool) -> None:
    assert is_channel(text) is known
