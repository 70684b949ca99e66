"""What every engine can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.engines.intake import Intake
    from bundler.model.lock import LockedImage
    from bundler.progress import Progress


class Engine(Protocol):
    """Brings the images of a lock. `name` is what people call it on the command line."""

    name: str

    def pull(self, images: Sequence[LockedImage], intake: Intake, jobs: int, progress: Progress) -> None:
        """Bring the config and every layer of `images` into `intake`; at most `jobs` at a time.

        Whatever was brought stays when this raises, so that the next run goes on. Raises network, integrity and host
        errors.
        """

    def close(self) -> None:
        """Let go of its connections."""
