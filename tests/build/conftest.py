from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.command import CommandLine
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def command(tmp_path: Path, upstream: Upstream) -> CommandLine:
    """The command line with the local upstream and the embedded engine."""
    return command_for(tmp_path / "builder", upstream)


def command_for(folder: Path, upstream: Upstream) -> CommandLine:
    """The command line in `folder`, which is made, against one upstream."""
    folder.mkdir()
    return CommandLine(folder, upstream.releases_url, upstream.channels_url, upstream.url)
