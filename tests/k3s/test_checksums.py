"""Checksum files of both eras, and of servers that give something else."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ChecksumFileError, ChecksumMissingError
from bundler.k3s.assets import IMAGE_LIST, binary_asset, checksum_asset
from bundler.k3s.checksums import checksum_of, parse_checksums
from bundler.model.platform import ARCHITECTURES, Architecture
from tests.upstream import standard_content

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("tag", ["v1.34.1+k3s1", "v1.30.0+k3s1", "v1.20.8+k3s1"])
def test_files_of_both_eras_give_the_binary_of_every_architecture(tag: str, arch: Architecture) -> None:
    assets = standard_content().release(tag).assets
    checksums = parse_checksums(assets[checksum_asset(arch)], "sums")
    binary = checksum_of(binary_asset(arch), checksums, "sums")
    assert binary == f"sha256:{hashlib.sha256(assets[binary_asset(arch)]).hexdigest()}"
    before_mid_2025 = tag != "v1.34.1+k3s1"
    assert (IMAGE_LIST in checksums) == (before_mid_2025 and arch == "amd64")


def test_a_name_counts_only_whole() -> None:
    sums = parse_checksums(f"{HEX}  k3s-arm64\n{HEX}  xk3s\n{HEX}  k3s-airgap-images-amd64.tar\n".encode(), "sums")
    with pytest.raises(ChecksumMissingError, match="sums has no checksum for k3s; it names k3s-airgap-images-amd64"):
        checksum_of("k3s", sums, "sums")
    with pytest.raises(ChecksumMissingError, match="names nothing"):
        checksum_of("k3s", {}, "sums")


def test_binary_mode_and_windows_line_ends_are_read() -> None:
    assert parse_checksums(f"{HEX} *k3s\r\n{HEX}  other".encode(), "sums").keys() == {"k3s", "other"}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# comment",
        HEX,
        f"{HEX} k3s",
        f"{HEX}   k3s",
        f"{HEX.upper()}  k3s",
        f"{HEX[:-1]}  k3s",
        f"{HEX}0  k3s",
        f"{HEX}  dist/artifacts/k3s",
        f"{HEX}  ../k3s",
        f"{HEX}  k3s k3s",
        f" {HEX}  k3s",
        f"SHA256 (k3s) = {HEX}",
        "<!DOCTYPE html>",
    ],
)
def test_a_line_that_is_none_of_sha256sum_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(ChecksumFileError, match="sums:2: "):
        parse_checksums(f"{HEX}  other\n{line}\n{HEX}  last\n".encode(), "sums")


def test_a_name_with_two_checksums_is_refused_and_the_same_twice_is_not() -> None:
    with pytest.raises(ChecksumFileError, match="sums:2: k3s has two different checksums"):
        parse_checksums(f"{HEX}  k3s\n{HEX[::-1]}  k3s\n".encode(), "sums")
    assert len(parse_checksums(f"{HEX}  k3s\n{HEX}  k3s\n".encode(), "sums")) == 1


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_but_our_error(text: bytes) -> None:
    try:
        parse_checksums(text, "sums")
    except ChecksumFileError as error:
        assert error.what.isprintable()  # noqa: PT017
