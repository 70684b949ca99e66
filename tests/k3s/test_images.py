"""`k3s-images.txt` and what of it a cluster needs, for the lists of real releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ImageListError
from bundler.k3s.images import needed_images, parse_image_list
from bundler.model.config import COMPONENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD = ("coredns-coredns", "library-busybox", "library-traefik", "metrics-server", "pause")
NEW = tuple(f"mirrored-{name}" for name in OLD)

# k3s scripts/airgap/image-list.txt at each tag: klipper-helm, klipper-lb, local-path-provisioner, coredns, busybox,
# traefik, metrics-server, pause. v1.18 has no busybox; `mirrored-` came with v1.22.2.
TAGS = {
    "v1.18.8+k3s1": "v0.2.5 v0.1.2 v0.0.11 1.6.9 - 1.7.19 v0.3.6 3.1",
    "v1.18.20+k3s1": "v0.4.3 v0.1.2 v0.0.11 1.6.9 - 1.7.19 v0.3.6 3.1",
    "v1.19.8+k3s1": "v0.4.3 v0.1.2 v0.0.14 1.6.9 1.31.1 1.7.19 v0.3.6 3.1",
    "v1.20.8+k3s1": "v0.4.3 v0.1.2 v0.0.19 1.8.0 1.32.1 1.7.19 v0.3.6 3.1",
    "v1.21.2+k3s1": "v0.5.0-build20210505 v0.2.0 v0.0.19 1.8.3 1.32.1 2.4.8 v0.3.6 3.1",
    "v1.23.3+k3s1": "v0.6.6-build20211022 v0.3.4 v0.0.21 1.8.6 1.34.1 2.5.6 v0.5.2 3.6",
    "v1.25.0+k3s1": "v0.7.3-build20220613 v0.3.5 v0.0.21 1.9.1 1.34.1 2.6.2 v0.5.2 3.6",
    "v1.25.3+k3s1": "v0.7.3-build20220613 v0.3.5 v0.0.21 1.9.1 1.34.1 2.9.1 v0.6.1 3.6",
    "v1.26.15+k3s1": "v0.8.3-build20240228 v0.4.7 v0.0.26 1.10.1 1.36.1 2.10.5 v0.7.0 3.6",
    "v1.27.1+k3s1": "v0.7.7-build20230403 v0.4.3 v0.0.24 1.10.1 1.34.1 2.9.4 v0.6.2 3.6",
    "v1.28.2+k3s1": "v0.8.2-build20230815 v0.4.4 v0.0.24 1.10.1 1.34.1 2.9.10 v0.6.3 3.6",
    "v1.29.15+k3s1": "v0.9.4-build20250113 v0.4.13 v0.0.31 1.12.0 1.36.1 2.11.20 v0.7.2 3.6",
    "v1.30.0+k3s1": "v0.8.3-build20240228 v0.4.7 v0.0.26 1.10.1 1.36.1 2.10.7 v0.7.0 3.6",
    "v1.31.1+k3s1": "v0.9.2-build20240828 v0.4.9 v0.0.28 1.11.3 1.36.1 2.11.8 v0.7.2 3.6",
    "v1.31.11+k3s1": "v0.9.8-build20250709 v0.4.13 v0.0.31 1.12.1 1.36.1 2.11.24 v0.7.2 3.6",
    "v1.32.5+k3s1": "v0.9.5-build20250306 v0.4.13 v0.0.31 1.12.1 1.36.1 3.3.6 v0.7.2 3.6",
    "v1.32.13+k3s1": "v0.9.14-build20260210 v0.4.14 v0.0.34 1.14.1 1.37.0 3.6.9 v0.8.1 3.6",
    "v1.34.1+k3s1": "v0.9.8-build20250709 v0.4.13 v0.0.32 1.12.3 1.36.1 3.3.6 v0.8.0 3.6",
    "v1.36.1+k3s1": "v0.9.17-build20260422 v0.4.17 v0.0.36 1.14.3 1.37.0 3.6.13 v0.8.1 3.6",
    "v1.36.2+k3s1": "v0.11.1-build20260615 v0.4.17 v0.0.36 1.14.4 1.37.0 3.7.4 v0.8.1 3.6",
    "v1.36.3+k3s1": "v0.13.3-build20260727 v0.4.17 v0.0.36 1.14.6 1.37.0 3.7.8 v0.9.0 3.10.2",
    "v1.37.0-rc1+k3s1": "v0.13.3-build20260727 v0.4.17 v0.0.37 1.14.6 1.37.0 3.7.8 v0.9.0 3.10.2",
}


def list_of(release: str) -> bytes:
    minor = int(release.split(".")[1])
    coredns, busybox, traefik, metrics, pause = NEW if minor >= 23 else OLD
    names = ("klipper-helm", "klipper-lb", "local-path-provisioner", coredns, busybox, traefik, metrics, pause)
    pairs = zip(names, TAGS[release].split(), strict=True)
    lines = sorted(f"docker.io/rancher/{name}:{tag}\n" for name, tag in pairs if tag != "-")
    return "".join(lines).encode()


def left(release: str, disabled: Sequence[str]) -> set[str]:
    """Give the short names of the images that stay."""
    images = needed_images(parse_image_list(list_of(release), release), disabled)
    return {image.repository.removeprefix("rancher/").removeprefix("mirrored-") for image in images}


EVERYTHING = {"klipper-helm", "klipper-lb", "local-path-provisioner", *OLD}
GOES_WITH = {
    "coredns": {"coredns-coredns"},
    "servicelb": {"klipper-lb"},
    "traefik": {"library-traefik", "klipper-helm"},
    "local-storage": {"local-path-provisioner", "library-busybox"},
    "metrics-server": {"metrics-server"},
    "runtimes": set[str](),
}


@pytest.mark.parametrize("release", TAGS)
def test_disabling_a_component_leaves_out_exactly_its_own_images(release: str) -> None:
    everything = EVERYTHING - ({"library-busybox"} if release.startswith("v1.18") else set())
    assert left(release, ()) == everything
    assert set(GOES_WITH) == set(COMPONENTS)
    for component, own in GOES_WITH.items():
        assert left(release, [component]) == everything - own
    assert left(release, COMPONENTS) == {"pause"}
    assert left(release, [name for name in COMPONENTS if name != "coredns"]) == {"pause", "coredns-coredns"}


@settings(deadline=None)
@given(st.sampled_from(sorted(TAGS)), st.sets(st.sampled_from(COMPONENTS)))
def test_components_leave_out_the_same_together_as_one_by_one(release: str, disabled: set[str]) -> None:
    one_by_one = left(release, ())
    for component in disabled:
        one_by_one &= left(release, [component])
    assert left(release, sorted(disabled)) == one_by_one
    assert "pause" in one_by_one


def test_images_that_are_not_known_are_never_left_out() -> None:
    listed = parse_image_list(b"docker.io/rancher/mirrored-something-new:1\nquay.io/x/pause:3.10.2\n", "list")
    assert needed_images(listed, COMPONENTS) == listed


def test_the_lists_of_other_registries_follow_the_same_rules() -> None:
    listed = parse_image_list(list_of("v1.34.1+k3s1").replace(b"docker.io", b"registry.rancher.com:443"), "list")
    names = {image.repository for image in needed_images(listed, COMPONENTS)}
    assert names == {"rancher/mirrored-pause"}


def test_the_names_of_the_first_releases_are_known() -> None:
    text = b"docker.io/coredns/coredns:1.6.3\ndocker.io/library/traefik:1.7.14\nk8s.gcr.io/pause:3.1\n"
    listed = parse_image_list(text, "list")
    assert [str(image) for image in needed_images(listed, COMPONENTS)] == ["k8s.gcr.io/pause:3.1"]


def test_a_list_is_sorted_and_names_nothing_twice() -> None:
    listed = parse_image_list(b"docker.io/b/b:1\r\ndocker.io/a/a:2\nb/b:1\n", "list")
    assert [str(image) for image in listed] == ["docker.io/a/a:2", "docker.io/b/b:1"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (b"", "is empty"),
        (b"\n", "list:1:"),
        (b"docker.io/rancher/pause:3.6\n\n", "list:2:"),
        (b"# comment\n", "list:1:"),
        (b"docker.io/rancher/pause:3.6 \n", "list:1:"),
        (b"docker.io/rancher/Pause:3.6\n", "list:1:"),
        (b"docker.io/a/a:1\n<html><body>Not Found</body></html>\n", "list:2:"),
        (b"docker.io/a/a:1\n../../etc/passwd\n", "list:2:"),
        (b"docker.io/a/a:1\n\xff\xfe\n", "list:2:"),
        (b'{"message": "rate limited"}', "list:1:"),
    ],
)
def test_a_list_that_is_not_one_is_refused_with_its_line(text: bytes, place: str) -> None:
    with pytest.raises(ImageListError, match=place):
        parse_image_list(text, "list")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_our_error(text: bytes) -> None:
    try:
        assert parse_image_list(text, "list")
    except ImageListError as error:
        assert error.exit_code == 4  # noqa: PT017
