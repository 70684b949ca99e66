"""Looking for images where no schema says what is one: custom resources, CRDs, ConfigMaps, arguments, Helm values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bundler.workloads.uses import Maybe, pod_image

if TYPE_CHECKING:
    from bundler.workloads.objects import Data

_HOST = r"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+|localhost)(?::[0-9]{1,5})?"
_PATH = r"(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+"
_END = r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
_WHOLE = re.compile(rf"{_HOST}{_PATH}(?=[:@]){_END}")
"""A name with everything: host, path, and a tag or digest. Anything shorter may as well be a path, or host and port."""

_LINE = re.compile(
    r"""^[ \t]*(?:-[ \t]+)?["']?image["']?[ \t]*:[ \t]*["']?([^\s"'#,{}]+)["']?[ \t]*,?[ \t]*(?:#.*)?$""", re.MULTILINE
)
_LONGEST = 500
_MOST_TEXT = 1 << 20


def search(data: Data) -> Iterator[Maybe]:
    """Find what may be an image anywhere below `data`; `where` is the path to it."""
    yield from _search(data, "")


def shaped_image(data: Mapping[str, Data]) -> tuple[str, bool] | None:
    """Put together `{registry, repository, tag, digest}` as charts write it; the flag says whether it is complete."""
    repository = data.get("repository") or data.get("repo")
    tag, digest, registry = data.get("tag"), data.get("digest") or data.get("sha"), data.get("registry")
    if not isinstance(repository, str) or not _is_text(repository) or "://" in repository:
        return None
    if "tag" not in data and "digest" not in data and "registry" not in data:
        return None
    text = f"{registry}/{repository}" if isinstance(registry, str) and registry else repository
    whole = isinstance(tag, str | int) and not isinstance(tag, bool) and tag != ""
    text += f":{tag}" if whole else ""
    if isinstance(digest, str) and digest:
        text += "@" + (digest if ":" in digest else f"sha256:{digest}")
        whole = True
    if not _parses(text):
        return None
    return text, whole


def _search(data: Data, path: str) -> Iterator[Maybe]:
    if isinstance(data, Mapping):
        if shaped := shaped_image(data):
            yield Maybe(shaped[0], path)
        name, value = data.get("name"), data.get("value")
        if isinstance(name, str) and isinstance(value, str) and name.upper().endswith("IMAGE") and _is_image(value):
            yield Maybe(value, f"{path}.value of {name}")
        for key, child in data.items():
            yield from _search_entry(str(key), child, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for index, child in enumerate(data):
            yield from _search(child, f"{path}[{index}]")
    elif isinstance(data, str):
        yield from _search_text(data, path)


def _search_entry(key: str, child: Data, path: str) -> Iterator[Maybe]:
    lower = key.lower()
    if isinstance(child, str) and lower.endswith("image") and _is_image(child, short=lower == "image"):
        yield Maybe(child, path)
    elif isinstance(child, Mapping) and lower.endswith("image") and isinstance(child.get("default"), str):
        yield from (Maybe(text, f"{path}.default") for text in [child["default"]] if _is_image(text))
        yield from _search(child, path)
    else:
        yield from _search(child, path)


def _search_text(text: str, path: str) -> Iterator[Maybe]:
    if "\n" in text:
        for match in _LINE.finditer(text[:_MOST_TEXT]):
            if _is_image(match[1], short=True):
                yield Maybe(match[1], path)
        return
    for part in (text, text.partition("=")[2]):
        if len(part) <= _LONGEST and _WHOLE.fullmatch(part) and _parses(part):
            yield Maybe(part, path)
            return


def _is_image(text: str, *, short: bool = False) -> bool:
    return _is_text(text) and _parses(text) and (short or "/" in text or ":" in text)


def _is_text(text: str) -> bool:
    return 0 < len(text) <= _LONGEST


def _parses(text: str) -> bool:
    try:
        pod_image(text)
    except ValueError:
        return False
    return True
