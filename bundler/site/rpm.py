"""RPM packages, as far as their names: lead, signature and header (rpm.org, "Package format v4")."""

from __future__ import annotations

import struct
from dataclasses import dataclass

LEAD = b"\xed\xab\xee\xdb"
_HEADER = b"\x8e\xad\xe8\x01"
_LEAD_SIZE, _START, _ENTRY = 96, 16, 16
_STRING = 6
_TAGS = {1000: "name", 1001: "version", 1002: "release", 1022: "arch"}


@dataclass(frozen=True)
class Rpm:
    """What a package calls itself."""

    name: str
    version: str
    release: str
    arch: str

    @property
    def file_name(self) -> str:
        """The name of its file, by which the installer chooses."""
        return f"{self.name}-{self.version}-{self.release}.{self.arch}.rpm"


def parse_rpm(data: bytes) -> Rpm:
    """Read the beginning of a package, with its whole header; raises ValueError."""
    if not data.startswith(LEAD):
        raise ValueError("is no RPM package")
    signature = _LEAD_SIZE + _size(data, _LEAD_SIZE)
    at = (signature + 7) // 8 * 8
    end = at + _size(data, at)
    if end > len(data):
        raise ValueError("is an RPM package that was cut off, or one with a header of several MiB")
    count = struct.unpack_from(">I", data, at + 8)[0]
    strings = at + _START + count * _ENTRY
    found: dict[str, str] = {}
    for index in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", data, at + _START + index * _ENTRY)
        if tag in _TAGS and kind == _STRING and strings + offset < end:
            text = data[strings + offset : end].partition(b"\0")[0]
            found[_TAGS[tag]] = text.decode("ascii", "replace")
    if found.keys() != set(_TAGS.values()):
        raise ValueError("is an RPM package that does not say its name, version, release and architecture")
    return Rpm(**found)


def _size(data: bytes, at: int) -> int:
    """Give the bytes of a header structure that begins at `at`, its start included."""
    if data[at : at + 4] != _HEADER or len(data) < at + _START:
        raise ValueError("is an RPM package whose header is damaged or missing")
    count, size = struct.unpack_from(">II", data, at + 8)
    return int(_START + count * _ENTRY + size)
