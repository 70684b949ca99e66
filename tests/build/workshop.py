"""A builder's machine for tests: recipes, cache, output, and the real command line as a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.upstream import EXTRA_IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.upstream import Upstream

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "bundler")
LIMIT = 120


@dataclass(frozen=True)
class Result:
    """How a run ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The name in `error[...]`; fails unless there is one error, with one hint, and no traceback."""
        assert "Traceback" not in self.err, self.err
        assert self.err.count("error[") == 1, self.err
        assert self.err.count("\nhint: ") == 1, self.err
        assert self.out == ""
        return self.err.partition("error[")[2].partition("]")[0]

    @property
    def path(self) -> Path:
        """The bundle's folder, from the last line of a build that went well."""
        assert self.code == 0, self.err
        return Path(self.out.splitlines()[-1])

    @property
    def document(self) -> Any:
        """Stdout, which is one JSON document."""
        return json.loads(self.out)


@dataclass
class Workshop:
    """A folder with a recipe that takes everything from `upstream`, a cache and an output folder."""

    folder: Path
    upstream: Upstream
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_recipe()

    @property
    def recipe(self) -> Path:
        return self.folder / "edge.yaml"

    @property
    def lock(self) -> Path:
        return self.folder / "edge.lock.json"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def output(self) -> Path:
        return self.folder / "dist"

    def write_recipe(
        self,
        *,
        arch: Sequence[str] = ("arm64",),
        extra: Sequence[str] = (EXTRA_IMAGE,),
        release: str = "stable",
        layers: str = "zstd",
        more: str = "",
    ) -> None:
        """Write the recipe anew."""
        self.recipe.write_text(
            f"version: 1\nname: edge\nrelease: {release}\narch: [{', '.join(arch)}]\nengine: registry\n"
            f"images:\n  layers: {layers}\n  extra: {json.dumps(list(extra))}\n"
            f"sources:\n  releases: {self.upstream.releases_url}\n  channels: {self.upstream.channels_url}\n"
            f"  registries:\n    docker.io: ['{self.upstream.url}']\npack:\n  level: 1\n{more}"
        )

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of a run: nothing of the tester's own but the way to Python."""
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"), "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
        return base | self.environment | dict(extra or {})

    def run(
        self, *arguments: object, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> Result:
        """Run the command line to its end; `before` runs in the child before it becomes the command."""
        child = self.start(*arguments, env=env, before=before)
        try:
            out, err = child.communicate(timeout=LIMIT)
        finally:
            child.kill()
            child.wait()
        return Result(child.returncode, out, err)

    def start(
        self, *arguments: object, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> subprocess.Popen[str]:
        """Begin a run; the caller ends it."""
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.variables(env),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,  # noqa: PLW1509  limits and users can be set in no other way; the child has one thread
        )

    def arguments(self, *more: object) -> tuple[object, ...]:
        """What `build` is called with."""
        return ("build", self.recipe, "--cache-dir", self.cache, "--output", self.output, *more)

    def build(
        self, *more: object, env: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
    ) -> Result:
        """Build the recipe."""
        return self.run(*self.arguments(*more), env=env, before=before)

    def left_in_output(self) -> list[str]:
        """Name all that is in the output folder, hidden or not."""
        return sorted(path.name for path in self.output.iterdir()) if self.output.exists() else []


def sums_of(folder: Path) -> dict[str, str]:
    """Hash every file below `folder`, by relative path, with its mode."""
    return {
        path.relative_to(folder).as_posix(): f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_mode:o}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sizes_below(folder: Path) -> int:
    """Add up the bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
