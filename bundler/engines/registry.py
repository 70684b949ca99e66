"""The embedded engine: layers straight from their registries, no Docker needed."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

from bundler.engines.turns import Turns
from bundler.model.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundler.engines.distribution import Distribution
    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage, LockedLayer
    from bundler.progress import Progress


class RegistryEngine:
    """Pulls by digest through the OCI distribution protocol."""

    name = "registry"

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution

    def pull(self, images: Sequence[LockedImage], intake: Intake, jobs: int, progress: Progress) -> None:
        """Bring each config and each layer once, however many images share it.

        The biggest layers of a registry come first: one that came last would keep a single core busy while the others
        wait. Registries share the transfers evenly, small ones too.
        """
        configs = {image.config: image for image in images if not intake.store.has(image.config)}
        manifests = {image.manifest: image for image in images if intake.lacks_manifest(image)}
        wanted = {
            (intake.names(layer)[-1], layer.diff_id): (image, layer)
            for image in images
            for layer in image.layers
            if not intake.stored(layer)
        }
        layers = sorted(wanted.values(), key=lambda each: -each[1].size)
        progress.expect(sum(layer.size for _, layer in layers))
        work = [(image, partial(self._bring_config, image, intake)) for image in configs.values()]
        work += [(image, partial(self._bring_manifest, image, intake)) for image in manifests.values()]
        work += [(image, partial(self._bring, image, layer, intake, progress)) for image, layer in layers]
        turns: Turns[Callable[[], None]] = Turns(
            (parse_reference(image.reference).registry, bring) for image, bring in work
        )
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="pull")
        try:
            tasks = [pool.submit(_take_turn, turns) for _ in work]
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def close(self) -> None:
        """Do nothing: the session belongs to the caller."""

    def _bring_config(self, image: LockedImage, intake: Intake) -> None:
        body = self._distribution.config(parse_reference(image.reference), image.config)
        intake.take_config(body, image.config, image.reference)

    def _bring_manifest(self, image: LockedImage, intake: Intake) -> None:
        raw = self._distribution.manifest(parse_reference(image.reference), image.manifest)
        intake.take_manifest(raw.body, image, image.reference)

    def _bring(self, image: LockedImage, layer: LockedLayer, intake: Intake, progress: Progress) -> None:
        title = f"{image.reference} {layer.digest[7:19]}"
        with intake.store.partial(layer.digest) as part, progress.task(title, layer.size) as task:
            if intake.stored(layer):  # another process may have brought it while this one waited
                return
            self._distribution.blob(parse_reference(image.reference), layer.digest, layer.size, part, task)
            with progress.task(f"{title} pack", None) as packing:
                intake.take_part(part, layer, image.reference, packing)


def _take_turn(turns: Turns[Callable[[], None]]) -> None:
    with turns.turn() as bring:
        bring()
