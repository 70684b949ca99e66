"""What can happen to a bundle on its way, by name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.site.bundles import write_sums

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def swapped(bundle: Path) -> None:
    first, second = bundle / "etc/config.yaml", bundle / "etc/registries.yaml"
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)


def edited(change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def damage(bundle: Path) -> None:
        sums = bundle / "SHA256SUMS"
        sums.write_text("".join(line + "\n" for line in change(sums.read_text().splitlines())))

    return damage


def line_for(path: str, content: bytes = b"") -> str:
    return f"{hashlib.sha256(content).hexdigest()}  {path}"


def linked(bundle: Path) -> None:
    (bundle / "README.txt").rename(bundle.parent / "README.txt")
    (bundle / "README.txt").symlink_to("../README.txt")


def other_format(bundle: Path) -> None:
    (bundle / "bundle.facts").write_text("format=2\n")
    write_sums(bundle)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "swapped files": swapped,
    "extra file": lambda bundle: (bundle / "images/extra.tar").write_text("x"),
    "extra hidden file": lambda bundle: (bundle / ".hidden").write_text("x"),
    "extra link": lambda bundle: (bundle / "link").symlink_to("README.txt"),
    "file as link": linked,
    "missing file": lambda bundle: (bundle / "lock.json").unlink(),
    "missing sums": lambda bundle: (bundle / "SHA256SUMS").unlink(),
    "empty sums": lambda bundle: (bundle / "SHA256SUMS").write_text(""),
    "missing facts": lambda bundle: (bundle / "bundle.facts").unlink(),
    "CRLF": lambda bundle: (bundle / "SHA256SUMS").write_bytes(
        (bundle / "SHA256SUMS").read_bytes().replace(b"\n", b"\r\n")
    ),
    "one blank": edited(lambda lines: [line.replace("  ", " ") for line in lines]),
    "binary mark": edited(lambda lines: [line.replace("  ", " *") for line in lines]),
    "upper case": edited(lambda lines: [line[:64].upper() + line[64:] for line in lines]),
    "missing entry": edited(lambda lines: lines[1:]),
    "missing installer entry": edited(lambda lines: [line for line in lines if "install.sh" not in line]),
    "extra entry": edited(lambda lines: [*lines, line_for("zzz")]),
    "twice": edited(lambda lines: [*lines, lines[-1]]),
    "absolute path": edited(lambda lines: [line_for("/etc/hostname"), *lines]),
    "path upwards": edited(lambda lines: [line_for("../x"), *lines]),
    "path with dot": edited(lambda lines: [line_for("./x"), *lines]),
    "empty line": edited(lambda lines: [*lines[:2], "", *lines[2:]]),
    "empty line at the end": edited(lambda lines: [*lines, ""]),
    "comment": edited(lambda lines: ["# sums", *lines]),
    "sums of itself": edited(lambda lines: sorted([*lines, line_for("SHA256SUMS")], key=lambda line: line[66:])),
    "other format": other_format,
}
