"""A command line whose releases and registry are on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import command_for
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.command import CommandLine


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> CommandLine:
    return command_for(tmp_path / "builder", upstream)
