from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.build.workshop import Workshop
from tests.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def workshop(tmp_path: Path, upstream: Upstream) -> Workshop:
    return Workshop(tmp_path / "workshop", upstream)
