"""Recipe to lock: everything is asked for by name once and written down by digest and size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.archive.zstd import compressor
from bundler.engines.manifest import (
    Config,
    Index,
    Manifest,
    choose,
    parse_config,
    parse_manifest,
    require_platform,
)
from bundler.errors import (
    AssetNotFoundError,
    DigestMismatchError,
    MalformedAnswerError,
    MissingPlatformError,
    UnsupportedArchitectureError,
    UsageError,
)
from bundler.k3s.assets import IMAGE_LIST, binary_asset, checksum_asset
from bundler.k3s.behaviour import names_images_by_digest, takes_zstd_layers
from bundler.k3s.checksums import checksum_of, parse_checksums
from bundler.k3s.images import HELM_CHARTS, needed_images, parse_image_list, why_left_out, why_needed
from bundler.k3s.site import fit_of
from bundler.model.digest import Digest, digest_of
from bundler.model.lock import LeftOut, Lock, LockedArchitecture, LockedFile, LockedImage, LockedLayer
from bundler.model.platform import Platform, rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.engines.distribution import Distribution
    from bundler.engines.releases import Releases
    from bundler.model.platform import Architecture
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_images import Exclusion
    from bundler.model.reference import Reference
    from bundler.model.release import Release
    from bundler.model.wanted import Wanted
    from bundler.progress import Progress
    from bundler.store.store import Store

_DEEPEST_INDEX = 3


def resolve(  # noqa: PLR0913, PLR0917  a stage takes what it needs one by one
    recipe: Recipe,
    release: Release,
    wanted: Wanted,
    releases: Releases,
    distribution: Distribution,
    store: Store,
    jobs: int,
    progress: Progress,
    *,
    known: Lock | None = None,
    keep: bool = False,
) -> Lock:
    """Decide everything the recipe leaves open. Small things that were read on the way (configs) stay in `store`.

    `release` is what the recipe's channel means now. `wanted` are the images from registries that the recipe names or
    its manifests and charts need. Images of `known`, an older lock, are taken over where their tag points to the same
    digest still; with `keep` nobody is asked where that is.

    Raises UnknownReleaseError, UnsupportedArchitectureError, UsageError and the network and integrity errors.
    """
    _require_layer_form(recipe, release)
    _require_site(recipe, release, progress)
    files = _ReleaseFiles(releases, release)
    image_list, where = files.image_list()
    store.put(image_list)
    listed = parse_image_list(image_list, where)
    disabled, added = recipe.components.disable, (HELM_CHARTS,) if wanted.helm_charts else ()
    kept = _without(listed, recipe.images.exclude, wanted)
    needed = needed_images(kept, disabled, added)
    names = {image.name for image in needed}
    recipe_images = tuple(image for image in wanted.references if image.name not in names)
    finder = _Images(recipe.arch, distribution, store, progress, known, keep=keep)
    images = finder.lock(needed + recipe_images, jobs)
    reasons = {image: (why_needed(image, disabled, added), *wanted.reasons(image.name)) for image in needed}
    reasons |= {image: wanted.reasons(image.name) for image in recipe_images}
    images = {
        image: {arch: locked.model_copy(update={"wanted_by": reasons[image]}) for arch, locked in each.items()}
        for image, each in images.items()
    }
    if recipe.images.layers == "registry":
        _require_registry_form([image for each in images.values() for image in each.values()], release, progress)
    architectures = tuple(
        LockedArchitecture(
            arch=arch,
            binary=files.binary(arch),
            checksums=files.checksums(arch),
            image_list=files.locked_image_list(),
            k3s_images=tuple(images[reference][arch] for reference in needed),
            recipe_images=tuple(images[reference][arch] for reference in recipe_images),
        )
        for arch in recipe.arch
    )
    return Lock(
        name=recipe.name,
        recipe=recipe.fingerprint(),
        release=release.tag,
        layers=recipe.images.layers,
        compressor=compressor(recipe.pack.level),
        architectures=architectures,
        left_out=_left_out(listed, kept, needed),
    )


def _left_out(
    listed: Sequence[Reference], kept: Sequence[Reference], needed: Sequence[Reference]
) -> tuple[LeftOut, ...]:
    return tuple(
        LeftOut(reference=image.name, why=why_left_out(image) if image in kept else "images.exclude names it")
        for image in listed
        if image not in needed
    )


def resolve_image(
    reference: Reference, arch: Architecture, distribution: Distribution, store: Store, progress: Progress
) -> LockedImage:
    """Decide what one image is for one architecture; raises network and integrity errors."""
    finder = _Images((arch,), distribution, store, progress, None, keep=False)
    return finder.lock((reference,), 1)[reference][arch]


def _require_layer_form(recipe: Recipe, release: Release) -> None:
    if recipe.images.layers == "zstd" and not takes_zstd_layers(release):
        raise UsageError(
            f"images.layers is zstd, but the containerd of {release} unpacks no zstd layers (k3s does from v1.22 on)",
            hint="set images.layers: plain in the recipe",
        )


def _require_site(recipe: Recipe, release: Release, progress: Progress) -> None:
    """Refuse what the release cannot do of what its nodes are told, all at once."""
    fit = fit_of(recipe.site, release)
    for note in fit.notes:
        progress.note(note)
    if fit.mistakes:
        raise UsageError(
            "\n".join((f"{release} cannot do what the recipe wants:", *fit.mistakes)),
            hint="take a newer release, or remove these keys",
        )


def _require_registry_form(images: Sequence[LockedImage], release: Release, progress: Progress) -> None:
    """Refuse what a node could not unpack as the registry has it, and say what pins by digest need."""
    for image in images:
        if not takes_zstd_layers(release) and any(layer.media_type.endswith("zstd") for layer in image.layers):
            raise UsageError(
                f"images.layers is registry, but {image.reference} has zstd layers, which {release} does not unpack",
                hint="set images.layers: plain in the recipe, or use k3s v1.22 or later",
            )
    if not names_images_by_digest(release):
        progress.note(
            f"{release} does not name imported images by digest (k3s does from v1.32.11, v1.33.7, v1.34.3 and v1.35.0 "
            "on): for pods that pin repository@sha256:... the installer does, when the recipe or a manifest pins an "
            "image, or with --digest-names"
        )


def _without(images: tuple[Reference, ...], excluded: Sequence[Exclusion], wanted: Wanted) -> tuple[Reference, ...]:
    """Leave out what the recipe excludes; a name that excludes nothing, or what is needed, is a mistake."""
    for exclusion in excluded:
        if not any(exclusion.matches(image) for image in images):
            raise UsageError(
                f"images.exclude: {exclusion} is not in the release's list",
                hint="the list has: " + ", ".join(image.name for image in images),
            )
        for image in wanted.references:
            if exclusion.matches(image):
                raise UsageError(
                    f"images.exclude: {exclusion} is needed: {'; '.join(wanted.reasons(image.name))}",
                    hint="take it out of images.exclude, or out of what needs it",
                )
    return tuple(image for image in images if not any(exclusion.matches(image) for exclusion in excluded))


class _ReleaseFiles:
    """The files of one release, each asked for once."""

    def __init__(self, releases: Releases, release: Release) -> None:
        self._releases, self._release = releases, release
        self._read: dict[str, tuple[bytes, str]] = {}

    def image_list(self) -> tuple[bytes, str]:
        """Read the list, and say where it was.

        To mid-2025 amd64's checksum file names it, since then TLS is all that protects it.
        """
        data, where = self._text(IMAGE_LIST)
        stated = parse_checksums(*self._text(checksum_asset("amd64"))).get(IMAGE_LIST)
        if stated and stated != digest_of(data):
            raise DigestMismatchError(
                f"{where} is {digest_of(data)}, its checksum file says {stated}",
                hint="the server's copy is damaged or stale: check sources.releases",
            )
        return data, where

    def locked_image_list(self) -> LockedFile:
        return self._locked_text(IMAGE_LIST)

    def checksums(self, arch: Architecture) -> LockedFile:
        return self._locked_text(checksum_asset(arch))

    def binary(self, arch: Architecture) -> LockedFile:
        asset = binary_asset(arch)
        try:
            text, where = self._text(checksum_asset(arch))
        except AssetNotFoundError as error:
            raise UnsupportedArchitectureError(
                f"{self._release} has nothing for {arch}: {error.what}",
                hint="take it out of the recipe's arch, or use a release that has it",
            ) from None
        digest = checksum_of(asset, parse_checksums(text, where), where)
        size, place = self._releases.size(self._release, asset)
        return LockedFile(name=asset, url=place, size=size, digest=digest)

    def _text(self, asset: str) -> tuple[bytes, str]:
        if asset not in self._read:
            self._read[asset] = self._releases.read(self._release, asset)
        return self._read[asset]

    def _locked_text(self, asset: str) -> LockedFile:
        data, where = self._text(asset)
        return LockedFile(name=asset, url=where, size=len(data), digest=digest_of(data))


@dataclass(frozen=True)
class _Found:
    """A manifest with its digest and size in bytes."""

    manifest: Manifest
    digest: Digest
    size: int


@dataclass(frozen=True)
class _Read:
    """A manifest or index with its digest and size in bytes."""

    digest: Digest
    size: int
    content: Index | Manifest


class _Images:
    """Locks references for all architectures at once, so that an index is asked for once."""

    def __init__(
        self,
        architectures: tuple[Architecture, ...],
        distribution: Distribution,
        store: Store,
        progress: Progress,
        known: Lock | None,
        *,
        keep: bool,
    ) -> None:
        self._architectures, self._distribution, self._store = architectures, distribution, store
        self._progress, self._keep = progress, keep
        self._known = {
            (image.reference, each.arch): image
            for each in (known.architectures if known else ())
            for image in each.images
            if image.of_registry
        }

    def lock(self, references: Sequence[Reference], jobs: int) -> dict[Reference, dict[Architecture, LockedImage]]:
        with ThreadPoolExecutor(jobs, thread_name_prefix="lock") as pool:
            tasks = {reference: pool.submit(self._lock, reference) for reference in references}
            try:
                return {reference: task.result() for reference, task in tasks.items()}
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _lock(self, reference: Reference) -> dict[Architecture, LockedImage]:
        with self._progress.task(f"lock {reference}", None):
            now = self._points_to(reference)
            if unchanged := self._unchanged(reference, now):
                return unchanged
            top = self._kept(reference, now, "") or self._fetched(reference, None)
            locked = {}
            for arch in self._architectures:
                if isinstance(top.content, Manifest):
                    found = _Found(top.content, top.digest, top.size)
                    config = self._config(reference, found)
                    _require_only_platform(config.platform, arch, str(reference))
                else:
                    found = self._descend(reference, top.content, arch, _DEEPEST_INDEX)
                    config = self._config(reference, found)
                    require_platform(config, arch, str(reference))
                locked[arch] = _locked_image(reference, top.digest, found, config)
            return locked

    def _points_to(self, reference: Reference) -> Digest | None:
        """Say what a reference points to, or is to stay at; a tag is asked, by HEAD, where that may spare a GET."""
        found = [self._known.get((reference.name, arch)) for arch in self._architectures]
        indexes = {image.index for image in found if image}
        if self._keep and reference.digest is None and None not in found and len(indexes) == 1:
            return indexes.pop()
        return self._distribution.points_to(reference) if indexes else reference.digest

    def _unchanged(self, reference: Reference, now: Digest | None) -> dict[Architecture, LockedImage] | None:
        """Take over what is known when the reference points where it did: below a digest nothing changes."""
        found = {arch: self._known.get((reference.name, arch)) for arch in self._architectures}
        images = {arch: image for arch, image in found.items() if image}
        return images if len(images) == len(found) and {image.index for image in images.values()} == {now} else None

    def _kept(self, reference: Reference, digest: Digest | None, media_type: str) -> _Read | None:
        if digest is None or not self._store.verified(digest):
            return None
        body = self._store.read(digest)
        return _Read(digest, len(body), parse_manifest(body, media_type, str(reference)))

    def _fetched(self, reference: Reference, digest: Digest | None) -> _Read:
        """Fetch a manifest and keep it: registries count how often they are asked for one."""
        raw = self._distribution.manifest(reference, digest)
        content = parse_manifest(raw.body, raw.media_type, str(reference))
        self._store.put(raw.body)
        return _Read(raw.digest, len(raw.body), content)

    def _descend(self, reference: Reference, index: Index, arch: Architecture, depth: int) -> _Found:
        chosen = choose(index, arch, str(reference))
        inner = self._kept(reference, chosen.digest, chosen.media_type) or self._fetched(reference, chosen.digest)
        if isinstance(inner.content, Manifest):
            return _Found(inner.content, inner.digest, inner.size)
        if depth == 0:
            raise MalformedAnswerError(
                f"{reference}: its index holds indexes of indexes", hint="name the image's tag for one platform instead"
            )
        return self._descend(reference, inner.content, arch, depth - 1)

    def _config(self, reference: Reference, found: _Found) -> Config:
        digest = found.manifest.config.digest
        if not self._store.verified(digest):
            self._store.put(self._distribution.config(reference, digest))
        data = self._store.read(digest)
        if len(data) != found.manifest.config.size:
            raise MalformedAnswerError(
                f"{reference}: its config has {len(data)} bytes, its manifest says {found.manifest.config.size}",
                hint="the image was pushed wrongly; build and push it again",
            )
        config = parse_config(data, str(reference))
        if len(config.diff_ids) != len(found.manifest.layers):
            raise MalformedAnswerError(
                f"{reference}: its manifest has {len(found.manifest.layers)} layers, its config {len(config.diff_ids)}",
                hint="the image was pushed wrongly; build and push it again",
            )
        return config


def _require_only_platform(platform: Platform, arch: Architecture, name: str) -> None:
    if rank(platform, arch) is None:
        raise MissingPlatformError(
            f"{name} is not there for linux/{arch}; it is there for {platform} alone",
            hint=f"take {arch} out of the recipe's arch, or use an image that is built for it",
        )


def _locked_image(reference: Reference, index: Digest, found: _Found, config: Config) -> LockedImage:
    layers = tuple(
        LockedLayer(digest=layer.digest, size=layer.size, media_type=layer.media_type, diff_id=diff_id)
        for layer, diff_id in zip(found.manifest.layers, config.diff_ids, strict=True)
    )
    return LockedImage(
        reference=reference.name,
        index=index,
        manifest=found.digest,
        manifest_size=found.size,
        platform=str(config.platform),
        config=found.manifest.config.digest,
        config_size=found.manifest.config.size,
        layers=layers,
    )
