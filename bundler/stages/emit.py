"""Everything of a bundle but its image archives: the binary, the installer, configuration, facts and checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import CacheDamagedError
from bundler.model.bundle import (
    FACTS,
    IMAGE_LIST,
    INSTALLER,
    LOCK,
    MANIFEST,
    README,
    Bundle,
    BundledArchive,
    BundledBinary,
    binary_path,
    facts_text,
)
from bundler.model.carried import manifest_path
from bundler.model.digest import digest_from_hex
from bundler.site.folder import PRIVATE, READABLE
from bundler.site.installer import install_script
from bundler.site.readme import readme_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.digest import Digest
    from bundler.model.lock import Lock, LockedArchitecture
    from bundler.progress import Progress
    from bundler.site.folder import BundleFolder
    from bundler.site.told import Told
    from bundler.store.store import Store

CHUNK = 1 << 20


def private_paths(told: Told, lock: Lock) -> frozenset[str]:
    """Name the files of a bundle, by their paths there, that may hold secrets: the builder alone can read them."""
    files = {file.path for file in lock.files if not int(file.mode, 8) & 0o044}
    manifests = {manifest_path(f"{chart.name}.yaml") for chart in lock.charts}
    # The lock has the manifests of charts, and with them whatever their values hold.
    return told.private | files | manifests | ({LOCK} if lock.charts else set())


def emit(
    told: Told,
    lock: Lock,
    archives: Sequence[BundledArchive],
    store: Store,
    folder: BundleFolder,
    progress: Progress,
) -> Bundle:
    """Write the rest of the bundle, SHA256SUMS last; raises CacheDamagedError and host errors."""
    modes = dict.fromkeys(private_paths(told, lock), PRIVATE)
    binaries = tuple(_copy_binary(each, store, folder, progress) for each in lock.architectures)
    for file in lock.files:
        mode = modes.get(file.path, READABLE)
        _copy(_Copy(file.source, file.digest, file.size, file.path, mode), store, folder, progress)
    for chart in lock.charts:
        path = manifest_path(f"{chart.name}.yaml")
        folder.write(path, chart.manifest.encode(), modes[path])
    image_list = lock.architectures[0].image_list
    _copy(_Copy(image_list.name, image_list.digest, image_list.size, IMAGE_LIST), store, folder, progress)
    bundle = Bundle(
        name=lock.name,
        release=lock.release,
        layers=lock.layers,
        binaries=binaries,
        archives=tuple(archives),
        files=lock.files,
        digest_names=lock.digest_names,
        asked=told.asked,
    )
    for path, text in told.files.items():
        folder.write(path, text, modes.get(path, READABLE))
    folder.write(INSTALLER, install_script())
    folder.write(README, readme_text(bundle))
    folder.write(FACTS, facts_text(bundle))
    folder.write(LOCK, lock.to_json(), modes.get(LOCK, READABLE))
    folder.write(MANIFEST, bundle.to_json())
    folder.write_sums()
    return bundle


def _copy_binary(
    architecture: LockedArchitecture, store: Store, folder: BundleFolder, progress: Progress
) -> BundledBinary:
    file, path = architecture.binary, binary_path(architecture.arch)
    _copy(_Copy(file.name, file.digest, file.size, path), store, folder, progress)
    return BundledBinary(path=path, arch=architecture.arch, digest=file.digest, size=file.size)


@dataclass(frozen=True)
class _Copy:
    """A file of the store, and where it goes; `name` is for people."""

    name: str
    digest: Digest
    size: int
    path: str
    mode: int = READABLE


def _copy(wanted: _Copy, store: Store, folder: BundleFolder, progress: Progress) -> None:
    seen = hashlib.sha256()
    progress.expect(wanted.size)
    with (
        store.open(wanted.digest) as source,
        folder.open(wanted.path, wanted.mode) as out,
        progress.task(wanted.path, wanted.size) as task,
    ):
        while chunk := source.read(CHUNK):
            seen.update(chunk)
            out.write(chunk)
            task.advance(len(chunk))
    if digest_from_hex(seen.hexdigest()) != wanted.digest:
        raise CacheDamagedError(
            f"{wanted.name} changed in the cache while it was being copied", hint="check the disk and build again"
        )
