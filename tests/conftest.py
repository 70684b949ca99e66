"""Fixtures and marks for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.real.fixtures"]

WHOLE_BUILDS = (Path(__file__).parent / "build", Path(__file__).parent / "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the command line in processes of its own: seconds each, too long for `make test-unit`."""
    for item in items:
        if item.path.is_relative_to(WHOLE_BUILDS[0]) or item.path.is_relative_to(WHOLE_BUILDS[1]):
            item.add_marker("build")
