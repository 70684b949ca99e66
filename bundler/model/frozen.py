"""The base of every model that is read from or written to JSON."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

LARGEST = 1 << 53
"""Bytes: no more than any reader of JSON keeps exactly, and than there are."""

Size = Annotated[int, Field(ge=0, le=LARGEST)]
"""Bytes, up to `LARGEST`."""


class Frozen(BaseModel):
    """A value that never changes, refuses unknown keys and is written with camelCase keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, defer_build=True, alias_generator=to_camel, populate_by_name=True
    )

    def to_json(self) -> bytes:
        """Write sorted, indented JSON with a final newline: the same value always gives the same bytes."""
        data = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
