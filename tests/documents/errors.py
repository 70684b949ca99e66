"""docs/errors.md: every error by name, from the classes in bundler/errors/ and their docstrings."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from bundler.errors import BundlerError, host, integrity, lock, network, use

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Errors

Generated from `bundler/errors/` by `make docs`: change the docstrings there, not this file.

Every failure says what happened, where and why, and what to do:

```
error[digest-mismatch]: ...
hint: ...
```

The name in brackets is below, with the exit code. An `error[bug]` (exit code 1) is a mistake of k3s-bundler itself: run
the same command with `-v` and report what it prints. Interrupted runs end with 130 (Ctrl-C), 143 (SIGTERM) or 141 (the
reader of a pipe went away); the same command goes on where they stopped.
"""


def error_classes() -> tuple[type[BundlerError], ...]:
    """List every error, family by family, in the order of the modules."""
    return tuple(
        each
        for family in (use, network, integrity, host, lock)
        for each in vars(family).values()
        if isinstance(each, type) and issubclass(each, BundlerError) and each is not BundlerError
    )


def meaning_and_remedy(error: type[BundlerError]) -> tuple[str, str]:
    """Split the docstring: its first paragraph says what the error means, the second what to do.

    Raises ValueError when there is no second one.
    """
    meaning, *others = inspect.cleandoc(error.__doc__ or "").split("\n\n")
    if not meaning or not others:
        raise ValueError(f"the docstring of {error.__name__} lacks its second paragraph: what a person can do")
    return " ".join(meaning.split()), " ".join(others[0].split())


def error_document() -> str:
    """Write the whole document."""
    return _HEAD + "".join(_lines(error_classes()))


def _lines(classes: tuple[type[BundlerError], ...]) -> Iterator[str]:
    for family in (each for each in classes if each.__base__ is BundlerError):
        yield f"\n## Exit code {family.exit_code}\n"
        for error in (each for each in classes if issubclass(each, family)):
            meaning, remedy = meaning_and_remedy(error)
            yield f"\n### {error.name}\n\n{meaning}\n\n{remedy}\n"
