"""A private containerd, and what `ctr` says about it."""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from tests.real.packages import program
from tests.real.process import ComponentError, Process, end_naming, socket_directory, unmount_below

if TYPE_CHECKING:
    from pathlib import Path

_CONFIGURATION = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{address}"
[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
"""


@dataclass(frozen=True, order=True)
class CheckedImage:
    """One line of `ctr images check`."""

    name: str
    media_type: str
    digest: str
    complete: bool
    """Every blob of a platform is there."""
    unpacked: bool


class Containerd:
    """`with Containerd(directory) as containerd: containerd.import_archive(path)`.

    `namespace` is `k8s.io`, where k3s keeps the images of pods.
    """

    PACKAGES: ClassVar = ("containerd", "runc")
    namespace = "k8s.io"

    def __init__(self, directory: Path) -> None:
        """Keep content, state and log below `directory`, which must exist; the socket has a short path."""
        self.directory = directory
        self.log = directory / "containerd.log"
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start it; raises ComponentError, or PackagesUnavailableError when containerd is not installed."""
        with contextlib.ExitStack() as started:
            sockets = started.enter_context(socket_directory())
            self.address = sockets / "containerd.sock"
            configuration = self.directory / "containerd.toml"
            configuration.write_text(self._configuration(sockets / "state"))
            started.callback(unmount_below, self.directory)
            started.callback(end_naming, str(self.address))
            self.process = Process(["containerd", "--config", str(configuration)], self.log)
            started.callback(self.process.stop)
            self.process.wait_ready(lambda: self._try("version").returncode == 0)
            self._cleanup = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it and leave no mount behind."""
        self._cleanup.close()

    def _configuration(self, state: Path) -> str:
        return _CONFIGURATION.format(root=self.directory / "root", state=state, address=self.address)

    def ctr(self, *arguments: str) -> bytes:
        """What `ctr ARGUMENTS` printed; raises ComponentError with its message when it fails."""
        done = self._try(*arguments)
        if done.returncode != 0:
            raise ComponentError(f"ctr {' '.join(arguments)}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _try(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [program("ctr"), "--address", str(self.address), "--namespace", self.namespace, *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=120)

    def import_archive(self, archive: Path, *, unpack: bool = False) -> None:
        """`ctr images import --all-platforms`: what k3s does with a file of agent/images (k3s pkg/agent/containerd)."""
        options = [] if unpack else ["--no-unpack"]
        self.ctr("images", "import", "--all-platforms", *options, str(archive))

    def image_names(self) -> tuple[str, ...]:
        """Every image record, sorted."""
        return tuple(sorted(self.ctr("images", "list", "--quiet").decode().split()))

    def check(self) -> tuple[CheckedImage, ...]:
        """`ctr images check`, sorted by name."""
        rows = [line.split() for line in self.ctr("images", "check").decode().splitlines()[1:]]
        return tuple(
            sorted(CheckedImage(row[0], row[1], row[2], row[3] == "complete", row[-1] == "true") for row in rows)
        )

    def content(self, digest: str) -> bytes:
        """The bytes of one blob; raises ComponentError when it is not there."""
        return self.ctr("content", "get", digest)

    def remove_image(self, name: str) -> None:
        """Remove one image record and collect what only it used."""
        self.ctr("images", "remove", "--sync", name)
