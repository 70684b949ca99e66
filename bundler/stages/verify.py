"""Opens a bundle with nothing but what the site will have, and says everything that is wrong with it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from bundler.archive.check import ArchivedImage, check_archive
from bundler.archive.hashed import HashedFile
from bundler.archive.layout import PLAIN_LAYER_TYPE, ZSTD_LAYER_TYPE
from bundler.archive.unpack import unpack_archive
from bundler.errors import ArchiveError, BundleDamagedError, LockMalformedError, host_error
from bundler.model.bundle import (
    ARCHIVES,
    FACTS,
    LOCK,
    MANIFEST,
    Bundle,
    BundledArchive,
    BundledImage,
    facts_text,
    no_bundle,
    read_bundle,
)
from bundler.model.carried import manifest_path
from bundler.model.digest import digest_of, hex_of
from bundler.model.lock import LayerForm, Lock, LockedArchitecture, parse_lock
from bundler.model.platform import ELF_MACHINE, Platform, rank
from bundler.site.folder import SUMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from concurrent.futures import Executor
    from pathlib import Path

    from bundler.model.platform import Architecture
    from bundler.progress import Progress

_SUM = re.compile(r"([0-9a-f]{64})  (\S[^\0\r\n]*)")
_NOT_IN_SUMS = frozenset({SUMS, f"{SUMS}.sig"})
_LAYER_TYPE: dict[LayerForm, str] = {"zstd": ZSTD_LAYER_TYPE, "plain": PLAIN_LAYER_TYPE}
_SMALL = 64 << 20  # bytes of a JSON file in a bundle


@dataclass(frozen=True)
class _File:
    """A file as it was read: its SHA-256 in hex, or why there is none; the images in it, or what is wrong with them."""

    seen: str
    images: tuple[ArchivedImage, ...] = ()
    fault: str = ""


def verify(folder: Path, jobs: int, progress: Progress) -> Bundle:
    """Check a bundle: every checksum, no file extra or missing, every image whole and of the right architecture.

    Every byte is read once, and no layer unpacked. Gives what `bundle.json` says. Raises NotABundleError, or
    BundleDamagedError with every finding.
    """
    bundle, _ = _verified(folder, jobs, progress)
    return bundle


def verify_unpacked(folder: Path, jobs: int, progress: Progress) -> Bundle:
    """Check as `verify` does, then unpack every layer and compare it with its image's config; raises as `verify`."""
    bundle, files = _verified(folder, jobs, progress)
    paths = [archive.path for archive in bundle.archives]
    with ThreadPoolExecutor(jobs, thread_name_prefix="unpack") as pool:
        faults = pool.map(lambda path: _unpack(folder, path, files[path].images, progress), paths)
        _require(folder, [fault for fault in faults if fault])
    return bundle


def _verified(folder: Path, jobs: int, progress: Progress) -> tuple[Bundle, Mapping[str, _File]]:
    for name in (MANIFEST, LOCK):
        _read(folder, name)
    # Hashes come first: what a file says matters only once its bytes are those that were written.
    sums, findings = _check_names(folder)
    files = _read_files(folder, sums, jobs, progress)
    for name, file in files.items():
        if file.seen != sums[name]:
            findings.append(f"{name}: its SHA-256 is {file.seen[:16]}…, {SUMS} says {sums[name][:16]}…")
    _require(folder, findings)
    bundle = read_bundle(folder)
    try:
        lock = parse_lock(_read(folder, LOCK), LOCK)
    except LockMalformedError as error:
        raise _damaged(folder, [error.what]) from None
    _require(folder, _check_content(folder, bundle, lock, files))
    return bundle, files


def _require(folder: Path, findings: Iterable[str]) -> None:
    found = list(findings)
    if found:
        raise _damaged(folder, found)


def _damaged(folder: Path, findings: list[str]) -> BundleDamagedError:
    lines = "".join(f"\n  {finding}" for finding in findings)
    return BundleDamagedError(
        f"{folder} is damaged:{lines}", hint="copy it again from where it was built, or build it again"
    )


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        with path.open("rb") as file:
            return file.read(_SMALL)
    except (FileNotFoundError, NotADirectoryError):
        raise no_bundle(folder, name) from None
    except OSError as error:
        raise host_error(error, path) from error


def _check_names(folder: Path) -> tuple[dict[str, str], list[str]]:
    """Read SHA256SUMS and compare its names with the files that are there; gives its sums, and what is wrong."""
    sums: dict[str, str] = {}
    findings = []
    text = _read(folder, SUMS).decode("utf-8", "replace")
    # Not splitlines: a line that ends as on Windows is one that sha256sum at the site may not read.
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _SUM.fullmatch(line)
        if not match or not _is_inside(match[2]) or match[2] in sums:
            findings.append(f"{SUMS}:{number}: not a checksum of a file in the bundle, or its second one")
            continue
        sums[match[2]] = match[1]
    present = set(_walk(folder))
    findings += [f"{name}: no regular file" for name in sorted(present) if not _is_regular(folder / name)]
    findings += [f"{name}: missing" for name in sorted(sums.keys() - present)]
    findings += [f"{name}: does not belong to the bundle" for name in sorted(present - sums.keys() - _NOT_IN_SUMS)]
    return sums, findings


def _read_files(folder: Path, sums: Mapping[str, str], jobs: int, progress: Progress) -> dict[str, _File]:
    """Read every file of `sums` that is there once."""
    sizes = {name: (folder / name).stat().st_size for name in sorted(sums) if _is_regular(folder / name)}
    progress.expect(sum(sizes.values()))
    with (
        ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool,
        ThreadPoolExecutor(jobs, thread_name_prefix="hash") as beside,
    ):
        return dict(
            zip(
                sizes,
                pool.map(lambda name: _read_file(folder, name, sizes[name], beside, progress), sizes),
                strict=True,
            )
        )


def _walk(folder: Path) -> Iterator[str]:
    """List everything that is no folder: a link to a folder is something, not a folder."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _is_regular(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_inside(name: str) -> bool:
    return not name.startswith("/") and not {"", ".", ".."} & set(name.split("/"))


def _read_file(folder: Path, name: str, size: int, beside: Executor, progress: Progress) -> _File:
    path = folder / name
    images: tuple[ArchivedImage, ...] = ()
    fault = ""
    try:
        with path.open("rb") as opened, progress.task(name, size) as task:
            file = HashedFile(opened, beside, task)
            if name.startswith(ARCHIVES):
                try:
                    images = check_archive(cast("BinaryIO", file), path.name)
                except ArchiveError as error:
                    fault = error.what
            return _File(hex_of(file.finish()), images, fault)
    except OSError as error:
        return _File(f"unreadable ({error.strerror})")


def _unpack(folder: Path, name: str, images: tuple[ArchivedImage, ...], progress: Progress) -> str | None:
    """Say what is wrong with the layers of an archive."""
    path = folder / name
    try:
        with path.open("rb") as file, progress.task(f"{name} layers", None):
            unpack_archive(file, path.name, images)
    except ArchiveError as error:
        return error.what
    except OSError as error:
        return f"{name}: unreadable ({error.strerror})"
    return None


def _check_content(folder: Path, bundle: Bundle, lock: Lock, files: Mapping[str, _File]) -> Iterator[str]:
    if (bundle.name, bundle.release, bundle.layers) != (lock.name, lock.release, lock.layers):
        yield f"{MANIFEST} and {LOCK} are of different bundles"
    if _read(folder, FACTS) != facts_text(bundle):
        yield f"{FACTS} does not say what {MANIFEST} says"
    if [binary.arch for binary in bundle.binaries] != [each.arch for each in lock.architectures]:
        yield f"{MANIFEST} and {LOCK} are for different architectures"
        return
    yield from _check_carried(bundle, lock, files)
    for archive in bundle.archives:
        if archive.arch not in {binary.arch for binary in bundle.binaries}:
            yield f"{archive.path} is for {archive.arch}, and the bundle is not"
    for binary, each in zip(bundle.binaries, lock.architectures, strict=True):
        seen = files[binary.path].seen if binary.path in files else None
        if (binary.digest, binary.size) != (each.binary.digest, each.binary.size) or seen != hex_of(binary.digest):
            yield f"{binary.path} is not the binary that was locked"
        if seen is not None and _elf_machine(folder / binary.path) != ELF_MACHINE[binary.arch]:
            yield f"{binary.path} is no program for {binary.arch}"
        archives = [archive for archive in bundle.archives if archive.arch == each.arch]
        yield from _check_archives(files, archives, each, bundle.layers)


def _check_carried(bundle: Bundle, lock: Lock, files: Mapping[str, _File]) -> Iterator[str]:
    if bundle.files != lock.files:
        yield f"{MANIFEST} and {LOCK} name different files"
    if bundle.digest_names != lock.digest_names:
        yield f"{MANIFEST} and {LOCK} differ in whether nodes know images by digest"
    for chart in lock.charts:
        path = manifest_path(f"{chart.name}.yaml")
        if path not in files or files[path].seen != hex_of(digest_of(chart.manifest.encode())):
            yield f"{path} is not the manifest that was locked for the chart {chart.name}"
    for file in lock.files:
        if file.path not in files or files[file.path].seen != hex_of(file.digest):
            yield f"{file.path} is not the file that was locked"


def _elf_machine(path: Path) -> int | None:
    """Read e_machine of an ELF header (System V ABI, little endian as on all our architectures)."""
    with path.open("rb") as file:
        start = file.read(20)
    return int.from_bytes(start[18:20], "little") if len(start) == 20 and start.startswith(b"\x7fELF") else None


def _check_archives(
    files: Mapping[str, _File], archives: list[BundledArchive], locked: LockedArchitecture, form: LayerForm
) -> Iterator[str]:
    found: set[tuple[str, str]] = set()
    for archive in archives:
        file = files.get(archive.path)
        if file is None or file.fault:
            yield file.fault if file else f"{archive.path} is no image archive of the bundle"
            continue
        yield from _compare(archive, file.images)
        yield from _check_form(archive, file.images, form)
        found |= {(image.name, image.config) for image in file.images}
    for image in locked.images:
        if (image.reference, image.config) not in found:
            yield f"{image.reference} for {locked.arch} is in no archive"


def _compare(archive: BundledArchive, images: tuple[ArchivedImage, ...]) -> Iterator[str]:
    for image in images:
        if not _runs_on(image.platform, archive.arch):
            yield f"{archive.path}: {image.name} is for {image.platform}, not for {archive.arch}"
    if sorted(map(_essence, images)) != sorted(map(_essence_of_bundled, archive.images)):
        yield f"{archive.path} holds other images than {MANIFEST} says"


def _check_form(archive: BundledArchive, images: tuple[ArchivedImage, ...], form: LayerForm) -> Iterator[str]:
    """Layers must lie in the form the bundle states; in `registry`, under the very manifest of the registry."""
    manifests = {image.name: image.manifest for image in archive.images}
    for image in images:
        if form == "registry" and image.manifest != manifests.get(image.name):
            yield f"{archive.path}: {image.name} has another manifest than the registry's, {manifests.get(image.name)}"
        if form != "registry" and image.layer_types - {_LAYER_TYPE[form]}:
            yield f"{archive.path}: {image.name} has layers in another form than {form}"


def _essence(image: ArchivedImage) -> tuple[str, str, str, int]:
    return image.name, str(image.platform), image.config, len(image.layers)


def _essence_of_bundled(image: BundledImage) -> tuple[str, str, str, int]:
    return image.name, image.platform, image.config, image.layers


def _runs_on(platform: Platform, arch: Architecture) -> bool:
    return rank(platform, arch) is not None
