"""What several servers did, in one error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import AssetNotFoundError, BundlerError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Sequence


def telling(failures: Sequence[BundlerError]) -> BundlerError:
    """Pick the failure that says most: wrong bytes weigh more than no bytes, and anything more than "not there"."""
    wrong = next((failure for failure in failures if isinstance(failure, IntegrityError)), None)
    return wrong or next((failure for failure in failures if not isinstance(failure, AssetNotFoundError)), failures[0])


def verdict(failures: Sequence[BundlerError]) -> BundlerError:
    """Put what all places did, in their order, into one error of the kind of the most telling one."""
    most = telling(failures)
    if len(failures) == 1:
        return most
    return type(most)("; then ".join(failure.what for failure in failures), hint=most.hint)
