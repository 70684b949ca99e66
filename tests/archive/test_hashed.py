"""What is hashed on a second core is what was read and written, in whatever pieces."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.archive.hashed import HashedFile
from bundler.model.digest import digest_of
from bundler.progress import SilentTask
from bundler.site.folder import SUMS, new_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor
    from pathlib import Path

DATA = bytes(range(251)) * 2000
PIECES = st.lists(st.sampled_from([1, 512, 65535, 65536, 100_000]), max_size=8)


class Advanced(SilentTask):
    """Counts what was done."""

    done = 0

    def advance(self, count: int) -> None:
        self.done += count


@pytest.fixture(scope="module")
def beside() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@settings(deadline=None)
@given(reads=st.lists(st.tuples(st.sampled_from([1, 512, 65535, 65536, 100_000]), st.booleans()), max_size=8))
def test_a_file_has_its_digest_however_it_was_read(reads: list[tuple[int, bool]], beside: Executor) -> None:
    task = Advanced()
    file = HashedFile(io.BytesIO(DATA), beside, task)
    buffer = memoryview(bytearray(100_000))  # used again, as readers do: what is hashed must not change below the hash
    seen = b""
    for size, into in reads:
        seen += bytes(buffer[: file.readinto(buffer[:size])]) if into else file.read(size)
    assert DATA.startswith(seen)
    assert file.finish() == digest_of(DATA)
    assert task.done == len(DATA)


@settings(deadline=None, max_examples=30)
@given(pieces=PIECES)
def test_a_file_of_a_bundle_is_listed_with_the_digest_of_what_was_written(
    pieces: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target: Path = tmp_path_factory.mktemp("folder") / "bundle"
    data = b"".join(DATA[:size] for size in pieces)
    with new_bundle(target, replace=False) as folder:
        with folder.open("images/big") as out:
            for size in pieces:
                out.write(DATA[:size])
        folder.write_sums()
    assert (target / "images/big").read_bytes() == data
    assert (target / SUMS).read_text() == f"{digest_of(data).removeprefix('sha256:')}  images/big\n"
