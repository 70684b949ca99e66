from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.digest import digest_of
from bundler.model.lock import LockedFile
from bundler.net.ranges import ContentRange, parse_content_range, parse_length, parse_unsatisfied_range

numbers = st.integers(min_value=0, max_value=10**15)


@given(start=numbers, length=st.integers(1, 10**15), beyond=numbers, known=st.booleans())
def test_what_a_server_writes_is_what_is_read(start: int, length: int, beyond: int, known: bool) -> None:  # noqa: FBT001
    total = start + length + beyond
    text = f"bytes {start}-{start + length - 1}/{total if known else '*'}"
    assert parse_content_range(text) == ContentRange(start, start + length, total if known else None)


@given(text=st.text(max_size=60))
def test_no_text_makes_the_parsers_raise_or_accept_an_impossible_range(text: str) -> None:
    found = parse_content_range(text)
    assert found is None or (0 <= found.start < found.stop and (found.total is None or found.stop <= found.total))
    parse_length(text)
    parse_unsatisfied_range(text)


@given(first=numbers, last=numbers, total=numbers)
def test_ranges_that_end_before_they_begin_or_beyond_the_file_are_refused(first: int, last: int, total: int) -> None:
    found = parse_content_range(f"bytes {first}-{last}/{total}")
    assert (found is not None) == (first <= last < total)


@given(start=numbers, length=st.integers(1, 10**15), offset=numbers, size=numbers)
def test_a_piece_continues_a_file_only_at_its_end_and_within_its_size(
    start: int, length: int, offset: int, size: int
) -> None:
    stop = start + length
    piece = ContentRange(start, stop, None)
    assert piece.continues(offset, size) == (start == offset and stop <= size)
    assert piece.continues(start, None)
    assert not ContentRange(start, stop, stop + 1).continues(start, stop)


@pytest.mark.parametrize(
    "text",
    [
        "bytes 0-1",
        "bytes 0-1/",
        "bytes */5",
        "bits 0-1/2",
        "bytes -1-2/3",
        "bytes 1-0/5",
        "bytes 0-5/5",
        "bytes 0-1/2, 3-4/5",
        "bytes \u0660-\u0661/\u0662",
        f"bytes 0-1/{'9' * 5000}",
    ],
)
def test_a_malformed_content_range_is_none(text: str) -> None:
    assert parse_content_range(text) is None


def test_a_missing_header_is_none() -> None:
    assert parse_content_range(None) is None
    assert parse_length(None) is None
    assert parse_unsatisfied_range(None) is None


@given(size=numbers)
def test_sizes_are_read(size: int) -> None:
    assert parse_length(f" {size} ") == size
    assert parse_unsatisfied_range(f"bytes */{size}") == size


def test_no_size_is_bigger_than_a_lock_can_say() -> None:
    most = 1 << 53
    assert LockedFile(name="k3s", url="http://a.example/k3s", size=most, digest=digest_of(b"")).size == most
    assert parse_length(str(most)) == parse_unsatisfied_range(f"bytes */{most}") == most
    assert parse_content_range(f"bytes 0-0/{most}") == ContentRange(0, 1, most)
    assert parse_length(str(most + 1)) is None
    assert parse_unsatisfied_range(f"bytes */{most + 1}") is None
    assert parse_content_range(f"bytes 0-0/{most + 1}") is None
    assert parse_content_range(f"bytes {most}-{most}/*") is None


@pytest.mark.parametrize("text", ["-1", "+1", "1_0", "1,1", "0x1", "1.0", "\u0663", "9" * 5000])
def test_a_malformed_length_is_none(text: str) -> None:
    assert parse_length(text) is None
