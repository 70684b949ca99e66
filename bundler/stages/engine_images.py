"""Recipe to lock and store: images that only the builder's Docker engine has, or builds.

What is built cannot be fetched again by its digest, so it is packed into the store while the engine has it.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.archive.zstd import compressor
from bundler.engines.builder import Build, Builder, platform_args
from bundler.engines.choice import registry_bytes_lost
from bundler.engines.context import open_context
from bundler.engines.daemon import connect
from bundler.engines.docker import DockerEngine
from bundler.engines.dockerfile import SCRATCH, Base, parse_dockerfile
from bundler.engines.intake import intake_for
from bundler.engines.own_images import take_saved
from bundler.errors import (
    AccessDeniedError,
    DaemonPermissionError,
    DaemonUnavailableError,
    ImageNotFoundError,
    LockError,
    UsageError,
)
from bundler.model.lock import EngineInput, LockedBase, LockedBuild
from bundler.model.platform import ARCHITECTURES, rank
from bundler.model.recipe_builds import BuildSource
from bundler.model.reference import parse_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from bundler.engines.access import RegistryAccess
    from bundler.engines.context import BuildContext
    from bundler.engines.daemon import Daemon
    from bundler.engines.intake import Intake
    from bundler.model.digest import Digest
    from bundler.model.lock import Lock, LockedImage
    from bundler.model.platform import Architecture
    from bundler.model.recipe import Recipe
    from bundler.model.recipe_builds import EngineSource
    from bundler.model.reference import Reference
    from bundler.progress import Progress
    from bundler.store.store import Store

    Locked = dict[str, dict[Architecture, LockedImage]]


def engine_inputs(recipe: Recipe, folder: Path, environment: Mapping[str, str]) -> tuple[EngineInput, ...]:
    """Say what decides the images of the engine now: hash the contexts, ask the engine for ids.

    `folder` is the recipe's, `environment` is for arguments read from it. Raises UsageError, RecipeNotFoundError,
    ImageNotFoundError, host errors and those of the daemon.
    """
    found = [
        EngineInput(
            reference=source.ref.name, source=source.build, digest=_context(source, folder, environment).digest()
        )
        for source in recipe.images.builds
    ]
    if recipe.images.from_engine:
        with engine_of(recipe) as daemon:
            found += [_present(source, daemon) for source in recipe.images.from_engine]
    return tuple(found)


@contextmanager
def engine_of(recipe: Recipe) -> Iterator[Daemon]:
    """Connect to the daemon that has these images of `recipe`.

    Raises DaemonUnavailableError, DaemonPermissionError, and EngineUnfitError where its image store keeps no manifests
    and the recipe wants them.
    """
    names = [str(source) for source in (*recipe.images.builds, *recipe.images.from_engine)]
    try:
        daemon = connect()
    except (DaemonUnavailableError, DaemonPermissionError) as error:
        raise type(error)(
            f"images.extra has {', '.join(names)}, which needs Docker: {error.what}",
            hint="start it (systemctl start docker), check DOCKER_HOST, the context and the group docker, or carry the "
            "image as {archive: ./app.tar}",
        ) from None
    with closing(daemon):
        if recipe.images.layers == "registry" and not (facts := daemon.facts()).keeps_registry_bytes:
            unfit = registry_bytes_lost(facts)
            raise type(unfit)(
                f"images.extra has {', '.join(names)}: {unfit.what}",
                hint="set images.layers: zstd, or switch the daemon to the containerd image store "
                '("containerd-snapshotter")',
            )
        yield daemon


def require_engine(recipe: Recipe) -> None:
    """Raise what connecting to the daemon for images of `recipe` raises."""
    with engine_of(recipe):
        pass


def _present(source: EngineSource, daemon: Daemon) -> EngineInput:
    image = daemon.image(source.ref.name)
    if image is None:
        raise ImageNotFoundError(
            f"images.extra: the Docker engine at {daemon.address} has no {source.ref.name}",
            hint="build or load it there (see `docker image ls`), or take `engine: docker` away to pull it",
        )
    return EngineInput(reference=source.ref.name, source=f"{source.ref.name} in the Docker engine", digest=image.id)


def _context(source: BuildSource, folder: Path, environment: Mapping[str, str]) -> BuildContext:
    return open_context(
        folder / source.build, source.build, source.dockerfile, source.target, _args(source, environment)
    )


def _args(source: BuildSource, environment: Mapping[str, str]) -> dict[str, str]:
    args = {}
    for name, value in source.args.items():
        if not isinstance(value, str) and value.env not in environment:
            raise UsageError(
                f"images.extra: {source} takes its argument {name} from the variable {value.env}, which is not set",
                hint=f"export {value.env}=..., or write the value into the recipe",
            )
        args[name] = value if isinstance(value, str) else environment[value.env]
    return args


@dataclass(frozen=True)
class _Ground:
    """What a build stands on, as locked, and the image to pull; None when only the engine has it."""

    locked: LockedBase
    image: LockedImage | None


class EngineImages:
    """Locks and makes the images of `recipe` that come from the Docker engine.

    `find` locks an image of a registry for one architecture; `access` also has its folder and the environment.
    """

    def __init__(
        self,
        recipe: Recipe,
        find: Callable[[Reference, Architecture], LockedImage],
        access: RegistryAccess,
        store: Store,
        progress: Progress,
        *,
        keep_images: bool,
    ) -> None:
        self._recipe, self._find, self._access = recipe, find, access
        self._folder, self._environment = access.secrets.folder, access.secrets.environment
        self._store, self._progress, self._keep_images = store, progress, keep_images
        self._sources: dict[str, BuildSource | EngineSource] = {
            **{source.ref.name: source for source in recipe.images.builds},
            **{source.ref.name: source for source in recipe.images.from_engine},
        }

    def lock(self, inputs: Sequence[EngineInput], known: Lock | None) -> Locked:
        """Build and save these images, for each architecture, unless `known` and the store have them already.

        Raises what `Builder.built` and `take_saved` raise, UsageError, and what finding bases raises.
        """
        intake = intake_for(self._store, compressor(self._recipe.pack.level), self._recipe.images.layers)
        before = {
            (image.reference, each.arch): image
            for each in (known.architectures if known else ())
            for image in each.images
        }
        with self._engine() as daemon:
            return {
                each.reference: {
                    arch: self._locked(each, arch, before.get((each.reference, arch)), intake, daemon)
                    for arch in self._recipe.arch
                }
                for each in inputs
            }

    def bring(self, lock: Lock, inputs: Sequence[EngineInput]) -> None:
        """Make what `lock` has of these images and the store has not; raises LockError when it comes out otherwise."""
        intake = intake_for(self._store, lock.compressor, lock.layers)
        by_name = {each.reference: each for each in inputs}
        with self._engine() as daemon:
            for each in lock.architectures:
                for image in each.images:
                    if image.of_engine and intake.lacks(image):
                        self._again(image, by_name[image.reference], each.arch, intake, daemon())

    @contextmanager
    def _engine(self) -> Iterator[Callable[[], Daemon]]:
        """Connect when, and only if, the daemon is needed."""
        with ExitStack() as stack:
            connected: list[Daemon] = []

            def daemon() -> Daemon:
                if not connected:
                    connected.append(stack.enter_context(engine_of(self._recipe)))
                return connected[0]

            yield daemon

    def _locked(
        self,
        known: EngineInput,
        arch: Architecture,
        before: LockedImage | None,
        intake: Intake,
        daemon: Callable[[], Daemon],
    ) -> LockedImage:
        source = self._sources[known.reference]
        if not isinstance(source, BuildSource):
            if before and before.engine_id == known.digest and not intake.lacks(before):
                return before.model_copy(update={"wanted_by": ()})
            image = take_saved(daemon(), known.digest, known.reference, arch, intake, self._progress)
            return image.model_copy(update={"engine_id": known.digest})
        context = _context(source, self._folder, self._environment)
        grounds = {base: self._ground(base, arch, None, daemon) for base in _bases(context, arch)}
        build = LockedBuild(
            context=source.build, digest=known.digest, bases=tuple(ground.locked for ground in grounds.values())
        )
        if before and before.build == build and not intake.lacks(before):
            return before.model_copy(update={"wanted_by": ()})
        image = self._built(source, context, known, arch, grounds, intake, daemon())
        return image.model_copy(update={"build": build})

    def _again(
        self, image: LockedImage, known: EngineInput, arch: Architecture, intake: Intake, daemon: Daemon
    ) -> None:
        """Take what the engine has still; otherwise build it on the very bases of the lock."""
        source = self._sources[image.reference]
        if image.build is None or not isinstance(source, BuildSource) or daemon.present(image.config):
            name = image.engine_id or image.config
            again = take_saved(daemon, name, image.reference, arch, intake, self._progress)
        else:
            locked = {(base.name, base.platform): base.digest for base in image.build.bases}
            context = _context(source, self._folder, self._environment)
            grounds = {
                base: self._ground(base, arch, locked.get((base.name, base.platform)), lambda: daemon)
                for base in _bases(context, arch)
            }
            again = self._built(source, context, known, arch, grounds, intake, daemon)
        if again.config != image.config:
            raise LockError(
                f"{image.reference} for {arch} was made again, because the cache has it no more, and came out as "
                f"{again.config} instead of {image.config}: builds are not reproducible",
                hint="run k3s-bundler lock --update RECIPE and commit it, or save the image once and write "
                "{archive: ./app.tar}",
            )

    def _ground(self, base: Base, arch: Architecture, digest: Digest | None, daemon: Callable[[], Daemon]) -> _Ground:
        """Find an image that a Dockerfile names: that of `digest` when it is given, else what its tag points to."""
        wanted = _architecture(base, arch)
        if digest and daemon().present(digest):
            return _Ground(LockedBase(name=base.name, platform=base.platform, digest=digest), None)
        try:
            image = self._find(_reference(base.name, digest), wanted)
        except (ImageNotFoundError, AccessDeniedError):
            there = daemon().image(base.name)
            if digest or there is None or rank(there.platform, wanted) is None:
                raise
            self._progress.note(f"{base.name}: no registry shows it, the Docker engine's own is taken")
            return _Ground(LockedBase(name=base.name, platform=base.platform, digest=there.id), None)
        return _Ground(LockedBase(name=base.name, platform=base.platform, digest=image.manifest), image)

    def _built(
        self,
        source: BuildSource,
        context: BuildContext,
        known: EngineInput,
        arch: Architecture,
        grounds: Mapping[Base, _Ground],
        intake: Intake,
        daemon: Daemon,
    ) -> LockedImage:
        hidden = {context.args[name] for name, value in source.args.items() if not isinstance(value, str)}
        build = Build(known.reference, arch, context, known.digest, frozenset(hidden - {""}))
        engine = DockerEngine(daemon, self._access, keep_images=self._keep_images)
        engine.tidy(self._store)
        with ExitStack() as stack:
            pins = {
                base: ground.locked.digest
                if ground.image is None
                else stack.enter_context(engine.at_hand(ground.image, self._store, self._progress))
                for base, ground in grounds.items()
            }
            builder = Builder(daemon, self._store, self._progress, keep_images=self._keep_images)
            image = stack.enter_context(builder.built(build, pins))
            return take_saved(daemon, image, known.reference, arch, intake, self._progress)


def _bases(context: BuildContext, arch: Architecture) -> tuple[Base, ...]:
    """List the images that a build has to have, in the order of its Dockerfile."""
    args = {**platform_args(arch), **context.args}
    name = f"{context.name}/{context.dockerfile}"
    parsed = parse_dockerfile(context.dockerfile_text(), args, context.target, name)
    for base in parsed.bases:
        _architecture(base, arch)
    return tuple(base for base in parsed.bases if base.name != SCRATCH)


def _architecture(base: Base, arch: Architecture) -> Architecture:
    """Say for which architecture a base has to be."""
    if base.platform is None:
        return arch
    system, _, rest = base.platform.partition("/")
    for each in ARCHITECTURES:
        if system == "linux" and rest.partition("/")[0] == each:
            return each
    raise UsageError(
        f"FROM --platform={base.platform} {base.name}: only linux/amd64, linux/arm64 and linux/arm are known here",
        hint="build with `docker buildx build --output type=oci,dest=app.tar` and write {archive: ./app.tar}",
    )


def _reference(name: str, digest: Digest | None) -> Reference:
    """Read the name of a base; unlike an image for nodes, it may have a digest and no tag."""
    bare, at, pinned = name.partition("@")
    try:
        reference = parse_reference(bare)
        return parse_reference(f"{reference.name}@{digest or pinned}") if at or digest else reference
    except ValueError as error:
        raise UsageError(
            f"a Dockerfile of images.extra stands on {name}, which is no image: {error}", hint="correct its FROM"
        ) from None
