"""The channel server's answer (rancher/channelserver; k3s channel.yaml)."""

from __future__ import annotations

import json

from bundler.errors import MalformedAnswerError, UnknownReleaseError
from bundler.model.release import Release, parse_release


def latest_of(channel: str, collection: bytes, source: str) -> Release:
    """Find what `channel` points to in the JSON collection of channels; `source` is its URL in errors.

    The collection and not the channel's own address, which redirects to github.com and gives no JSON. Raises
    UnknownReleaseError, or MalformedAnswerError when the server answered something else.
    """
    try:
        data = json.loads(collection)["data"]
        latest = {str(entry["name"]): entry.get("latest") or "" for entry in data}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedAnswerError(
            f"{source} did not answer with a list of channels: {type(error).__name__}",
            hint="check sources.channels in the recipe, or name an exact release such as v1.34.1+k3s1",
        ) from None
    if not latest.get(channel):
        known = ", ".join(sorted(name for name, tag in latest.items() if tag))
        why = "has no release at the moment" if channel in latest else "does not exist"
        raise UnknownReleaseError(f"channel {channel} {why} at {source}", hint=f"channels there: {known or 'none'}")
    try:
        return parse_release(latest[channel])
    except (ValueError, TypeError) as error:
        raise MalformedAnswerError(
            f"{source} says that {channel} is {latest[channel]!r}: {error}", hint="name an exact release in the recipe"
        ) from None
