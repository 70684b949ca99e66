"""pytest fixtures and the `requires` marker over the real components.

`@pytest.mark.requires("podman")` names Debian packages a test needs. They are installed when that is possible;
otherwise the test is skipped with the reason, and under CI=true it fails. Fixtures here ask for their own packages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.real.authority import Authority, create_authority
from tests.real.busybox import busybox_programs
from tests.real.containerd import Containerd
from tests.real.docker_engine import DockerEngine
from tests.real.images import ImageSet, build_images
from tests.real.packages import PackagesUnavailableError, install
from tests.real.publish import publish, publish_missing_layer
from tests.real.readers import Podman, Skopeo
from tests.real.registry import Registry
from tests.real.release_server import ReleaseServer
from tests.real.releases import Era, release_tree, write_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bundler.model.platform import Architecture

pytest_plugins = ["pytester"]

_FIXTURES = frozenset(
    {
        "busybox",
        "images",
        "registry",
        "empty_registry",
        "docker_engine",
        "containerd",
        "podman",
        "skopeo",
        "release_server",
    }
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "requires(*packages): Debian packages the test needs; see tests/real/packages.py"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test of a real component the marker `real`, so nobody has to think of it."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if item.get_closest_marker("requires") or not _FIXTURES.isdisjoint(names):
            item.add_marker("real")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Install what the marker names."""
    for marker in item.iter_markers("requires"):
        _require(item.config, marker.args)


def _require(config: pytest.Config, packages: tuple[str, ...]) -> None:
    def say(line: str) -> None:
        capture = config.pluginmanager.getplugin("capturemanager")
        reporter = config.pluginmanager.getplugin("terminalreporter")
        if capture and reporter:
            with capture.global_and_fixture_disabled():
                reporter.write_line(f"\n{line}")

    try:
        install(packages, say)
    except PackagesUnavailableError as error:
        _absent(str(error))


def _absent(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"a real component is missing under CI=true: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require(pytestconfig: pytest.Config) -> Callable[..., None]:
    """`require("skopeo")` inside a fixture or test: install, or skip with the reason."""
    return lambda *packages: _require(pytestconfig, packages)


@pytest.fixture(scope="session")
def busybox() -> Mapping[Architecture, Path]:
    """A real static program for each architecture."""
    try:
        return busybox_programs()
    except PackagesUnavailableError as error:
        _absent(str(error))


@pytest.fixture(scope="session")
def images(busybox: Mapping[Architecture, Path]) -> ImageSet:
    """Every test image, built once."""
    return build_images(busybox)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A private certificate authority."""
    return create_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def registry(
    require: Callable[..., None], images: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A registry that holds the whole image set, shared by the session: read only."""
    require(*Registry.PACKAGES)
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        publish(registry, images.k3s)
        publish(registry, [images.zstd_layers, images.single_platform, images.without_arm64, images.lying])
        publish_missing_layer(registry, images.missing_layer, "arm64")
        yield registry


@pytest.fixture
def empty_registry(require: Callable[..., None], tmp_path: Path) -> Iterator[Registry]:
    """A registry of one's own."""
    require(*Registry.PACKAGES)
    directory = tmp_path / "registry"
    directory.mkdir()
    with Registry(directory) as registry:
        yield registry


@pytest.fixture
def docker_engine(require: Callable[..., None], tmp_path: Path) -> Iterator[DockerEngine]:
    """A private Docker Engine without images."""
    require(*DockerEngine.PACKAGES)
    directory = tmp_path / "docker"
    directory.mkdir()
    with DockerEngine(directory) as engine:
        yield engine


@pytest.fixture
def containerd(require: Callable[..., None], tmp_path: Path) -> Iterator[Containerd]:
    """A private containerd without images."""
    require(*Containerd.PACKAGES)
    directory = tmp_path / "containerd"
    directory.mkdir()
    with Containerd(directory) as containerd:
        yield containerd


@pytest.fixture
def podman(require: Callable[..., None], tmp_path: Path) -> Iterator[Podman]:
    """Podman with storage of its own."""
    require(*Podman.PACKAGES)
    directory = tmp_path / "podman"
    directory.mkdir()
    with Podman(directory) as podman:
        yield podman


@pytest.fixture
def skopeo(require: Callable[..., None], tmp_path: Path) -> Skopeo:
    """Skopeo with folders of its own."""
    require(*Skopeo.PACKAGES)
    directory = tmp_path / "skopeo"
    directory.mkdir()
    return Skopeo(directory)


@pytest.fixture(scope="session")
def releases(busybox: Mapping[Architecture, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two releases, one of each checksum era, and the channel server's answer: read only."""
    directory = tmp_path_factory.mktemp("releases")
    release_tree(directory, "v1.34.1+k3s1", Era.GITHUB, busybox)
    release_tree(directory, "v1.30.0+k3s1", Era.DRONE, busybox)
    write_channels(
        directory,
        {"stable": "v1.34.1+k3s1", "latest": "v1.34.1+k3s1", "v1.34": "v1.34.1+k3s1", "v1.30": "v1.30.0+k3s1"},
    )
    return directory


@pytest.fixture
def release_server(require: Callable[..., None], releases: Path, tmp_path: Path) -> Iterator[ReleaseServer]:
    """nginx over `releases`, with an access log of its own."""
    require(*ReleaseServer.PACKAGES)
    directory = tmp_path / "nginx"
    directory.mkdir()
    with ReleaseServer(directory, releases) as server:
        yield server
