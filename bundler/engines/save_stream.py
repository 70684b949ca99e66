"""Reads what `docker save` writes, whatever Docker wrote it.

Layouts differ (Docker to 24, from 25, containerd image store) and change; bytes do not. So nothing is believed but
content: a member is a config or a layer of the lock when its bytes have the digest the lock says. Symbolic links of
the old layout are passed over, for what they point to is in the same archive.
"""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from bundler.archive import tar
from bundler.errors import IncompleteImageError
from bundler.model.digest import Digest, digest_from_hex, digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage, LockedLayer
    from bundler.progress import Task

_NAMED_BY_DIGEST = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json|\.tar)?")


_LAYER_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_LARGEST_CONFIG = 16 << 20  # bytes


class MemberNames:
    """What the layers in the streams of one daemon are, by the names of their members.

    Docker to 24 names a layer by something the lock does not know, but always by the same: what one stream showed
    spares the next one packing it to see what it is. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._diff_ids: dict[str, Digest] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self, name: str) -> Iterator[Digest | None]:
        """Have a member to oneself, so that no two streams pack it at a time; gives its diff_id if it is known."""
        with self._lock:
            own = self._locks.setdefault(name, threading.Lock())
        with own:
            yield self._diff_ids.get(name)

    def learn(self, name: str, diff_id: Digest) -> None:
        """Note what the member `name` is."""
        self._diff_ids[name] = diff_id


def take_save_stream(
    stream: BinaryIO, images: Sequence[LockedImage], intake: Intake, source: str, names: MemberNames, task: Task
) -> None:
    """Bring the configs and layers of `images` from one `docker save` into `intake`.

    Raises IncompleteImageError when something of them is not in the stream, ArchiveError when it is cut short.
    """
    configs = {image.config for image in images}
    # A containerd store keeps layers as the registry has them, named by their compressed digest.
    layers = {name: layer for image in images for layer in image.layers for name in intake.names(layer)}
    manifests = {image.manifest: image for image in images if intake.lacks_manifest(image)}
    for member in tar.members(stream, source):
        if not member.regular or member.content is None:
            continue
        digest = _digest_in(member.name)
        if digest in manifests:
            intake.take_manifest(member.content.read(), manifests[digest], source)
        elif digest in layers:
            with names.alone(member.name):
                if intake.stored(layers[digest]) is None:
                    intake.take(member.content, layers[digest], source, task)
        elif digest in configs or member.name.endswith(".json"):
            _take_config(member.content, digest, configs, intake, source)
        elif member.name.endswith(_LAYER_SUFFIXES):
            with names.alone(member.name) as known:
                _take_by_content(member, known, layers.values(), intake, source, names, task)
    for image in images:
        _require_whole(image, intake, source)


def _take_config(
    content: BinaryIO, digest: Digest | None, configs: Collection[Digest], intake: Intake, source: str
) -> None:
    """Take a config by its name, or one that has a name of any kind when its bytes turn out to be wanted."""
    data = content.read(_LARGEST_CONFIG)
    wanted = digest if digest and digest in configs else digest_of(data)
    if wanted in configs:
        intake.take_config(data, wanted, source)


def _take_by_content(
    member: tar.Member,
    known: Digest | None,
    layers: Collection[LockedLayer],
    intake: Intake,
    source: str,
    names: MemberNames,
    task: Task,
) -> None:
    """Take a layer that has a name of any kind, when its bytes turn out to be wanted."""
    stored = {layer.diff_id: intake.stored(layer) is not None for layer in layers}
    if all(stored.values()) or (known and stored.get(known, True)):
        return
    packed = intake.pack(cast("BinaryIO", member.content), source, set(stored), task)
    if packed:
        names.learn(member.name, packed.diff_id)


def _digest_in(name: str) -> Digest | None:
    match = _NAMED_BY_DIGEST.fullmatch(name)
    return digest_from_hex(match[1]) if match else None


def _require_whole(image: LockedImage, intake: Intake, source: str) -> None:
    missing = [intake.names(layer)[-1] for layer in image.layers if intake.stored(layer) is None]
    if intake.lacks_manifest(image):
        missing.insert(0, image.manifest)
    if not intake.store.has(image.config):
        missing.insert(0, image.config)
    if missing:
        raise IncompleteImageError(
            f"{source} saved {image.reference} for {image.platform} without {', '.join(missing)}",
            hint="the daemon's image store is incomplete: remove the image there, or use --engine registry",
        )
