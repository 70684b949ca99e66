"""How long work says what it is doing. Stages speak to `Progress`; `cli` decides how it looks.

A *task* is a thing with a size: a file, a layer, an archive. Sizes are bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Task(Protocol):
    """One thing that is being worked on."""

    def advance(self, count: int) -> None:
        """Say that `count` more bytes are done; negative when bytes have to be fetched again."""


class Progress(Protocol):
    """Where stages report to. Safe to call from several threads."""

    def stage(self, title: str) -> None:
        """Say that a new stage of the path begins."""

    def note(self, message: str) -> None:
        """Say one thing worth knowing, such as a retry or a choice that was made."""

    def expect(self, size: int) -> None:
        """Add `size` bytes to what the present stage has to do."""

    @contextmanager
    def task(self, title: str, size: int | None) -> Iterator[Task]:
        """Work on one thing of `size` bytes (None when unknown); it ends with the context."""


class SilentTask:
    """A task nobody watches."""

    def advance(self, count: int) -> None:
        """Say nothing."""


class Silent:
    """Progress nobody watches: `--quiet`, and tests."""

    def stage(self, title: str) -> None:
        """Say nothing."""

    def note(self, message: str) -> None:
        """Say nothing."""

    def expect(self, size: int) -> None:
        """Say nothing."""

    @contextmanager
    def task(self, title: str, size: int | None) -> Iterator[Task]:  # noqa: ARG002
        """Say nothing."""
        yield SilentTask()
