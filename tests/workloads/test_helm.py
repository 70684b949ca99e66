"""What helm needs of this machine is told when it is not there; what it renders is for tests/build/test_charts.py."""

from __future__ import annotations

import resource
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bundler.errors import DiskFullError, HostError
from bundler.model.release import parse_release
from bundler.workloads.helm import render

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: the same error path as a full disk (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def rendered(helm: Path) -> bytes:
    return render(helm, bytes(100), "app", "default", b"{}", parse_release("v1.34.1+k3s1"))


def test_no_room_for_a_chart_is_told_with_its_place_and_the_way_to_another(temporary: Path) -> None:
    with pytest.raises(DiskFullError) as raised, room_for(8):
        rendered(Path("/bin/true"))
    assert str(temporary) in raised.value.what
    assert "TMPDIR" in raised.value.hint
    assert list(temporary.iterdir()) == []


def test_a_folder_for_temporary_files_that_went_away_is_told_likewise(temporary: Path) -> None:
    assert tempfile.gettempdir() == str(temporary)
    temporary.rmdir()
    with pytest.raises(HostError) as raised:
        rendered(Path("/bin/true"))
    assert str(temporary) in raised.value.what
    assert "TMPDIR" in raised.value.hint


def test_a_helm_that_cannot_be_run_is_not_taken_for_a_full_disk(temporary: Path) -> None:
    with pytest.raises(HostError) as raised:
        rendered(temporary)
    assert raised.value.what == f"{temporary} cannot be run: Permission denied"
    assert raised.value.hint == "install helm again"
