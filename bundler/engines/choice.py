"""Which engine is used, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.engines.daemon import connect
from bundler.engines.docker import DockerEngine
from bundler.engines.registry import RegistryEngine
from bundler.errors import DaemonPermissionError, DaemonUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bundler.engines.distribution import Distribution
    from bundler.engines.engine import Engine
    from bundler.model.recipe import EngineChoice
    from bundler.progress import Progress


def choose_engine(
    name: EngineChoice,
    distribution: Distribution,
    mirrors: Mapping[str, Sequence[str]],
    progress: Progress,
    *,
    keep_images: bool,
) -> Engine:
    """Take the engine asked for; `auto` is Docker when a daemon answers, else the embedded registry client.

    Raises DaemonUnavailableError or DaemonPermissionError when Docker was asked for by name.
    """
    if name == "registry":
        return RegistryEngine(distribution)
    try:
        return DockerEngine(connect(), mirrors, keep_images=keep_images)
    except (DaemonUnavailableError, DaemonPermissionError) as error:
        if name == "docker":
            raise
        progress.note(f"engine registry: {error.what}")
        return RegistryEngine(distribution)
