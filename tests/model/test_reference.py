from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.digest import Digest
from bundler.model.reference import Reference, is_registry_host, parse_reference

PIN = "sha256:" + "0123456789abcdef" * 4

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)
hosts = st.one_of(
    st.builds("{}.{}".format, labels, labels),
    st.builds("{}:{}".format, labels, st.integers(1, 65535)),
    st.just("localhost"),
    st.just("[fd00::1]:5000"),
)
parts = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
repositories = st.lists(parts, min_size=2, max_size=4).map("/".join)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", fullmatch=True)
references = st.builds(Reference, hosts, repositories, tags, st.sampled_from([None, Digest(PIN)]))


@given(references)
def test_what_is_written_out_reads_back_as_the_same_reference(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference


@given(st.text(max_size=80) | st.text(alphabet="abAB:/@.-_09[]\n ", max_size=40))
def test_any_text_is_a_reference_that_keeps_its_name_or_a_value_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except ValueError:
        return
    assert parse_reference(str(reference)) == reference
    assert str(reference).isascii()
    assert str(reference).isprintable()


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("rancher/mirrored-pause:3.6", "docker.io/rancher/mirrored-pause:3.6"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1"),
        ("registry-1.docker.io/busybox:1", "docker.io/library/busybox:1"),
        ("localhost/app", "localhost/app:latest"),
        ("box:5000/app", "box:5000/app:latest"),
        ("box:5000", "docker.io/library/box:5000"),
        ("quay.io/a/b/c:x", "quay.io/a/b/c:x"),
        (f"a/b:1@{PIN}", f"docker.io/a/b:1@{PIN}"),
    ],
)
def test_short_names_mean_what_they_mean_to_docker(short: str, full: str) -> None:
    assert str(parse_reference(short)) == full


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"a/b@{PIN}", "has a digest but no tag"),
        ("a/b:1@sha256:12", "is not a digest"),
        ("a/b:1@sha512:" + "0" * 128, "is not a digest"),
        ("a/B", "upper-case"),
        ("a/b:", "is not a tag"),
        ("a/b:-x", "is not a tag"),
        ("a/b:" + "t" * 129, "is not a tag"),
        ("a//b", "is not a repository name"),
        ("a/b/", "is not a repository name"),
        ("", "is not a repository name"),
        ("-a.b/c", "is not a registry host"),
        ("a.b:/c", "is not a registry host"),
        ("b\n", "is not a repository name"),
        ("b:1\n", "is not a tag"),
        ("https://a/b", "is not a"),
        ("x.y/" + "a" * 252, "longer than 255"),
    ],
)
def test_the_message_names_the_part_that_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_reference(text)


def test_the_name_is_what_nodes_look_for_without_the_digest() -> None:
    assert parse_reference(f"a/b:1@{PIN}").name == "docker.io/a/b:1"


@pytest.mark.parametrize("host", ["docker.io", "localhost", "10.0.0.1:5000", "[::1]:5000", "[fd00::1]", "a:65535"])
def test_hosts_with_and_without_port_are_registry_hosts(host: str) -> None:
    assert is_registry_host(host)


@pytest.mark.parametrize("host", ["", "a:0", "a:65536", "a:", "a/b", "a b", "-a", "http://a", "a\n", "é.fr", "::1"])
def test_paths_urls_and_impossible_ports_are_no_registry_hosts(host: str) -> None:
    assert not is_registry_host(host)
