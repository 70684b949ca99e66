"""Which images the Docker engine saves together, and that no layer is packed twice to see what it is."""

from __future__ import annotations

import io
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.engines.daemon import connect
from bundler.engines.docker import DockerEngine, grouped
from bundler.engines.intake import Intake
from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.model.digest import Digest, digest_of
from bundler.model.lock import LockedImage, LockedLayer
from bundler.progress import Silent, SilentTask
from bundler.store.store import open_store
from tests.engines.test_save_stream import COMPRESSOR, COREDNS, PAUSE, TWICE, locked, recorded
from tests.reach import through
from tests.recorded_daemon import OVERLAY2, RecordedDaemon

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model.lock import PackedLayer
    from bundler.progress import Task

SIZES = (1, 5, 20, 50, 120)


def image(number: int, layers: list[int]) -> LockedImage:
    """Make an image of layers that are told by their numbers."""
    name = digest_of(f"image {number}".encode())
    return LockedImage(
        reference=f"docker.io/some/image{number}:1",
        index=name,
        manifest=name,
        manifest_size=1,
        platform="linux/amd64",
        config=name,
        config_size=1,
        layers=tuple(
            LockedLayer(
                digest=digest_of(b"%d" % each),
                size=SIZES[each % len(SIZES)],
                media_type="",
                diff_id=digest_of(b"plain %d" % each),
            )
            for each in layers
        ),
    )


def size_of(images: tuple[LockedImage, ...]) -> int:
    return sum({layer.digest: layer.size for each in images for layer in each.layers}.values())


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=12), st.integers(0, 200), st.randoms())
def test_every_image_is_in_one_group_and_no_group_is_over_the_limit(
    layers: list[list[int]], limit: int, chance: st.DataObject
) -> None:
    images = [image(number, own) for number, own in enumerate(layers)]
    groups = grouped(images, limit)
    assert sorted(each.reference for group in groups for each in group) == sorted(each.reference for each in images)
    assert all(len(group) == 1 or (group and size_of(group) <= limit) for group in groups)
    shuffled = list(images)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert [size_of(group) for group in grouped(shuffled, limit)] == [size_of(group) for group in groups]


def test_images_on_one_base_are_together() -> None:
    base, other = 4, 9  # 120 bytes each
    images = [image(number, [base if number % 2 else other, number * 5]) for number in range(10)]
    groups = grouped(images, 130)
    assert len(groups) == 2
    assert all(len({each.layers[0].digest for each in group}) == 1 for group in groups)


class CountingIntake(Intake):
    """Counts how often the member of each diff_id, or of none that is wanted, was packed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(open_store(folder), COMPRESSOR)
        self.counted: Counter[Digest | None] = Counter()

    def pack(self, stream: BinaryIO, source: str, wanted: set[Digest], task: Task) -> PackedLayer | None:
        layer = super().pack(stream, source, wanted, task)
        self.counted[layer.diff_id if layer else None] += 1
        return layer


def test_layers_that_a_stream_showed_are_packed_once_though_their_names_say_nothing(tmp_path: Path) -> None:
    """Docker 20 names layers by something else than any digest of the lock; three images share one of theirs."""
    data = recorded("docker20-overlay2.names-arm64")
    images = [locked(name, "arm64") for name in (PAUSE, COREDNS, TWICE)]
    wanted = {layer.diff_id for each in images for layer in each.layers}
    intake, names = CountingIntake(tmp_path), MemberNames()
    for each in images:
        take_save_stream(io.BytesIO(data), [each], intake, "the engine", names, SilentTask())
    assert {diff_id: intake.counted[diff_id] for diff_id in wanted} == dict.fromkeys(wanted, 1)


@pytest.mark.parametrize(("jobs", "most"), [(1, 2), (3, 3)])
def test_the_engine_has_the_images_of_a_few_groups_at_a_time(
    jobs: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.engines.docker.SAVED_AT_ONCE", 1)
    images = [locked(name, "arm64") for name in (PAUSE, COREDNS, TWICE)]
    intake = Intake(open_store(tmp_path), COMPRESSOR)
    with RecordedDaemon(OVERLAY2, recorded("docker28-overlay2.names-arm64")) as daemon:
        monkeypatch.setenv("DOCKER_HOST", daemon.host)
        with closing(DockerEngine(connect(), through(), keep_images=False)) as engine:
            engine.pull(images, intake, jobs, Silent())
    assert not any(intake.lacks(each) for each in images)
    assert [len(names) for names in daemon.saved] == [1, 1, 1]
    assert daemon.most_at_once <= most
    assert sorted(daemon.removed) == sorted(daemon.pulled)
