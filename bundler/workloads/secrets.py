"""Values of charts that look like secrets: they lie in the lock and in the bundle as they are, which is said aloud."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bundler.model.address import holds_account

if TYPE_CHECKING:
    from bundler.workloads.objects import Data

_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[.\s-]+")
_SECRET = re.compile(
    r"(?:^|_)(?:[A-Z]*PASSWORD|PASSWD|PASSPHRASE|PWD|TOKEN|SECRET|CREDENTIAL|(?:API|ACCESS|PRIVATE|SECRET)_?KEY)S?$"
)
_NAME_OF_ONE = re.compile(r"(?:^|_)(?:EXISTING|PULL|TLS)_SECRETS?$")
"""Keys under which charts want the name of a Secret that is there already."""


def secrets_in(values: Data, path: str = "") -> Iterator[str]:
    """Find what looks like a secret in the values of a chart, by key or as an account in a URL; gives each path."""
    if isinstance(values, Mapping):
        if isinstance(values.get("name"), str) and _is_secret(values["name"], values.get("value")):
            yield f"{path}.value of {values['name']}"
        for key, child in values.items():
            below = f"{path}.{key}" if path else str(key)
            if _is_secret(str(key), child):
                yield below
            else:
                yield from secrets_in(child, below)
    elif isinstance(values, list | tuple):
        for index, child in enumerate(values):
            yield from secrets_in(child, f"{path}[{index}]")
    elif isinstance(values, str) and holds_account(values):
        yield path


def _is_secret(key: str, value: Data) -> bool:
    name = _BETWEEN_WORDS.sub("_", key).upper()
    written = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return written and _SECRET.search(name) is not None and not _NAME_OF_ONE.search(name)
