"""What a daemon says of a build that fails, as errors a person can act on; and what of the log gets through."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bundler.engines.builder import TAIL, Build, Builder
from bundler.engines.context import open_context
from bundler.engines.daemon import connect
from bundler.errors import BuildFailedError, BundlerError, DaemonFailedError, DiskFullError, WrongArchitectureError
from bundler.progress import Silent
from bundler.store.store import open_store
from tests.recorded_daemon import CONTAINERD, RecordedDaemon

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MADE = f"sha256:{'ab' * 32}"
STEP = {"stream": "Step 1/1 : FROM scratch\n"}


class Told(Silent):
    """Progress that keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@contextmanager
def build(folder: Path, *events: object, told: Silent | None = None, arch: str = "amd64") -> Iterator[str]:
    """Build in a daemon that answers with these events."""
    (folder / "app").mkdir()
    (folder / "app" / "Dockerfile").write_text("FROM scratch\n")
    context = open_context(folder / "app", "./app", "Dockerfile", None, {"WORD": "hush"})
    body = b"".join(json.dumps(event).encode() + b"\r\n" for event in events)
    images = {MADE: {"Id": MADE, "Os": "linux", "Architecture": arch}}
    with RecordedDaemon(CONTAINERD, b"", images=images, build=body) as recorded, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", recorded.host)
        daemon = connect()
        try:
            builder = Builder(daemon, open_store(folder / "cache"), told or Silent(), keep_images=False)
            wanted = Build("x.example/app:1", "amd64", context, context.digest(), frozenset({"hush"}))
            with builder.built(wanted, {}) as made:
                yield made
        finally:
            daemon.close()


def failure(folder: Path, *events: object, arch: str = "amd64") -> BundlerError:
    with pytest.raises(BundlerError) as refused, build(folder, *events, arch=arch):
        pass
    return refused.value


@pytest.mark.parametrize(
    ("message", "kind", "hint"),
    [
        ("ApplyLayer exit status 1: write /big: no space left on device", DiskFullError, "data root"),
        ("exec /bin/sh: exec format error", BuildFailedError, "qemu-user-static"),
        ("the --mount option requires BuildKit. Refer to https://docs.docker.com", BuildFailedError, "docker buildx"),
        ("dockerfile parse error line 3: unknown instruction: COPPY", BuildFailedError, "correct the Dockerfile"),
        ("The command '/bin/sh -c false' returned a non-zero code: 1", BuildFailedError, "docker build"),
    ],
)
def test_what_the_daemon_says_becomes_an_error_with_a_way_out(
    tmp_path: Path, message: str, kind: type[BundlerError], hint: str
) -> None:
    error = failure(tmp_path, STEP, {"errorDetail": {"message": message}, "error": message})
    assert type(error) is kind
    assert error.what.startswith(f"x.example/app:1 (amd64): building ./app failed: {message}")
    assert error.what.endswith("\n  | Step 1/1 : FROM scratch")
    assert hint in error.hint


def test_only_the_end_of_a_long_log_is_in_the_error_without_escapes_and_hidden_values(tmp_path: Path) -> None:
    lines = [{"stream": f"\x1b[91mline {n}\x1b[0m of hush\x07\n"} for n in range(100)]
    error = failure(tmp_path, *lines, {"error": "failed with hush"})
    assert error.what.splitlines()[1:] == [f"  | line {n} of ***" for n in range(100 - TAIL, 100)]
    assert "hush" not in error.what


def test_lines_are_told_whole_however_they_arrive(tmp_path: Path) -> None:
    told = Told()
    pieces = [{"stream": "one "}, {"stream": "line\ntwo"}, {"stream": "\n\n"}, {"aux": {"ID": MADE}}]
    with build(tmp_path, *pieces, told=told) as made:
        assert made == MADE
    assert told.notes == ["x.example/app:1 (amd64): one line", "x.example/app:1 (amd64): two"]


def test_a_result_of_another_architecture_is_refused(tmp_path: Path) -> None:
    error = failure(tmp_path, STEP, {"aux": {"ID": MADE}}, arch="arm64")
    assert isinstance(error, WrongArchitectureError)
    assert "gave an image for linux/arm64" in error.what


def test_a_build_without_a_result_is_an_error(tmp_path: Path) -> None:
    assert isinstance(failure(tmp_path, STEP), BuildFailedError)


def test_an_answer_that_is_no_json_is_a_daemon_that_failed(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "Dockerfile").write_text("FROM scratch\n")
    context = open_context(tmp_path / "app", "./app", "Dockerfile", None, {})
    with RecordedDaemon(CONTAINERD, b"", build=b'{"stream": "cut') as recorded, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", recorded.host)
        daemon = connect()
        builder = Builder(daemon, open_store(tmp_path / "cache"), Silent(), keep_images=False)
        wanted = Build("x.example/app:1", "amd64", context, context.digest(), frozenset())
        with pytest.raises(DaemonFailedError, match=r"broke off while building x\.example/app:1"):  # noqa: SIM117
            with builder.built(wanted, {}):
                pass
        daemon.close()
