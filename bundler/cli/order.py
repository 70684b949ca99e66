"""What the verbs that work on a recipe share: their options, and what these options mean."""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli.shipped import find_recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Session

    from bundler.cli.progress import Reporter
    from bundler.engines.access import RegistryAccess
    from bundler.engines.distribution import Distribution
    from bundler.engines.releases import Releases
    from bundler.model.carried import CarriedFile
    from bundler.model.lock import EngineInput, Lock, LockedImage
    from bundler.model.platform import Architecture
    from bundler.model.recipe import Recipe
    from bundler.model.reference import Reference
    from bundler.stages.engine_images import EngineImages
    from bundler.store.store import Store
    from bundler.workloads.uses import Findings

DEFAULT_JOBS = 4
_SETTING = "K3S_BUNDLER_SET_"
_BESIDE = "a lock lies beside its recipe: copy the recipe to a folder that this user may write"
_APART = "this lock lies in the cache: check owner and mode of its folder, or choose another cache with --cache-dir"
_MOST = 100_000
_LONGEST_SHOWN = 40


@dataclass(frozen=True)
class Order:
    """A recipe with the command line's overrides, its folder and what it names there, its lock, what is wanted.

    `lock_hint` says what to do when the lock cannot be written; `found` is what its manifests need.
    """

    recipe: Recipe
    folder: Path
    carried: tuple[CarriedFile, ...]
    inputs: tuple[EngineInput, ...]
    lock_path: Path
    lock_hint: str
    architectures: tuple[Architecture, ...]
    found: Findings


@dataclass(frozen=True)
class Servers:
    """The ways to the servers a recipe fetches from; all use the one session."""

    session: Session
    releases: Releases
    access: RegistryAccess
    distribution: Distribution


def configure_recipe(parser: argparse.ArgumentParser) -> None:
    """Declare the recipe and what may be said instead of it."""
    parser.add_argument("recipe", metavar="RECIPE", help="recipe file, or the name of a shipped recipe")
    parser.add_argument(
        "--arch", type=listed, metavar="A[,B]", help="CPU architectures instead of the recipe's: amd64, arm64, arm"
    )
    parser.add_argument("--release", metavar="R", help="k3s release instead of the recipe's: a channel or an exact tag")
    parser.add_argument("--level", type=int, metavar="N", help="zstd level instead of the recipe's, 1 to 19")
    parser.add_argument(
        "--layers", metavar="FORM", help="form of layers instead of the recipe's: zstd, plain or registry"
    )
    configure_settings(parser)


def configure_settings(parser: argparse.ArgumentParser) -> None:
    """Declare how a recipe's variables get their values."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        dest="settings",
        metavar="NAME=VALUE",
        help="value of a variable of the recipe, instead of $K3S_BUNDLER_SET_<NAME> or its default; may be repeated",
    )


def configure_cache(parser: argparse.ArgumentParser) -> None:
    """Declare where the cache lies."""
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="DIR",
        help="cache instead of $K3S_BUNDLER_CACHE_DIR or ~/.cache/k3s-bundler",
    )


def configure_jobs(parser: argparse.ArgumentParser, what: str = "transfers") -> None:
    """Declare how much is done at a time."""
    parser.add_argument(
        "--jobs", type=from_one, default=DEFAULT_JOBS, metavar="N", help=f"{what} at a time (default: %(default)s)"
    )


def cache_folder(args: argparse.Namespace) -> Path:
    """Say where the cache is: option, environment, XDG_CACHE_HOME, home; raises HostError when there is no home."""
    from bundler.errors import HostError

    if args.cache_dir:
        return Path(args.cache_dir)
    own = os.environ.get("K3S_BUNDLER_CACHE_DIR")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "k3s-bundler"
    except RuntimeError:
        raise HostError(
            "this user has no home directory for the cache", hint="give --cache-dir, or set K3S_BUNDLER_CACHE_DIR"
        ) from None


def settings(args: argparse.Namespace) -> dict[str, str]:
    """Collect the values for variables: the command line's before those of the environment."""
    given = {
        name.removeprefix(_SETTING).lower(): value for name, value in os.environ.items() if name.startswith(_SETTING)
    }
    return given | dict(args.settings)


def read_with_settings(args: argparse.Namespace, path: Path) -> Recipe:
    """Read the recipe at `path` with the values given for its variables.

    Raises UsageError for a value on the command line that no variable takes; the environment may have others.
    """
    from bundler.errors import UsageError
    from bundler.model.recipe_variables import why_unknown
    from bundler.stages.read import read_recipe

    recipe = read_recipe(path, settings(args))
    for name, _ in args.settings:
        if name not in recipe.variables:
            raise UsageError(f"--set {name}: {why_unknown(name, recipe.variables)}", hint="correct the name")
    return recipe


def order(args: argparse.Namespace, store: Store) -> Order:
    """Read the recipe and lay the command line over it; raises RecipeError and UsageError.

    Fewer architectures than the recipe's are a part of its lock. Anything else makes another recipe, which is locked
    apart, so that the recipe's own lock stays as it is.
    """
    from bundler.stages.carry import carry
    from bundler.stages.engine_images import engine_inputs
    from bundler.stages.survey import survey

    path, shipped = find_recipe(args.recipe)
    recipe = read_with_settings(args, path)
    changed = recipe.with_overrides(arch=args.arch, release=args.release, level=args.level, layers=args.layers)
    wanted = changed.arch
    if set(wanted) <= set(recipe.arch):
        changed = changed.with_overrides(arch=recipe.arch)
    carried = carry(changed, path.parent, store)
    found = survey(changed, carried, store)
    inputs = engine_inputs(changed, path.parent, os.environ)
    lock_path = lock_place(args, path, recipe, changed, store, shipped=shipped)
    lock_hint = _APART if lock_path.parent == store.locks else _BESIDE
    return Order(changed, path.parent, carried, inputs, lock_path, lock_hint, wanted, found)


def lock_place(
    args: argparse.Namespace, path: Path, recipe: Recipe, changed: Recipe, store: Store, *, shipped: bool
) -> Path:
    """Say where the lock lies of the recipe at `path` that overrides have `changed`: beside it, or in the cache."""
    from bundler.stages.lockfile import lock_apart, lock_beside

    apart = shipped or changed != recipe or recipe.changed_by(settings(args))
    return lock_apart(changed, store.locks) if apart else lock_beside(path)


def outdated(ordered: Order, progress: Reporter) -> Callable[[Lock], str | None]:
    """Give what says why a lock is not good for this order, on this machine as it is now; None when it is."""
    from bundler.stages.archived import changed_archive
    from bundler.stages.lockfile import why_outdated

    def why(lock: Lock) -> str | None:
        # Archives come last: they are big, and all of them is read.
        return why_outdated(lock, ordered.recipe, ordered.carried, ordered.inputs) or changed_archive(
            lock, ordered.folder, progress
        )

    return why


def resolved(
    ordered: Order, store: Store, jobs: int, progress: Reporter, *, keep_images: bool, update: bool = False
) -> Lock:
    """Lock the recipe anew, asking the release server and the registries, and building what is to be built.

    What they said for a lock of this very recipe stands, unless it is an `update`.
    """
    from bundler.stages.archived import with_own_images
    from bundler.stages.survey import explained, wanted_images

    lock = resolved_without_engine(ordered, store, jobs, progress, update=update)
    images = engine_images(ordered, store, progress, keep_images=keep_images)
    whole = with_own_images(lock, images.lock(ordered.inputs, known_lock(ordered.lock_path)))
    return explained(whole, wanted_images(ordered.recipe, ordered.found))


def resolved_without_engine(
    ordered: Order, store: Store, jobs: int, progress: Reporter, *, update: bool = False
) -> Lock:
    """Lock the recipe anew, as `resolved` does, but for the images that only the Docker engine has."""
    from bundler.model.release import parse_release
    from bundler.stages.archived import lock_archives, with_own_images
    from bundler.stages.charts import fetch_charts, survey_charts
    from bundler.stages.resolve import resolve
    from bundler.stages.survey import explained, less, require_charts, wanted_images

    progress.stage("lock")
    archived = lock_archives(ordered.recipe, ordered.folder, store, progress)
    servers = servers_of(ordered.recipe, ordered.folder, session_for(ordered.recipe, ordered.folder, progress))
    known = known_lock(ordered.lock_path)
    kept = None if update else _of_this_recipe(known, ordered)
    release = parse_release(kept.release) if kept else servers.releases.release()
    charts = fetch_charts(kept, servers.session, servers.distribution, store, progress) if kept else ()
    surveyed = survey_charts(
        ordered.recipe,
        ordered.carried + charts,
        release,
        servers.session,
        servers.distribution,
        store,
        _program("helm"),
    )
    found = ordered.found + surveyed.found
    files = tuple(sorted(ordered.carried + surveyed.files, key=lambda file: file.path))
    require_charts(found, files)
    wanted = wanted_images(ordered.recipe, found)
    asked = less(wanted, archived.keys() | {each.reference for each in ordered.inputs})
    lock = resolve(
        ordered.recipe,
        release,
        asked,
        servers.releases,
        servers.distribution,
        store,
        jobs,
        progress,
        known=known,
        keep=kept is not None,
    )
    _tell(found, progress)
    rest = {"files": files, "charts": surveyed.charts, "digest_names": wanted.pins_digests}
    return explained(with_own_images(lock, archived), wanted).model_copy(update=rest)


def _of_this_recipe(known: Lock | None, ordered: Order) -> Lock | None:
    """Give the lock when it is this recipe's, and only files on this machine changed since, or its libzstd."""
    from bundler.stages.lockfile import why_not_of

    return known if known and not why_not_of(known, ordered.recipe) else None


def engine_images(ordered: Order, store: Store, progress: Reporter, *, keep_images: bool) -> EngineImages:
    """Make what locks and builds the images of the Docker engine."""
    from bundler.stages.engine_images import EngineImages
    from bundler.stages.resolve import resolve_image

    def find(reference: Reference, arch: Architecture) -> LockedImage:
        return resolve_image(reference, arch, servers.distribution, store, progress)

    servers = servers_of(ordered.recipe, ordered.folder, session_for(ordered.recipe, ordered.folder, progress))
    return EngineImages(ordered.recipe, find, servers.access, store, progress, keep_images=keep_images)


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def _tell(found: Findings, progress: Reporter) -> None:
    """Say what goes wrong offline, and what may be an image."""
    for note in found.notes:
        progress.note(note)
    for maybe in found.maybes:
        progress.note(
            f"not carried, but it may be an image: {maybe.text} ({maybe.where}); if so, name it in images.extra"
        )


def session_for(recipe: Recipe, folder: Path, progress: Reporter) -> Session:
    """Open a session with the certificates and accounts of a recipe in `folder`; raises CertificateFileError."""
    from bundler.engines.access import FileAuthorization, RegistryAccess, certificates_of
    from bundler.engines.secrets import Secrets
    from bundler.net.session import NetworkSettings, open_session

    certificates = certificates_of(recipe.sources, folder)
    session = open_session(NetworkSettings(certificates=certificates, notice=progress.note))
    session.auth = FileAuthorization(session, RegistryAccess(recipe.sources.registries, Secrets(folder, os.environ)))
    return session


def servers_of(recipe: Recipe, folder: Path, session: Session) -> Servers:
    """Give the ways to the servers of a recipe in `folder`."""
    from bundler.engines.access import RegistryAccess
    from bundler.engines.distribution import Distribution
    from bundler.engines.releases import Releases
    from bundler.engines.secrets import Secrets

    secrets = Secrets(folder, os.environ)
    access = RegistryAccess(recipe.sources.registries, secrets)
    return Servers(session, Releases(recipe, secrets, session), access, Distribution(session, access))


def known_lock(path: Path) -> Lock | None:
    """Read the lock that is there; one that cannot be read is none, for it is about to be made anew."""
    from bundler.errors import LockError
    from bundler.stages.lockfile import read_lock

    try:
        return read_lock(path)
    except LockError:
        return None


def listed(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    return tuple(part for part in text.split(",") if part)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def from_one(text: str) -> int:
    """Read a whole number from 1 to 100000, more than anybody has use for."""
    return _whole_number(text, 1)


def from_zero(text: str) -> int:
    """Read a whole number from 0 to 100000: of days, these are 273 years."""
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    digits = text.lstrip("0") or text[-1:]
    is_number = text.isascii() and text.isdigit() and len(digits) <= len(str(_MOST))
    if not is_number or not least <= int(digits) <= _MOST:
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
        raise argparse.ArgumentTypeError(f"{shown!r} is not a whole number from {least} to {_MOST}")
    return int(digits)
