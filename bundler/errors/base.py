"""What every error has."""

from __future__ import annotations

from typing import ClassVar


class BundlerError(Exception):
    """A failure with a cause a person can understand and a step they can take.

    `what` says what happened, where and why, and names the image, architecture or file. `hint` says what to do.
    """

    name: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"error[{self.name}]: {self.what}\nhint: {self.hint}"
