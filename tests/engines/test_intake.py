"""Packing is spread over cores, and no further."""

from __future__ import annotations

import io
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from bundler.archive import zstd
from bundler.engines.intake import MEMORY, Intake
from bundler.model.digest import digest_of
from bundler.progress import SilentTask
from bundler.store.store import open_store

if TYPE_CHECKING:
    from pathlib import Path


class Watch:
    """How many layers are being packed at a time, and how many were at most."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.now += count
            self.most = max(self.most, self.now)


class Watched(io.BytesIO):
    """A layer that is being packed from its first byte to its last."""

    def __init__(self, data: bytes, watch: Watch) -> None:
        super().__init__(data)
        self._watch, self._begun, self._ended = watch, False, False

    def read(self, size: int | None = -1) -> bytes:
        if not self._begun:
            self._begun = True
            self._watch.add(1)
            time.sleep(0.05)
        data = super().read(size)
        if not data and not self._ended:
            self._ended = True
            self._watch.add(-1)
        return data


@pytest.mark.parametrize(
    ("cores", "level", "wanted"),
    [(1, 3, 1), (3, 3, 3), (16, 19, max(2, MEMORY // zstd.memory_of(zstd.compressor(19))))],
)
def test_as_many_layers_are_packed_at_a_time_as_there_are_cores_and_memory_for_them(
    cores: int, level: int, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    intake, watch = Intake(open_store(tmp_path), zstd.compressor(level)), Watch()
    layers = [b"layer %d" % number for number in range(12)]

    def pack(data: bytes) -> None:
        stream = cast("BinaryIO", Watched(data, watch))
        intake.take_layer(stream, digest_of(data), "the test", SilentTask())

    with ThreadPoolExecutor(len(layers)) as pool:
        list(pool.map(pack, layers))
    assert watch.most == wanted
    assert watch.now == 0
