"""Names of release files, how their addresses are written, and what releases can do."""

from __future__ import annotations

import pytest

from bundler.k3s.assets import asset_url, binary_asset, checksum_asset
from bundler.k3s.behaviour import takes_zstd_archives, takes_zstd_layers
from bundler.model.platform import ARCHITECTURES
from bundler.model.release import TagStyle, parse_release
from bundler.net.answers import get_bytes
from bundler.net.session import open_session
from tests.upstream import Upstream


def test_the_binary_of_32_bit_arm_is_named_armhf_and_all_else_arm() -> None:
    # k3s scripts/validate-artifacts
    assert [binary_asset(arch) for arch in ARCHITECTURES] == ["k3s", "k3s-arm64", "k3s-armhf"]
    assert [checksum_asset(arch) for arch in ARCHITECTURES] == [
        "sha256sum-amd64.txt",
        "sha256sum-arm64.txt",
        "sha256sum-arm.txt",
    ]


@pytest.mark.parametrize(
    ("style", "tag", "written"),
    [
        ("percent", "v1.34.1+k3s1", "v1.34.1%2Bk3s1"),
        ("dash", "v1.34.1+k3s1", "v1.34.1-k3s1"),
        ("plain", "v1.34.1+k3s1", "v1.34.1+k3s1"),
        ("percent", "v1.34.11-rc1+k3s1", "v1.34.11-rc1%2Bk3s1"),
        ("dash", "v1.34.11-rc1+k3s1", "v1.34.11-rc1-k3s1"),
    ],
)
def test_the_plus_of_a_tag_is_written_as_the_server_wants_it(style: TagStyle, tag: str, written: str) -> None:
    for base in ("https://host/k3s", "https://host/k3s/"):
        assert asset_url(base, parse_release(tag), style, "k3s") == f"https://host/k3s/{written}/k3s"


@pytest.mark.parametrize("style", ["percent", "dash", "plain"])
def test_a_server_of_that_style_has_the_file_there(style: TagStyle) -> None:
    release = parse_release("v1.30.0+k3s1")
    with Upstream() as upstream, open_session() as session:
        base = upstream.dashed_releases_url if style == "dash" else upstream.releases_url
        url = asset_url(base, release, style, "k3s-images.txt")
        answer = get_bytes(session, url, limit=1 << 20)
        assert answer.body == upstream.content.release(release.tag).assets["k3s-images.txt"]
        sent = {"percent": "v1.30.0%2Bk3s1", "dash": "v1.30.0-k3s1", "plain": "v1.30.0+k3s1"}[style]
        assert f"/{sent}/" in upstream.requests[0].path


@pytest.mark.parametrize(
    ("tag", "archives", "layers"),
    [
        ("v1.20.15+k3s1", False, False),
        ("v1.21.0+k3s1", True, False),  # k3s-io/k3s#3169
        ("v1.21.14+k3s1", True, False),
        ("v1.22.0+k3s1", True, True),  # containerd 1.5
        ("v1.34.1+k3s1", True, True),
    ],
)
def test_what_a_release_imports_depends_on_its_version(tag: str, *, archives: bool, layers: bool) -> None:
    assert takes_zstd_archives(parse_release(tag)) == archives
    assert takes_zstd_layers(parse_release(tag)) == layers
