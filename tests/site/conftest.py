"""A bundle, a scratch root and a reduced PATH for tests of the installer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.real.packages import PackagesUnavailableError, install
from tests.site.bundles import SHELLS, Site, build_bundle, command_directory, make_root

if TYPE_CHECKING:
    from pathlib import Path


SHELL_PACKAGES = {"busybox": ("busybox-static",), "mksh": ("mksh",), "yash": ("yash",)}


def unavailable(reason: str) -> NoReturn:
    """Skip with `reason`; under CI=true what is missing is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def require(*packages: str, root: bool = False) -> None:
    """Install what is missing of the Debian packages a test needs; skip with the reason where that cannot be."""
    if root and os.geteuid() != 0:
        unavailable("needs root")
    try:
        install(packages, print)
    except PackagesUnavailableError as error:
        unavailable(str(error))


# One shell shows in seconds what the others show in minutes.
@pytest.fixture(params=["dash", *(pytest.param(name, marks=pytest.mark.site) for name in SHELLS if name != "dash")])
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    require(*SHELL_PACKAGES.get(str(request.param), ()))
    return tuple(SHELLS[str(request.param)])


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
