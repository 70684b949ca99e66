"""A bundle, a scratch root and a reduced PATH for tests of the installer."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.site.bundles import SHELLS, Site, build_bundle, command_directory, make_root

if TYPE_CHECKING:
    from pathlib import Path


def missing(reason: str) -> None:
    """Skip with `reason`; under CI=true a missing tool is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(params=sorted(SHELLS))
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    words = tuple(SHELLS[str(request.param)])
    if not shutil.which(words[0]):
        missing(f"{words[0]} is not installed")
    return words


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_bundle(tmp_path / "bundle")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(make_root(tmp_path / "root"), command_directory(tmp_path / "bin"))


@pytest.fixture
def every_site(tmp_path: Path, shell: tuple[str, ...]) -> Site:
    """Run under each shell; busybox ash with busybox commands."""
    path = command_directory(tmp_path / "bin", busybox=shell[0] == "busybox")
    return Site(make_root(tmp_path / "root"), path, shell)
