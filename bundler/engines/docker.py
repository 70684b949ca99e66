"""The Docker engine: images through a daemon that answers, pulled by digest and saved as streams.

No tag of the user moves and nothing the user had is removed: what was there before stays, what was pulled for the
build goes again.
"""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bundler.engines.save_stream import MemberNames, take_save_stream
from bundler.errors import BundlerError
from bundler.model.reference import parse_reference
from bundler.store.pulled import left_by_dead_builds, note_pulled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future

    from bundler.engines.access import Endpoint, RegistryAccess
    from bundler.engines.daemon import Daemon
    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage
    from bundler.progress import Progress, Task
    from bundler.store.pulled import PulledName
    from bundler.store.store import Store


SAVED_AT_ONCE = 256 << 20
"""Bytes of layers, as downloaded, that one save may hold: the engine first writes all, unpacked, to its own disk."""


class DockerEngine:
    """Pulls through a Docker daemon, of any version and with either image store."""

    name = "docker"

    def __init__(self, daemon: Daemon, access: RegistryAccess, *, keep_images: bool) -> None:
        self._daemon, self._access, self._keep_images = daemon, access, keep_images

    def pull(self, images: Sequence[LockedImage], intake: Intake, jobs: int, progress: Progress) -> None:
        """Bring each image once, several at a time. Pulls by digest do not race, whatever the architecture.

        Images are saved in groups, each when its images are there, while those of the next ones are still being pulled.
        Of `jobs` groups and the next one the engine has the images at a time, not of all.
        """
        self.tidy(intake.store)
        # One config is one image, whatever it is called: a second pull could remove it while the first is saved.
        wanted = {image.config: image for image in images if intake.lacks(image)}
        layers = {layer.digest: layer.size for image in wanted.values() for layer in image.layers}
        progress.expect(sum(layers.values()))
        names = MemberNames()
        pulls = ThreadPoolExecutor(jobs, thread_name_prefix="pull")
        saves = ThreadPoolExecutor(jobs, thread_name_prefix="save")
        pulled: list[Future[_Held]] = []
        waiting: set[Future[None]] = set()
        try:
            for group in grouped(list(wanted.values()), min(SAVED_AT_ONCE, sum(layers.values()) // jobs)):
                if len(waiting) > jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    _raise_first(done)
                own = [pulls.submit(self._have, image, intake.store, progress) for image in group]
                pulled += own
                waiting.add(saves.submit(self._save, group, own, intake, names, progress))
            done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
            _raise_first(done)
        finally:
            pulls.shutdown(cancel_futures=True)
            saves.shutdown(cancel_futures=True)
            for held in pulled:
                if not held.cancelled() and not held.exception():
                    self._let_go(held.result())

    def _save(
        self,
        images: Sequence[LockedImage],
        pulled: Sequence[Future[_Held]],
        intake: Intake,
        names: MemberNames,
        progress: Progress,
    ) -> None:
        held = [each.result() for each in pulled]
        title = images[0].reference + (f" and {len(images) - 1} more" if len(images) > 1 else "")
        with (
            closing(self._daemon.save([each.name for each in held])) as stream,
            progress.task(f"{title} save", None) as saving,
        ):
            take_save_stream(stream, images, intake, f"the Docker daemon ({title})", names, saving)
        for each in held:
            self._let_go(each)

    def close(self) -> None:
        """Let go of the connections to the daemon."""
        self._daemon.close()

    def tidy(self, store: Store) -> None:
        """Remove what builds that were killed left in the daemon; what is in use still is left to the next run."""
        for left in left_by_dead_builds(store, self._daemon.address):
            if self._keep_images or self._daemon.remove(left.name):
                left.forget()

    @contextmanager
    def at_hand(self, image: LockedImage, store: Store, progress: Progress) -> Iterator[str]:
        """Have an image in the daemon while the context lasts; gives a name for it there."""
        held = self._have(image, store, progress)
        try:
            yield held.name
        finally:
            self._let_go(held)

    def _let_go(self, held: _Held) -> None:
        """Remove an image that was pulled for this build; once, for another build may pull it next."""
        with held.lock:
            pulled, held.pulled = held.pulled, None
        if pulled and (self._keep_images or self._daemon.remove(pulled.name)):
            pulled.forget()

    def _have(self, image: LockedImage, store: Store, progress: Progress) -> _Held:
        """Have the image in the daemon, pulled if it is not there."""
        with progress.task(image.reference, sum(layer.size for layer in image.layers)) as task:
            if self._daemon.present(image.config):
                return _Held(image.config)  # the id in an overlay2 store: the user has it, under whatever name
            pulled = self._pulled(image, store, task)
            return _Held(pulled) if isinstance(pulled, str) else _Held(pulled.name, pulled)

    def _pulled(self, image: LockedImage, store: Store, task: Task) -> PulledName | str:
        """Pull from the first endpoint that has the image; gives the bare name when the user has it already."""
        failures: list[BundlerError] = []
        for endpoint in self._access.endpoints(parse_reference(image.reference)):
            repository = f"{endpoint.registry}/{endpoint.repository}"
            name = f"{repository}@{image.manifest}"
            if self._daemon.present(name):
                return name
            pulled = note_pulled(store, self._daemon.address, name)
            try:
                self._pull(endpoint, image, task)
            except BaseException as error:
                pulled.forget()
                if not isinstance(error, BundlerError):
                    raise
                failures.append(error)
            else:
                return pulled
        told = "; then ".join(error.what for error in failures)
        raise type(failures[0])(f"{image.reference}: {told}", hint=failures[0].hint)

    def _pull(self, endpoint: Endpoint, image: LockedImage, task: Task) -> None:
        sizes = {layer.digest.removeprefix("sha256:")[:12]: layer.size for layer in image.layers}
        done = dict.fromkeys(sizes, 0)
        repository = f"{endpoint.registry}/{endpoint.repository}"
        for event in self._daemon.pull(repository, image.manifest, self._access.own_credentials(endpoint.registry)):
            if event.layer not in sizes:
                continue
            now = event.current if event.status == "Downloading" else done[event.layer]
            if event.status in {"Download complete", "Pull complete", "Already exists"}:
                now = sizes[event.layer]
            task.advance(now - done[event.layer])
            done[event.layer] = now


@dataclass
class _Held:
    """An image in the daemon by the `name` to save it by; `pulled`, if this build brought it, until it is let go."""

    name: str
    pulled: PulledName | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def _raise_first(done: Iterable[Future[None]]) -> None:
    for task in done:
        task.result()


def grouped(images: Sequence[LockedImage], limit: int) -> list[tuple[LockedImage, ...]]:
    """Put images that share layers into groups with at most `limit` bytes of layers, or one image if that has more.

    A layer that several images of a group share counts once: the engine writes it once for each save.
    """
    groups: list[list[LockedImage]] = []
    inside: dict[str, int] = {}
    for image in sorted(images, key=lambda each: [layer.diff_id for layer in each.layers]):
        inside |= {layer.digest: layer.size for layer in image.layers}
        if not groups or sum(inside.values()) > limit:
            groups.append([])
            inside = {layer.digest: layer.size for layer in image.layers}
        groups[-1].append(image)
    return [tuple(group) for group in groups]
