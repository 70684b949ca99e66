"""The Docker engine: images through a daemon that answers, pulled by digest and saved as streams.

No tag of the user moves and nothing the user had is removed: what was there before stays, what was pulled for the
build goes again.
"""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from bundler.engines.distribution import endpoints_of
from bundler.engines.save_stream import take_save_stream
from bundler.errors import BundlerError
from bundler.model.reference import parse_reference
from bundler.store.pulled import left_by_dead_builds, note_pulled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bundler.engines.daemon import Daemon
    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage
    from bundler.progress import Progress, Task
    from bundler.store.pulled import PulledName
    from bundler.store.store import Store


class DockerEngine:
    """Pulls through a Docker daemon, of any version and with either image store."""

    name = "docker"

    def __init__(self, daemon: Daemon, mirrors: Mapping[str, Sequence[str]], *, keep_images: bool) -> None:
        self._daemon, self._mirrors, self._keep_images = daemon, mirrors, keep_images

    def pull(self, images: Sequence[LockedImage], intake: Intake, jobs: int, progress: Progress) -> None:
        """Bring each image once, several at a time. Pulls by digest do not race, whatever the architecture."""
        self._tidy(intake.store)
        # One config is one image, whatever it is called: a second pull could remove it while the first is saved.
        wanted = {image.config: image for image in images if intake.lacks(image)}
        layers = {layer.digest: layer.size for image in wanted.values() for layer in image.layers}
        progress.expect(sum(layers.values()))
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="pull")
        try:
            tasks = [pool.submit(self._bring, image, intake, progress) for image in wanted.values()]
            done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _bring(self, image: LockedImage, intake: Intake, progress: Progress) -> None:
        size = sum(layer.size for layer in image.layers)
        with (
            progress.task(image.reference, size) as task,
            self._at_hand(image, intake, task) as name,
            closing(self._daemon.save(name)) as stream,
            progress.task(f"{image.reference} save", None) as saving,
        ):
            take_save_stream(stream, [image], intake, f"the Docker daemon ({image.reference})", saving)

    def _tidy(self, store: Store) -> None:
        """Remove what builds that were killed left in the daemon."""
        for left in left_by_dead_builds(store, self._daemon.address):
            if not self._keep_images:
                self._daemon.remove(left.name)
            left.forget()

    @contextmanager
    def _at_hand(self, image: LockedImage, intake: Intake, task: Task) -> Iterator[str]:
        """Have the image in the daemon while the context lasts; gives the name to save it by."""
        if self._daemon.present(image.config):
            yield image.config  # the id in an overlay2 store: the user has it, under whatever name
            return
        pulled = self._pulled(image, intake.store, task)
        if isinstance(pulled, str):
            yield pulled
            return
        try:
            yield pulled.name
        finally:
            if not self._keep_images:
                self._daemon.remove(pulled.name)
            pulled.forget()

    def _pulled(self, image: LockedImage, store: Store, task: Task) -> PulledName | str:
        """Pull from the first endpoint that has the image; gives the bare name when the user has it already."""
        failures: list[BundlerError] = []
        for endpoint in endpoints_of(parse_reference(image.reference), self._mirrors):
            repository = f"{endpoint.registry}/{endpoint.repository}"
            name = f"{repository}@{image.manifest}"
            if self._daemon.present(name):
                return name
            pulled = note_pulled(store, self._daemon.address, name)
            try:
                self._pull(repository, image, task)
            except BaseException as error:
                pulled.forget()
                if not isinstance(error, BundlerError):
                    raise
                failures.append(error)
            else:
                return pulled
        told = "; then ".join(error.what for error in failures)
        raise type(failures[0])(f"{image.reference}: {told}", hint=failures[0].hint)

    def _pull(self, repository: str, image: LockedImage, task: Task) -> None:
        sizes = {layer.digest.removeprefix("sha256:")[:12]: layer.size for layer in image.layers}
        done = dict.fromkeys(sizes, 0)
        for event in self._daemon.pull(repository, image.manifest):
            if event.layer not in sizes:
                continue
            now = event.current if event.status == "Downloading" else done[event.layer]
            if event.status in {"Download complete", "Pull complete", "Already exists"}:
                now = sizes[event.layer]
            task.advance(now - done[event.layer])
            done[event.layer] = now
