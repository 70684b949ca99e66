"""Reads what `docker save` writes, whatever Docker wrote it.

Layouts differ (Docker to 24, from 25, containerd image store) and change; bytes do not. So nothing is believed but
content: a member is a config or a layer of the lock when its bytes have the digest the lock says. Symbolic links of
the old layout are passed over, for what they point to is in the same archive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO

from bundler.archive import tar
from bundler.errors import IncompleteImageError
from bundler.model.digest import Digest, digest_from_hex, digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage, LockedLayer
    from bundler.progress import Task

_NAMED_BY_DIGEST = re.compile(r"(?:.*/)?([0-9a-f]{64})(?:\.json|\.tar)?")


_LAYER_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
_LARGEST_CONFIG = 16 << 20  # bytes


def take_save_stream(stream: BinaryIO, images: Sequence[LockedImage], intake: Intake, source: str, task: Task) -> None:
    """Bring the configs and layers of `images` from one `docker save` into `intake`.

    Raises IncompleteImageError when something of them is not in the stream, ArchiveError when it is cut short.
    """
    configs = {image.config: image for image in images}
    # A containerd store keeps layers as the registry has them, named by their compressed digest.
    layers = {name: layer for image in images for layer in image.layers for name in intake.names(layer)}
    manifests = {image.manifest: image for image in images if intake.lacks_manifest(image)}
    for member in tar.members(stream, source):
        if not member.regular or member.content is None:
            continue
        digest = _digest_in(member.name)
        if digest in configs:
            intake.take_config(member.content.read(), digest, source)
        elif digest in manifests:
            intake.take_manifest(member.content.read(), manifests[digest], source)
        elif digest in layers:
            if intake.stored(layers[digest]) is None:
                intake.take(member.content, layers[digest], source, task)
        else:
            _take_by_content(member.name, member.content, configs.keys(), layers.values(), intake, source, task)
    for image in images:
        _require_whole(image, intake, source)


def _take_by_content(
    name: str,
    content: BinaryIO,
    configs: Collection[Digest],
    layers: Collection[LockedLayer],
    intake: Intake,
    source: str,
    task: Task,
) -> None:
    """Take what has a name of any kind, when its bytes turn out to be wanted."""
    if name.endswith(".json"):
        data = content.read(_LARGEST_CONFIG)
        if digest_of(data) in configs:
            intake.take_config(data, digest_of(data), source)
    elif name.endswith(_LAYER_SUFFIXES):
        missing = {layer.diff_id for layer in layers if intake.stored(layer) is None}
        if missing:
            intake.pack(content, source, missing, task)


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
