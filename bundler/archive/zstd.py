"""Everything this project asks of zstd, so that another binding can take its place."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

import zstandard
from zlib_ng import zlib_ng as zlib

from bundler.model.lock import Compressor

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

WINDOW_LOG = 25
"""32 MiB: the most k3s's decoder takes (rancher/wharfie pkg/tarfile, MaxDecoderMemory = 1<<25)."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"

_READ = 1 << 18
_LONG_DISTANCE = 8 << 20  # bytes
_LONGEST_HEADER = 18  # bytes of a frame header (RFC 8878, 3.1.1.1)
_PIECE = 1 << 10  # bytes given to zstd at once where its blocks are not known: they unpack to 32 MiB at most
_BLOCKS = 8  # blocks given to zstd at once: they unpack to 1 MiB at most (RFC 8878, 3.1.1.2.4)


class Sink(Protocol):
    """Anything that takes bytes."""

    def write(self, data: bytes, /) -> int:
        """Take `data` whole."""


def compressor(level: int) -> Compressor:
    """Describe the compressor of this machine at `level`."""
    library = ".".join(str(part) for part in zstandard.ZSTD_VERSION)
    return Compressor(library=library, level=level, window_log=WINDOW_LOG)


class FrameWriter:
    """Compresses what it is given into one zstd frame on `sink`; call `finish` at the end.

    One thread: zstd's own threads give other bytes than none, and cost a job buffer of four windows each. Cores are
    used by packing several layers at once. The size is never declared, because zstd chooses other parameters when
    it knows it, and the registry does not tell the size of a layer it serves gzipped.
    """

    def __init__(self, sink: Sink, compressor: Compressor) -> None:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            compressor.level,
            window_log=compressor.window_log,
            enable_ldm=True,
            write_checksum=True,
            write_content_size=False,
            threads=0,
        )
        self._sink = sink
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def write(self, data: bytes) -> int:
        """Compress more bytes."""
        self._sink.write(self._stream.compress(data))
        return len(data)

    def finish(self) -> None:
        """End the frame."""
        self._sink.write(self._stream.flush())


def memory_of(compressor: Compressor) -> int:
    """Say how many bytes a `FrameWriter` takes at most: its tables, the window, and those of long distances."""
    # The library's own estimate divides by zero when long distances are matched, so without them (0.25).
    tables = zstandard.ZstdCompressionParameters.from_level(compressor.level, window_log=compressor.window_log)
    return tables.estimated_compression_context_size() + (1 << compressor.window_log) + _LONG_DISTANCE


def frame(data: bytes, compressor: Compressor) -> bytes:
    """Compress a few bytes into a frame of their own."""
    buffer = io.BytesIO()
    writer = FrameWriter(buffer, compressor)
    writer.write(data)
    writer.finish()
    return buffer.getvalue()


def inflated(stream: BinaryIO) -> BinaryIO:
    """Give the plain bytes of `stream`.

    gzip (RFC 1952), zstd (RFC 8878) and plain bytes are told apart by their magic numbers. Reading raises ValueError
    when the compressed data is damaged, cut short, or needs a window that k3s would refuse.
    """
    start = stream.read(len(ZSTD_MAGIC))
    whole = _Rejoined(start, stream)
    if start.startswith(GZIP_MAGIC):
        return io.BufferedReader(_Gunzip(whole), _READ)
    if start.startswith(ZSTD_MAGIC):
        return io.BufferedReader(_Unzstd(whole), _READ)
    return io.BufferedReader(whole, _READ)


def unzstd(stream: BinaryIO) -> BinaryIO:
    """Give the plain bytes of `stream`, which must be zstd; reading raises ValueError as with `inflated`."""
    return io.BufferedReader(_Unzstd(_Rejoined(b"", stream)), _READ)


class _Rejoined(io.RawIOBase):
    """Bytes that were looked at, and the rest of their stream."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start, self._rest = start, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._start:
            size = len(self._start) if size < 0 else size
            taken, self._start = self._start[:size], self._start[size:]
            return taken
        return self._rest.read(size)

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Gunzip(io.RawIOBase):
    """Plain bytes of a gzip stream, several members included, as registries serve them."""

    def __init__(self, source: _Rejoined) -> None:
        self._source = source
        self._inflater = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while True:
            data = self._waiting or self._source.read(_READ)
            if not data:
                if self._inside:
                    raise ValueError("the gzip data is cut short")
                return 0
            plain = self._take(data, len(view))
            if plain:
                view[: len(plain)] = plain
                return len(plain)

    def _take(self, data: bytes, limit: int) -> bytes:
        if self._inflater.eof:
            # Zero bytes after the last member are padding (RFC 1952 leaves it open; gzip itself ignores them).
            data = data.lstrip(b"\0")
            if not data:
                self._waiting = b""
                return b""
            self._inflater = zlib.decompressobj(wbits=31)
        self._inside = True
        try:
            plain = self._inflater.decompress(data, limit)
        except zlib.error as error:  # type: ignore[misc]  # its stub says Exception instead of type[Exception]
            raise ValueError(f"the gzip data is damaged: {error}") from None
        self._waiting = self._inflater.unconsumed_tail
        if self._inflater.eof:
            self._inside = False
            self._waiting = self._inflater.unused_data
        return plain


class _Blocks:
    """Follows the blocks of one frame (RFC 8878, 3.1.1), so that much can be unpacked at once in little memory."""

    def __init__(self) -> None:
        self._left: int | None = None  # bytes of the present block still to come; None before the first one
        self._known = True

    def fitting(self, data: bytes, start: int) -> int:
        """Say how many bytes from `start` on unpack to little; 0 when it takes more bytes to tell."""
        if not self._known:
            return min(_PIECE, len(data) - start)
        if self._left is None:
            return self._header(data, start)
        end = start
        for _ in range(_BLOCKS):
            if self._left == 0:
                if end + 3 > len(data) or not self._known:
                    break
                self._left = self._block(int.from_bytes(data[end : end + 3], "little"))
            taken = min(self._left, len(data) - end)
            self._left -= taken
            end += taken
        return end - start

    def _header(self, data: bytes, start: int) -> int:
        if len(data) - start <= len(ZSTD_MAGIC):
            return 0
        if not data.startswith(ZSTD_MAGIC, start):
            self._known = False  # a skippable frame, or rubbish
            return len(ZSTD_MAGIC)
        size = zstandard.frame_header_size(data[start : start + _LONGEST_HEADER])
        if len(data) - start < size:
            return 0
        self._left = 0
        return size

    def _block(self, header: int) -> int:
        """Give the bytes of a block with its header; after the last one comes nothing that unpacks to more."""
        self._known = not header & 1
        repeats = header >> 1 & 3 == 1
        return 3 + (1 if repeats else header >> 3)


class _Unzstd(io.RawIOBase):
    """Plain bytes of a zstd stream of one or more frames.

    Not the library's own reader, which takes a stream that is cut short for one that ends.
    """

    def __init__(self, source: _Rejoined) -> None:
        self._source = source
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG)
        self._frame = self._decompressor.decompressobj()
        self._blocks = _Blocks()
        self._inside = False
        self._packed, self._used = b"", 0
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self._plain:
            if not self._inside:
                self._frame, self._blocks = self._decompressor.decompressobj(), _Blocks()
            piece = self._piece()
            if not piece:
                if self._inside:
                    raise ValueError("the zstd data is cut short")
                return 0
            self._plain = memoryview(self._unpack(piece))
        taken, self._plain = self._plain[: len(view)], self._plain[len(view) :]
        view[: len(taken)] = taken
        return len(taken)

    def _piece(self) -> bytes:
        """Take bytes that unpack to little; none at the end."""
        while not (size := self._blocks.fitting(self._packed, self._used)):
            more = self._source.read(_READ)
            self._packed, self._used = self._packed[self._used :] + more, 0
            if not more:
                size = len(self._packed)
                break
        self._used += size
        return self._packed[self._used - size : self._used]

    def _unpack(self, piece: bytes) -> bytes:
        try:
            plain = self._frame.decompress(piece)
        except zstandard.ZstdError as error:
            raise ValueError(f"the zstd data is damaged or needs a window over 32 MiB: {error}") from None
        self._inside = not self._frame.eof
        self._used -= len(self._frame.unused_data)
        return plain
