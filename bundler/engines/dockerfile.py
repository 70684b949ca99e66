"""Finds the images that a Dockerfile stands on, so that they can be locked and pinned before the daemon reads it.

The syntax is that of the classic builder (docs.docker.com/reference/dockerfile, moby builder/dockerfile/parser).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCRATCH = "scratch"
"""The name of no image at all."""

_DIRECTIVE = re.compile(r"#\s*([A-Za-z]+)\s*=\s*(\S+)\s*")
_FROM = re.compile(r"\s*FROM\s+((?:--\S+\s+)*)([^\s#-]\S*)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_BEGINS_FROM = re.compile(r"\s*FROM\b", re.IGNORECASE)
_COPY = re.compile(r"\s*COPY\s", re.IGNORECASE)
_COPY_FROM = re.compile(r"(?<=\s)--from=(\S+)")
_ARG = re.compile(r"\s*ARG\s+(.*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::?-([^}$]*))?\}|([A-Za-z_][A-Za-z0-9_]*))")


@dataclass(frozen=True)
class Base:
    """An image a stage begins with or copies from; `platform` is what the Dockerfile says it has to be for."""

    name: str
    platform: str | None = None


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile with the places where it names images. Make it with `parse_dockerfile`."""

    text: str
    uses: tuple[tuple[int, int, Base], ...]
    declared: frozenset[str]

    @property
    def bases(self) -> tuple[Base, ...]:
        """Every image it names, once, in order; `scratch` too."""
        return tuple(dict.fromkeys(base for _, _, base in self.uses))

    def pinned(self, pins: Mapping[Base, str]) -> str:
        """Write it with other names for the images in `pins`."""
        text, end = [], 0
        for start, stop, base in self.uses:
            text += [self.text[end:start], pins.get(base, self.text[start:stop])]
            end = stop
        return "".join((*text, self.text[end:]))


def parse_dockerfile(text: str, args: Mapping[str, str], target: str | None, name: str) -> Dockerfile:
    """Find the images; `args` are the build arguments, `name` is the file in errors. Raises UsageError.

    Stages after `target` are not looked at: the builder stops there.
    """
    directives = dict(_directives(text))
    if "syntax" in directives:
        raise UsageError(
            f"{name} begins with # syntax={directives['syntax']}, which only BuildKit reads, and the Docker SDK builds "
            "with the classic builder",
            hint="remove the line if it is not needed; otherwise build with `docker buildx build --output "
            "type=oci,dest=app.tar` and write {archive: ./app.tar}",
        )
    reader = _Reader(args, target, name)
    for start, line, first in _lines(text, directives.get("escape", "\\")):
        reader.take(start, line, first=first)
    if target and not reader.found_target:
        raise UsageError(f"{name} has no stage {target}", hint=f"it has: {', '.join(reader.stages) or 'none'}")
    return Dockerfile(text, tuple(reader.uses), frozenset(reader.declared))


class _Reader:
    """Takes the lines of a Dockerfile one by one."""

    def __init__(self, args: Mapping[str, str], target: str | None, name: str) -> None:
        self._args, self._target, self._name = args, (target or "").lower(), name
        self._defaults: dict[str, str] = {}
        self._copying = self._over = False
        self.stages: list[str] = []
        self.uses: list[tuple[int, int, Base]] = []
        self.declared: set[str] = set()

    @property
    def found_target(self) -> bool:
        """Say whether the stage that is wanted was there."""
        return self._over or self.at_target

    @property
    def at_target(self) -> bool:
        """Say whether the present stage is the one that is wanted, by name or by number."""
        return bool(self.stages) and self._target in {self.stages[-1], str(len(self.stages) - 1)}

    def take(self, start: int, line: str, *, first: bool) -> None:
        """Take a line that begins at `start`; `first` when it begins an instruction."""
        if first:
            self._copying = _COPY.match(line) is not None
            if _BEGINS_FROM.match(line):
                self._over = self._over or self.at_target
                if not self._over:
                    self._from(start, line)
            elif argument := _ARG.fullmatch(line):
                self._argument(argument[1])
        if self._copying and not self._over:
            for copied in _COPY_FROM.finditer(line):
                if not copied[1].isdigit() and copied[1].lower() not in self.stages:
                    self.uses.append((start + copied.start(1), start + copied.end(1), Base(copied[1])))

    def _argument(self, text: str) -> None:
        try:
            words = shlex.split(text)
        except ValueError:  # the daemon will say what is wrong
            words = text.split()
        for word in words:
            name, given, value = word.partition("=")
            self.declared.add(name)
            if given and not self.stages:
                self._defaults[name] = value

    def _from(self, start: int, line: str) -> None:
        found = _FROM.fullmatch(line)
        if not found:
            raise UsageError(
                f"{self._name}: `{line.strip()[:80]}` is not FROM [--platform=...] IMAGE [AS NAME]",
                hint="write it on one line",
            )
        image = self._filled(found[2])
        if image.lower() not in self.stages:
            self.uses.append((start + found.start(2), start + found.end(2), Base(image, self._platform(found[1]))))
        self.stages.append((found[3] or str(len(self.stages))).lower())

    def _platform(self, flags: str) -> str | None:
        for flag in flags.split():
            name, _, value = flag.partition("=")
            if name == "--platform":
                return self._filled(value)
        return None

    def _filled(self, text: str) -> str:
        """Put in the arguments that FROM may use: those declared before the first stage."""

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[3]
            known = self._defaults | {each: self._args[each] for each in self.declared & self._args.keys()}
            return known.get(name) or match[2] or ""

        filled = _VARIABLE.sub(value, _VARIABLE.sub(value, text))
        if not filled or "$" in filled:
            raise UsageError(
                f"{self._name}: what {text} is cannot be known before the build",
                hint="give it a value under args; BUILDPLATFORM and the like are known to BuildKit alone",
            )
        return filled


def _directives(text: str) -> Iterator[tuple[str, str]]:
    """Read the comments at the very top that are parser directives."""
    for line in text.splitlines():
        found = _DIRECTIVE.fullmatch(line.strip())
        if not found:
            return
        yield found[1].lower(), found[2]


def _lines(text: str, escape: str) -> Iterator[tuple[int, str, bool]]:
    """Give every line that is no comment, where it begins, and whether an instruction begins there."""
    start, first = 0, True
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if bare and not bare.startswith("#"):
            yield start, line.rstrip("\r\n"), first
            first = not bare.endswith(escape)
        start += len(line)
