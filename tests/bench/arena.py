"""Where everything runs: a registry, a release server, a Docker Engine and a containerd, and a folder to work in."""

from __future__ import annotations

import compileall
import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import bundler
from bundler.model.platform import ARCHITECTURES
from tests.bench.measure import Measured, measure
from tests.command import CommandLine
from tests.real.containerd import Containerd
from tests.real.docker_engine import DockerEngine
from tests.real.packages import SEARCH_PATH, install
from tests.real.registry import Registry
from tests.real.release_server import ReleaseServer
from tests.real.releases import Era, release_tree, write_channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model.platform import Architecture
    from tests.bench.corpus import Corpus

NOW, LATER = "v1.34.1+k3s1", "v1.34.2+k3s1"
"""Two releases; in the second one image is another."""

PACKAGES = ("docker.io", "containerd", "runc", "docker-registry", "apache2-utils", "nginx", "skopeo", "zstd", "curl")


class Arena:
    """`with Arena(folder, corpus) as arena:` has all servers running on loopback, with `corpus` to be pulled."""

    def __init__(self, folder: Path, corpus: Corpus) -> None:
        self.folder, self.corpus = folder, corpus
        self.work = folder / "work"

    def __enter__(self) -> Self:
        """Start everything in an empty folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.work.mkdir(parents=True)
        # As pip does when it installs a package: Python would compile it anew in every run where it may not write.
        compileall.compile_dir(bundler.__path__[0], quiet=1)
        with contextlib.ExitStack() as started:
            self.registry = started.enter_context(Registry(self.corpus.registry))
            self.releases = started.enter_context(ReleaseServer(_made(self.folder / "nginx"), self._release_files()))
            self.engine = started.enter_context(DockerEngine(_made(self.folder / "docker")))
            self.containerd = started.enter_context(Containerd(_made(self.folder / "containerd")))
            self._running = started.pop_all()
        self._command = CommandLine(
            self.work,
            self.releases.url,
            f"{self.releases.url}/v1-release/channels",
            self.registry.url,
            self.engine.host,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything; the folder is emptied."""
        self._running.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def docker(self) -> tuple[int, ...]:
        """Process ids of the Docker Engine: the daemon and its containerd."""
        return self.engine.process.pid, self.engine._containerd.process.pid

    def path(self, name: str) -> Path:
        """A place in the working folder."""
        return self.work / name

    def clear(self, *names: str) -> None:
        """Remove files and folders of the working folder."""
        for name in names:
            place = self.work / name
            if place.is_dir():
                shutil.rmtree(place)
            place.unlink(missing_ok=True)

    def empty_engine(self) -> None:
        """Remove every image from the Docker Engine."""
        with contextlib.closing(self.engine.client()) as client:
            for image in client.api.images(all=True):
                client.api.remove_image(image["Id"], force=True)

    def shell(self, script: str, output: str = "", *, daemons: Sequence[int] = ()) -> Measured:
        """Measure a shell script in the working folder."""
        argv = ["/bin/sh", "-euc", f"cd '{self.work}'\n{script}"]
        return self._measure(argv, output, daemons)

    def build(self, release: str, cache: str, *options: str, daemons: Sequence[int] = ()) -> Measured:
        """Measure `k3s-bundler build` of a recipe with its own lock, into `dist-CACHE`; what counts is the archive."""
        recipe = self._command.recipe("bench", release=release, arch="amd64")
        output = f"dist-{cache}"
        argv = self._command.command(
            *("build", recipe, "--replace", "-q", "--cache-dir", self.path(cache), "--output", self.path(output)),
            *options,
        )
        return self._measure(argv, f"{output}/{self._bundle(release)}/images", daemons)

    def own(self, *arguments: str | Path) -> Measured:
        """Measure another verb."""
        return self._measure(self._command.command(*arguments), "", ())

    def bundle(self, cache: str) -> Path:
        """The bundle that `build` made of the first release with that cache."""
        return self.path(f"dist-{cache}") / self._bundle(NOW)

    def python(self, *arguments: str | Path) -> Measured:
        """Measure a Python program."""
        return self._measure([sys.executable, *arguments], "", ())

    def _measure(self, argv: Sequence[str | Path], output: str, daemons: Sequence[int]) -> Measured:
        environment = {
            **self._command.variables(),
            "PATH": os.pathsep.join((os.path.dirname(sys.executable), SEARCH_PATH)),  # noqa: PTH120
            "HOST": self.registry.host,
            "TMPDIR": str(self.work),
        }
        made = self.path(output) if output else None
        return measure(argv, log=self.folder / "said", environment=environment, output=made, daemons=daemons)

    @staticmethod
    def _bundle(release: str) -> str:
        return f"bench-{release.replace('+', '-')}-amd64"

    def _release_files(self) -> Path:
        files = self.folder / "releases"
        some = Path(sys.executable).resolve()  # in the place of k3s: any program for this machine
        programs: dict[Architecture, Path] = dict.fromkeys(ARCHITECTURES, some)
        before = [image.reference for image in self.corpus.images]
        release_tree(files, NOW, Era.GITHUB, programs, before)
        release_tree(files, LATER, Era.GITHUB, programs, [*before[:-1], self.corpus.changed.reference])
        write_channels(files, {"stable": NOW})
        return files


def install_programs() -> None:
    """Install what is missing; raises PackagesUnavailableError."""
    install(PACKAGES, print)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
