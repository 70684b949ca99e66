"""How long work looks: bars on a terminal, lines elsewhere, JSON events on request, or nothing. All on stderr."""

from __future__ import annotations

import json
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bundler.cli.text import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

    from bundler.progress import Task

LINE_EVERY = 5
"""Seconds between two lines of progress where no terminal is."""


class Reporter:
    """Counts what is done, and lets an interrupted run end: after `cancel`, the next byte counted raises."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._cancelled = threading.Event()
        self._title = "read"
        self._total = self._done = 0

    def cancel(self) -> None:
        """Make every thread that reports raise KeyboardInterrupt at its next step."""
        self._cancelled.set()

    def stage(self, title: str) -> None:
        """Begin a stage."""
        with self._lock:
            self._title, self._total, self._done = title, 0, 0
            self._began(title)

    def note(self, message: str) -> None:
        """Say one thing."""
        with self._lock:
            self._noted(message)

    def expect(self, size: int) -> None:
        """Add to what the stage has to do, in bytes."""
        with self._lock:
            self._total += size
            self._moved(0)

    @contextmanager
    def task(self, title: str, size: int | None) -> Iterator[Task]:
        """Work on one thing."""
        with self._lock:
            counted = self._opened(title, size)
        try:
            yield counted
        finally:
            with self._lock:
                self._closed(counted)

    def advance(self, counted: Counted, count: int) -> None:
        """Count bytes of one thing."""
        if self._cancelled.is_set():
            raise KeyboardInterrupt
        with self._lock:
            counted.done += count
            if counted.size is not None:
                self._done += count
                self._moved(count)
            self._stepped(counted, count)

    def close(self) -> None:
        """Clear what should not stay on the screen."""

    def _began(self, title: str) -> None: ...
    def _noted(self, message: str) -> None: ...
    def _moved(self, count: int) -> None: ...
    def _stepped(self, counted: Counted, count: int) -> None: ...
    def _opened(self, title: str, size: int | None) -> Counted:
        return Counted(self, title, size)

    def _closed(self, counted: Counted) -> None: ...


class Counted:
    """One thing that is worked on; `size` is bytes, None when unknown."""

    def __init__(self, reporter: Reporter, title: str, size: int | None) -> None:
        self._reporter = reporter
        self.title, self.size, self.done = title, size, 0
        self.bar: tqdm[Any] | None = None

    def advance(self, count: int) -> None:
        """Count bytes."""
        self._reporter.advance(self, count)


class Lines(Reporter):
    """Plain lines, and one every few seconds while something is going on."""

    def __init__(self) -> None:
        super().__init__()
        self._said = time.monotonic()
        self._running: list[Counted] = []
        self._over = threading.Event()
        threading.Thread(target=self._beat, name="progress", daemon=True).start()

    def close(self) -> None:
        """Stop talking."""
        self._over.set()

    def _beat(self) -> None:
        while not self._over.wait(1):
            with self._lock:
                if self._running and time.monotonic() - self._said >= LINE_EVERY:
                    self._say(self._state())

    def _state(self) -> str:
        doing = self._running[0].title + (f" and {len(self._running) - 1} more" if len(self._running) > 1 else "")
        known = f"{size_text(self._done)} of {size_text(self._total)}, " if self._total else ""
        return f"{self._title}: {known}{doing}"

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        print(line, file=sys.stderr, flush=True)

    def _began(self, title: str) -> None:
        self._say(f"{title} ...")

    def _noted(self, message: str) -> None:
        self._say(message)

    def _opened(self, title: str, size: int | None) -> Counted:
        counted = super()._opened(title, size)
        self._running.append(counted)
        return counted

    def _closed(self, counted: Counted) -> None:
        self._running.remove(counted)


class Bars(Reporter):
    """One bar for the stage, and one below it for each thing of known size."""

    def __init__(self) -> None:
        from tqdm import tqdm

        super().__init__()
        self._make = tqdm
        self._bar: tqdm[Any] | None = None

    def close(self) -> None:
        """Take the bars away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _began(self, title: str) -> None:
        self.close()
        self._bar = self._new_bar(title, None)

    def _new_bar(self, title: str, size: int | None) -> tqdm[Any]:
        return self._make(
            desc=title[-48:], total=size, unit="B", unit_scale=True, unit_divisor=1024, leave=False, file=sys.stderr
        )

    def _noted(self, message: str) -> None:
        self._make.write(message, file=sys.stderr)

    def _moved(self, count: int) -> None:
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.update(count)

    def _opened(self, title: str, size: int | None) -> Counted:
        counted = super()._opened(title, size)
        if size:
            counted.bar = self._new_bar(f"  {title.rpartition('/')[2]}", size)
        return counted

    def _stepped(self, counted: Counted, count: int) -> None:
        if counted.bar is not None:
            counted.bar.update(count)

    def _closed(self, counted: Counted) -> None:
        if counted.bar is not None:
            counted.bar.close()


class Events(Reporter):
    """One JSON object a line: stage, note, start, progress and end."""

    def __init__(self) -> None:
        super().__init__()
        self._said = 0.0

    def _say(self, event: str, **fields: object) -> None:
        print(json.dumps({"event": event, **fields}), file=sys.stderr, flush=True)

    def _began(self, title: str) -> None:
        self._say("stage", stage=title)

    def _noted(self, message: str) -> None:
        self._say("note", message=message)

    def _moved(self, count: int) -> None:
        if count and time.monotonic() - self._said >= 1:
            self._said = time.monotonic()
            self._say("progress", stage=self._title, done=self._done, total=self._total)

    def _opened(self, title: str, size: int | None) -> Counted:
        self._say("start", stage=self._title, what=title, size=size)
        return super()._opened(title, size)

    def _closed(self, counted: Counted) -> None:
        self._say("end", stage=self._title, what=counted.title, done=counted.done)


def reporter(form: str) -> Reporter:
    """Make the reporter for `--progress`: auto, bars, lines, json or none."""
    if form == "auto":
        form = "bars" if sys.stderr.isatty() else "lines"
    return {"bars": Bars, "lines": Lines, "json": Events, "none": Reporter}[form]()
