"""The product's command line in a process of its own, as a person would run it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.upstream import Upstream

ROOT = Path(__file__).parents[1]

RECIPE = """\
version: 1
name: {name}
release: {release}
arch: [{arch}]
images:
  extra: [{extra}]
  layers: {layers}
sources:
  releases: {releases}
  tag_style: plain
  channels: {channels}
  registries:
    docker.io: ["{registry}"]
"""


@dataclass(frozen=True)
class CommandLine:
    """Runs `k3s-bundler` in `folder`, with a home, cache and output of its own there."""

    folder: Path
    releases: str
    channels: str
    registry: str
    docker_host: str = "unix:///nonexistent/docker.sock"
    engine: str = "registry"
    environment: Mapping[str, str] = field(default_factory=dict)

    def with_environment(self, **variables: str) -> CommandLine:
        """The same with other variables."""
        return replace(self, environment={**self.environment, **variables})

    def recipe(
        self,
        name: str = "edge",
        *,
        release: str = "stable",
        arch: str = "amd64, arm64, arm",
        extra: str = "",
        layers: str = "zstd",
    ) -> Path:
        """Write a recipe that points to the local servers."""
        path = self.folder / f"{name}.yaml"
        path.write_text(
            RECIPE.format(
                name=name,
                release=release,
                arch=arch,
                extra=extra,
                layers=layers,
                releases=self.releases,
                channels=self.channels,
                registry=self.registry,
            )
        )
        return path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run to the end; the caller looks at the exit code."""
        return subprocess.run(
            self.command(*arguments),
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.variables(),
        )

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start it; the caller ends it."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env=self.variables(),
        )

    def try_build(self, recipe: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Build below `dist` in the folder; the caller looks at the exit code."""
        return self.run("build", recipe, "--engine", self.engine, "--output", self.folder / "dist", *arguments)

    def build(self, recipe: Path, *arguments: str | Path) -> Path:
        """Build, which must succeed; gives the bundle's folder."""
        done = self.try_build(recipe, *arguments)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def built(self) -> list[Path]:
        """Whatever lies in the output folder, hidden things too."""
        output = self.folder / "dist"
        return sorted(output.iterdir()) if output.exists() else []

    def command(self, *arguments: str | Path) -> list[str]:
        """The words of the command."""
        return [sys.executable, "-m", "bundler", *map(str, arguments)]

    def variables(self) -> dict[str, str]:
        """The environment: nothing of the machine's own Docker set-up gets in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DOCKER_", "XDG_"))}
        own = {"HOME": str(self.folder), "DOCKER_HOST": self.docker_host, "PYTHONPATH": str(ROOT)}
        return {**kept, **own, **self.environment}


def sums(bundle: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle, by its path there."""
    return {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }


def command_for(folder: Path, upstream: Upstream) -> CommandLine:
    """The command line in `folder`, which is made, against one local upstream."""
    folder.mkdir()
    return CommandLine(folder, upstream.releases_url, upstream.channels_url, upstream.url)
