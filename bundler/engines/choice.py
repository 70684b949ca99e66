"""Which engine is used, and why."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from bundler.engines.daemon import connect
from bundler.engines.docker import DockerEngine
from bundler.engines.registry import RegistryEngine
from bundler.errors import DaemonFailedError, DaemonPermissionError, DaemonUnavailableError, EngineUnfitError

if TYPE_CHECKING:
    from bundler.engines.access import RegistryAccess
    from bundler.engines.daemon import Daemon, DaemonFacts
    from bundler.engines.distribution import Distribution
    from bundler.engines.engine import Engine
    from bundler.model.lock import LayerForm
    from bundler.model.recipe import EngineChoice
    from bundler.progress import Progress


def choose_engine(
    name: EngineChoice,
    distribution: Distribution,
    access: RegistryAccess,
    progress: Progress,
    *,
    layers: LayerForm,
    keep_images: bool,
) -> Engine:
    """Take the engine asked for; `auto` is Docker when a daemon answers, else the embedded registry client.

    Says what `auto` took and why; the caller closes it. Layers in the form `registry` need a daemon with the containerd
    image store, because the other stores unpack what they pull and lose the registry's bytes. When Docker was asked for
    by name, raises DaemonUnavailableError, DaemonPermissionError, DaemonFailedError or EngineUnfitError.
    """
    if name == "registry":
        return RegistryEngine(distribution)
    try:
        daemon, facts = _fit_daemon(layers)
    except (DaemonUnavailableError, DaemonPermissionError, DaemonFailedError, EngineUnfitError) as error:
        if name == "docker":
            raise
        progress.note(f"engine registry: {error.what}")
        return RegistryEngine(distribution)
    if name == "auto":
        progress.note(f"engine docker: Docker {facts.version} answers at {facts.address}")
    return DockerEngine(daemon, access, keep_images=keep_images)


def _fit_daemon(layers: LayerForm) -> tuple[Daemon, DaemonFacts]:
    with ExitStack() as unless_fit:
        daemon = connect()
        unless_fit.callback(daemon.close)
        facts = daemon.facts()
        if layers == "registry" and not facts.keeps_registry_bytes:
            raise registry_bytes_lost(facts)
        unless_fit.pop_all()
        return daemon, facts


def registry_bytes_lost(facts: DaemonFacts) -> EngineUnfitError:
    """Say why a daemon whose image store unpacks everything is of no use for layers in the form `registry`."""
    return EngineUnfitError(
        f"images.layers is registry, but Docker {facts.version} with its {facts.storage} image store unpacks what it "
        "pulls and has the registry's manifests and layers no more",
        hint='use --engine registry, or switch the daemon to the containerd image store ("containerd-snapshotter")',
    )
