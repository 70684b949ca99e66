"""Builds images from Dockerfiles in a Docker daemon, and takes away again what that leaves there."""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import tarfile
import time
from collections import deque
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.engines.dockerfile import SCRATCH, parse_dockerfile
from bundler.errors import BuildFailedError, DiskFullError, WrongArchitectureError
from bundler.model.platform import Platform, rank
from bundler.store.pulled import note_pulled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bundler.engines.context import BuildContext
    from bundler.engines.daemon import Daemon
    from bundler.engines.dockerfile import Base
    from bundler.errors import BundlerError
    from bundler.model.digest import Digest
    from bundler.model.platform import Architecture
    from bundler.progress import Progress
    from bundler.store.pulled import PulledName
    from bundler.store.store import Store

TAIL = 20
"""Lines of the log that an error shows."""

_PAUSES = (0.8, 0.4, 0.2, 0.1, 0.1)
"""Seconds to wait, last first, until the daemon has ended the container of a build that was broken off."""

_MADE = re.compile(r" ---> ([0-9a-f]{12})")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_VARIANTS: dict[Architecture, str] = {"amd64": "", "arm64": "", "arm": "v7"}


@dataclass(frozen=True)
class Build:
    """One image for one architecture. `digest` is that of the context; values in `hidden` are kept out of the log."""

    reference: str
    arch: Architecture
    context: BuildContext
    digest: Digest
    hidden: frozenset[str]

    @property
    def title(self) -> str:
        """How people know it."""
        return f"{self.reference} ({self.arch})"


def platform_args(arch: Architecture) -> dict[str, str]:
    """Give the arguments that BuildKit would know of the platform; the classic builder must be given them."""
    platform = Platform("linux", arch, _VARIANTS[arch])
    named = {"OS": platform.os, "ARCH": platform.architecture, "VARIANT": platform.variant, "PLATFORM": str(platform)}
    return {f"TARGET{name}": value for name, value in named.items()}


class Builder:
    """Builds in one daemon."""

    def __init__(self, daemon: Daemon, store: Store, progress: Progress, *, keep_images: bool) -> None:
        self._daemon, self._store, self._progress, self._keep_images = daemon, store, progress, keep_images

    @contextmanager
    def built(self, build: Build, pins: Mapping[Base, str]) -> Iterator[str]:
        """Build an image, with the images of `pins` as its bases; gives its id, good while the context lasts.

        Nothing is named and no tag moves. Raises BuildFailedError, WrongArchitectureError, DiskFullError and what
        reading the context and asking the daemon raise.
        """
        known = self._daemon.image_ids()
        made: list[PulledName] = []
        try:
            yield self._built(build, pins, frozenset(each.removeprefix("sha256:")[:12] for each in known), made)
        finally:
            self._take_away(made)

    def _take_away(self, made: list[PulledName]) -> None:
        """Remove images, children first; what a container uses still is left to the next run, which finds its note."""
        pauses = list(_PAUSES)
        for note in reversed(made):
            gone = self._keep_images or self._daemon.remove(note.name)
            while not gone and pauses:
                time.sleep(pauses.pop())
                gone = self._daemon.remove(note.name)
            if gone:
                note.forget()

    def _built(self, build: Build, pins: Mapping[Base, str], known: frozenset[str], made: list[PulledName]) -> str:
        context = build.context
        args = {**platform_args(build.arch), **context.args}
        name = f"{context.name}/{context.dockerfile}"
        parsed = parse_dockerfile(context.dockerfile_text(), args, context.target, name)
        nothing = [
            base for base in parsed.bases if base.name == SCRATCH and not self._daemon.facts().keeps_registry_bytes
        ]
        pins = {**pins, **{base: self._no_image(_platform(build, base), made) for base in nothing}}
        options = {
            "dockerfile": context.dockerfile,
            "rm": "1",
            "forcerm": "1",
            "platform": str(_platform(build, None)),
            "buildargs": json.dumps({key: args[key] for key in args if key in context.args or key in parsed.declared}),
            **({"target": context.target} if context.target else {}),
        }
        log, built = _Log(build, self._progress), None
        with self._progress.task(f"build {build.title}", None) as task:
            stream = context.stream(parsed.pinned(pins), build.digest)
            # Closed at once when this is interrupted, which makes the daemon end the container of the step.
            with closing(self._daemon.build(stream, options, build.title)) as events:
                for event in events:
                    task.advance(len(event.text))
                    for line in log.take(event.text):
                        short = _MADE.fullmatch(line)
                        if short and short[1] not in known:
                            self._note(short[1], made)
                    built = event.image or built
                    if event.error:
                        raise _failure(build, log.cleaned(event.error), log.tail)
        return self._checked(build, built)

    def _note(self, short: str, made: list[PulledName]) -> None:
        if short in {note.name for note in made}:
            return
        image = self._daemon.image(short)
        if image and not image.named:  # a named one is a base, which is pulled and removed elsewhere
            made.append(note_pulled(self._store, self._daemon.address, short))

    def _no_image(self, platform: Platform, made: list[PulledName]) -> str:
        """Give the daemon an image of the platform with nothing in it, and its id.

        Docker 20.10 takes `scratch` for an image of its own machine whatever the platform, and so what is built on it.
        """
        config = _empty_config(platform)
        digest = hashlib.sha256(config).hexdigest()
        note = note_pulled(self._store, self._daemon.address, f"sha256:{digest}")
        made.append(note)
        self._daemon.load(_archive_of(config, digest), f"an empty image for {platform}")
        return note.name

    def _checked(self, build: Build, built: str | None) -> str:
        image = self._daemon.image(built) if built else None
        if image is None:
            raise BuildFailedError(
                f"{build.title}: the Docker daemon built {build.context.name} and does not have the result",
                hint="look into the daemon's log (journalctl -u docker), and run the command again",
            )
        if rank(image.platform, build.arch) is None:
            raise WrongArchitectureError(
                f"{build.title}: building {build.context.name} gave an image for {image.platform}",
                hint="its last FROM names an image, or a --platform, of another architecture; in a containerd "
                "image store scratch may count as the engine's own: begin with an image for the architecture there",
            )
        return image.id


def _platform(build: Build, base: Base | None) -> Platform:
    """Say what `base` has to be for, or the result of the build."""
    if base and base.platform:
        return Platform(*base.platform.split("/")[:3])
    return Platform("linux", build.arch, _VARIANTS[build.arch])


class _Log:
    """The lines of a build: told as they come, the last ones kept."""

    def __init__(self, build: Build, progress: Progress) -> None:
        self._build, self._progress, self._rest = build, progress, ""
        self.tail: deque[str] = deque(maxlen=TAIL)

    def take(self, text: str) -> Iterator[str]:
        """Take a piece of log, and give the lines that it ends."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            clean = self.cleaned(line)
            if clean.strip():
                self.tail.append(clean)
                self._progress.note(f"{self._build.title}: {clean}")
            yield clean

    def cleaned(self, line: str) -> str:
        """Take out what a terminal would obey, and values that are nobody's business."""
        clean = _ESCAPES.sub("", line)
        for value in self._build.hidden:
            clean = clean.replace(value, "***")
        return clean.rstrip()


_EMULATE = (
    "RUN needs programs of that architecture to run here: install qemu-user-static and binfmt-support, or build on "
    "such a machine"
)
_BUILDKIT = (
    "the Docker SDK builds with the classic builder: build with `docker buildx build --output type=oci,dest=app.tar` "
    "and write {archive: ./app.tar}"
)
_SIGNS: tuple[tuple[str, type[BundlerError], str], ...] = (
    ("no space left", DiskFullError, "free room in the engine's data root, for example with: docker system df"),
    ("exec format error", BuildFailedError, _EMULATE),
    ("buildkit", BuildFailedError, _BUILDKIT),
    ("parse error", BuildFailedError, "correct the Dockerfile"),
    ("unknown instruction", BuildFailedError, "correct the Dockerfile"),
)
"""How builders word what went wrong: they have no codes."""


def _failure(build: Build, message: str, tail: deque[str]) -> BundlerError:
    lines = "".join(f"\n  | {line}" for line in tail)
    what = f"{build.title}: building {build.context.name} failed: {message}{lines}"
    told = f"{message}\n{lines}".lower()
    for sign, kind, hint in _SIGNS:
        if sign in told:
            return kind(what, hint=hint)
    return BuildFailedError(what, hint=f"`docker build {build.context.folder}` should fail alike; correct it there")


def _empty_config(platform: Platform) -> bytes:
    """Write the config of an image without layers, unlike any other: two builds at a time must not share one."""
    named = {"os": platform.os, "architecture": platform.architecture, "variant": platform.variant}
    about = {key: value for key, value in named.items() if value}
    rest = {"config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "comment": secrets.token_hex(8)}
    return json.dumps(about | rest).encode()


def _archive_of(config: bytes, digest: str) -> bytes:
    """Write an image without layers as `docker load` takes it."""
    index = json.dumps([{"Config": f"{digest}.json", "RepoTags": None, "Layers": []}]).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in ((f"{digest}.json", config), ("manifest.json", index)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
