"""Podman and skopeo as second readers of image archives and registries, each with storage of its own."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tests.real.packages import program
from tests.real.process import ComponentError, socket_directory, unmount_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

_TIMEOUT = 120
_ACCEPT_ALL = json.dumps({"default": [{"type": "insecureAcceptAnything"}]})


class Podman:
    """`with Podman(directory) as podman: podman.load(archive)`."""

    PACKAGES: ClassVar = ("podman", "runc")

    def __init__(self, directory: Path) -> None:
        """Keep storage below `directory`, which must exist."""
        self.directory = directory
        self._run_directory: AbstractContextManager[Path] = socket_directory()

    def __enter__(self) -> Self:
        """Make its run-time folder."""
        run_directory = self._run_directory.__enter__()
        policy = self.directory / "policy.json"
        policy.write_text(_ACCEPT_ALL)
        self._global = (
            f"--root={self.directory / 'storage'}",
            f"--runroot={run_directory / 'run'}",
            f"--tmpdir={run_directory / 'tmp'}",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no mount behind."""
        unmount_below(self.directory)
        self._run_directory.__exit__(None, None, None)

    def run(self, *arguments: str) -> str:
        """What `podman ARGUMENTS` printed; raises ComponentError with its message when it fails."""
        return _run(["podman", *self._global, *arguments], self.directory)

    def load(self, archive: Path) -> None:
        """`podman load`."""
        self.run("load", "--quiet", "--input", str(archive))

    def inspect(self, reference: str) -> dict[str, Any]:
        """What podman knows of one image: Id, Architecture, RootFS and more."""
        found: list[dict[str, Any]] = json.loads(self.run("image", "inspect", reference))
        return found[0]

    def image_names(self) -> tuple[str, ...]:
        """Every tag, sorted."""
        listed = self.run("images", "--format", "{{.Repository}}:{{.Tag}}")
        return tuple(sorted(listed.split()))


class Skopeo:
    """`Skopeo(directory).inspect("docker://…")`; loopback registries over plain HTTP are allowed."""

    PACKAGES: ClassVar = ("skopeo",)

    def __init__(self, directory: Path) -> None:
        """Keep temporary files in `directory`, which must exist."""
        self.directory = directory
        (directory / "policy.json").write_text(_ACCEPT_ALL)

    def run(self, *arguments: str) -> str:
        """What `skopeo ARGUMENTS` printed; raises ComponentError with its message when it fails."""
        return _run(["skopeo", f"--policy={self.directory / 'policy.json'}", *arguments], self.directory)

    def inspect(self, source: str) -> dict[str, Any]:
        """The summary of one image."""
        found: dict[str, Any] = json.loads(self.run("inspect", *_plain_http(source, ""), source))
        return found

    def raw(self, source: str) -> str:
        """The manifest or index as it is stored."""
        return self.run("inspect", "--raw", *_plain_http(source, ""), source)

    def copy(self, source: str, target: str, *, architecture: str = "amd64", everything: bool = False) -> None:
        """Copy one platform, or `everything` an index names; transports as skopeo writes them."""
        options = [*_plain_http(source, "src-"), *_plain_http(target, "dest-"), *(["--all"] if everything else [])]
        self.run(f"--override-arch={architecture}", "copy", "--quiet", *options, source, target)


def _plain_http(place: str, prefix: str) -> list[str]:
    return [f"--{prefix}tls-verify=false"] if place.startswith("docker://127.0.0.1") else []


def _run(command: Sequence[str], directory: Path) -> str:
    done = subprocess.run(
        [program(command[0]), *command[1:]],
        env={**os.environ, "TMPDIR": str(directory), "HOME": str(directory)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    if done.returncode != 0:
        raise ComponentError(f"{' '.join(command[-3:])}: {done.stderr.strip()}")
    return done.stdout
