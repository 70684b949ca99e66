"""Fixtures and marks for all tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import settings

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["tests.real.fixtures"]

# What takes long is the machine: hypothesis gives an example 200 ms, which says nothing where several work at once.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

WHOLE_BUILDS = (Path(__file__).parent / "build", Path(__file__).parent / "cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts the command line in processes of its own: seconds each, too long for `make test-unit`."""
    for item in items:
        if item.path.is_relative_to(WHOLE_BUILDS[0]) or item.path.is_relative_to(WHOLE_BUILDS[1]):
            item.add_marker("build")
