"""The channel server's answer, as it is and as servers may break it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import BundlerError, MalformedAnswerError, UnknownReleaseError
from bundler.k3s.channels import latest_of
from bundler.model.release import Release
from tests.upstream import Upstream


def answer(*entries: Any) -> bytes:
    return json.dumps({"type": "collection", "data": entries}).encode()


STABLE = {"id": "stable", "name": "stable", "latest": "v1.34.1+k3s1"}


def test_a_channel_is_the_tag_the_server_says() -> None:
    with Upstream() as upstream:
        collection = upstream.document("/v1-release/channels").body
    assert latest_of("stable", collection, "server").tag == "v1.34.1+k3s1"
    assert latest_of("v1.20", collection, "server").tag == "v1.20.8+k3s1"
    with pytest.raises(UnknownReleaseError, match="channel testing has no release at the moment"):
        latest_of("testing", collection, "server")
    with pytest.raises(UnknownReleaseError, match=r"channel v1\.99 does not exist at server") as caught:
        latest_of("v1.99", collection, "server")
    assert "latest, stable, v1.20, v1.30, v1.34" in caught.value.hint


@pytest.mark.parametrize("latest", ["", None])
def test_a_channel_without_a_release_says_so(latest: str | None) -> None:
    entry = {"name": "stable", "latest": latest}
    with pytest.raises(UnknownReleaseError, match="no release at the moment") as caught:
        latest_of("stable", answer(entry), "server")
    assert caught.value.hint == "channels there: none"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Found</html>",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"data": null}',
        b'{"data": 5}',
        b'{"data": ["stable"]}',
        b'{"data": [{"latest": "v1.34.1+k3s1"}]}',
        b'{"data": {"stable": "v1.34.1+k3s1"}}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_list_of_channels_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedAnswerError, match="server did not answer with a list of channels"):
        latest_of("stable", body, "server")


@pytest.mark.parametrize(
    "latest", ["latest", "1.34.1", "v1.34.1", "v1.34.1-k3s1", "v1.34.1+k3s1\n", "v1.34.1+k3s1/../x", 5, ["v1"], True]
)
def test_a_tag_that_is_none_is_refused(latest: Any) -> None:
    with pytest.raises(MalformedAnswerError, match="says that stable is"):
        latest_of("stable", answer({"name": "stable", "latest": latest}), "server")


def test_other_entries_may_be_odd_as_long_as_the_one_asked_for_is_right() -> None:
    others = ({"name": 5}, {"name": "x", "latest": ["odd"]}, {"name": "latest", "latest": "not a tag", "extra": {}})
    assert latest_of("stable", answer(*others, STABLE), "server").tag == "v1.34.1+k3s1"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "name", "latest", "stable"]) | st.text(max_size=3), inner)
    ),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_answer_gives_anything_but_a_release_or_our_errors(body: bytes) -> None:
    try:
        assert isinstance(latest_of("stable", body, "server"), Release)
    except BundlerError as error:
        assert isinstance(error, MalformedAnswerError | UnknownReleaseError)  # noqa: PT017
