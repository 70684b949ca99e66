"""Addresses of servers, checked before anything is asked of them."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from bundler.model.reference import is_registry_host

_PRINTABLE = re.compile(r"[!-~]+")
_LONGEST = 2000
_ACCOUNT = re.compile(r"://[^/\s@]*:[^/\s@]*@|://[^/\s@:\[]*:(?![0-9]{1,5}(?:[/?#,;\s]|$))[^\s@]*@")


def holds_account(text: str) -> bool:
    """Say whether a URL in `text` has a name and a password in it; people write passwords with a slash as they are.

    What stands between a colon and a slash is taken for a port when it can be one.
    """
    return _ACCOUNT.search(text) is not None


def parse_http_url(text: str) -> str:
    """Check an http or https URL without account, query and fragment, and drop a slash at its end; raises ValueError.

    The message never repeats the URL: it may hold a password.
    """
    # urlsplit drops tabs and line ends without a word, hence the look at the text itself first.
    if not _PRINTABLE.fullmatch(text) or "\\" in text or len(text) > _LONGEST:
        raise ValueError("is not a URL: it has spaces, characters outside ASCII or backslashes, or is too long")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("is not a URL: its host cannot be read") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds an account: secrets do not belong in a recipe, the builder's Docker login is used")
    if not text.startswith(("https://", "http://")):
        raise ValueError("is not a URL that begins with https:// or http://")
    if not is_registry_host(parts.netloc):
        raise ValueError("is a URL whose host or port is missing or impossible")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("is a URL with ? or #: write only scheme, host, port and path")
    return text.rstrip("/")


def host_of(url: str) -> str:
    """Give host and port of a checked URL, exactly as written."""
    return urlsplit(url).netloc


HttpUrl = Annotated[
    str, AfterValidator(parse_http_url), Field(json_schema_extra={"pattern": "^https?://[^@/?#\\s]+(/[^?#\\s]*)?$"})
]
"""An http or https URL inside a pydantic model."""
