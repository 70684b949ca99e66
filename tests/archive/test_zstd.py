"""Compressed streams: told apart, read whole, bounded, and never taken for whole when they are not."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.archive import zstd

COMPRESSOR = zstd.compressor(3)
TEXT = b"".join(b"line %d of a file that a layer may hold\n" % number for number in range(300))


class Trickle:
    """A stream that gives a few bytes at a time, as sockets do."""

    def __init__(self, data: bytes, size: int) -> None:
        self._file, self._size, self._first = io.BytesIO(data), size, True

    def read(self, size: int = -1) -> bytes:
        if self._first:  # the magic number comes in one piece
            self._first = False
            return self._file.read(size)
        return self._file.read(min(size, self._size) if size >= 0 else self._size)


def unpack(data: bytes, trickle: int = 0) -> bytes:
    stream = cast("BinaryIO", Trickle(data, trickle)) if trickle else io.BytesIO(data)
    with zstd.inflated(stream) as plain:
        return plain.read()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


@settings(deadline=None)
@given(st.binary(max_size=4000), st.sampled_from([0, 1, 7, 1000]))
def test_plain_gzip_and_zstd_streams_give_the_bytes_that_went_in(data: bytes, trickle: int) -> None:
    assert unpack(gzipped(data), trickle) == data
    assert unpack(zstd.frame(data, COMPRESSOR), trickle) == data
    if not data.startswith((zstd.GZIP_MAGIC, zstd.ZSTD_MAGIC)):
        assert unpack(data, trickle) == data


@settings(deadline=None)
@given(st.lists(st.binary(max_size=600), min_size=1, max_size=5), st.sampled_from([0, 1, 13]))
def test_several_gzip_members_and_several_zstd_frames_are_one_stream(parts: list[bytes], trickle: int) -> None:
    whole = b"".join(parts)
    assert unpack(b"".join(gzipped(part) for part in parts), trickle) == whole
    assert unpack(b"".join(zstd.frame(part, COMPRESSOR) for part in parts), trickle) == whole


def test_skippable_frames_are_passed_over() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    frame = zstd.frame(TEXT, COMPRESSOR)
    assert unpack(frame + skippable + frame + skippable) == TEXT * 2


@pytest.mark.parametrize("trickle", [0, 1, 512])
def test_zeros_after_gzip_are_padding_however_many_and_however_they_come(trickle: int) -> None:
    assert unpack(gzipped(TEXT) + bytes(600_000 if not trickle else 3000), trickle) == TEXT
    assert unpack(gzipped(TEXT) + bytes(10) + gzipped(TEXT), trickle) == TEXT * 2


@pytest.mark.parametrize("packed", [gzipped(TEXT), zstd.frame(TEXT, COMPRESSOR)], ids=["gzip", "zstd"])
def test_a_stream_cut_short_anywhere_is_refused(packed: bytes) -> None:
    for end in range(4, len(packed)):
        with pytest.raises(ValueError, match="cut short"):
            unpack(packed[:end])
        with pytest.raises(ValueError, match="cut short"):
            unpack(packed + packed[:end])


@pytest.mark.parametrize("packed", [gzipped(TEXT), zstd.frame(TEXT, COMPRESSOR)], ids=["gzip", "zstd"])
def test_a_flipped_bit_gives_a_value_error_or_the_same_bytes(packed: bytes) -> None:
    for offset in range(4, len(packed)):
        flipped = bytearray(packed)
        flipped[offset] ^= 1 << offset % 8
        try:
            assert unpack(bytes(flipped)) == TEXT  # a time stamp, a smaller window: nothing that is content
        except ValueError:
            continue


@pytest.mark.parametrize("packed", [gzipped(TEXT), zstd.frame(TEXT, COMPRESSOR)], ids=["gzip", "zstd"])
def test_rubbish_after_the_stream_is_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        unpack(packed + b"rubbish")


@settings(deadline=None)
@given(st.sampled_from([zstd.GZIP_MAGIC, zstd.ZSTD_MAGIC, b""]), st.binary(max_size=300))
def test_no_bytes_raise_anything_but_value_error(magic: bytes, rest: bytes) -> None:
    try:
        unpack(magic + rest)
    except ValueError:
        return


@pytest.mark.parametrize(("window_log", "fits"), [(24, True), (25, True), (26, False), (27, False), (31, False)])
def test_a_window_that_k3s_would_refuse_is_refused_however_small_the_data(window_log: int, *, fits: bool) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = stream.compress(TEXT) + stream.flush()
    if fits:
        assert unpack(packed) == TEXT
    else:
        with pytest.raises(ValueError, match="window over 32 MiB"):
            unpack(packed)


@pytest.mark.parametrize("level", [1, 3, 19])
def test_our_own_frames_state_a_window_that_k3s_takes_and_carry_a_checksum(level: int) -> None:
    frame = zstd.frame(TEXT, zstd.compressor(level))
    stated = zstandard.get_frame_parameters(frame)
    assert stated.window_size <= 1 << 25
    assert stated.has_checksum
    assert stated.content_size == zstandard.CONTENTSIZE_UNKNOWN


def test_a_frame_does_not_depend_on_how_its_bytes_were_handed_over() -> None:
    data = TEXT * 40
    once = zstd.frame(data, COMPRESSOR)
    for size in (1 << 10, 4099, 1 << 18):
        out = io.BytesIO()
        writer = zstd.FrameWriter(out, COMPRESSOR)
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
        writer.finish()
        assert out.getvalue() == once


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_read_in_little_memory(kind: str) -> None:
    size = 256 << 20
    if kind == "zstd":
        bomb = zstandard.ZstdCompressor(level=19).compress(bytes(size))
    else:
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    tracemalloc.start()
    try:
        with zstd.inflated(io.BytesIO(bomb)) as plain:
            read = 0
            while chunk := plain.read(1 << 20):
                read += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == size
    assert peak < 100 << 20
