"""Manifests as Kubernetes reads them: YAML or JSON, one document or several, each an object or a list of objects.

Anchors and merge keys work, as in sigs.k8s.io/yaml. What that reader would let pass and nobody means is refused: a key
that is there twice. Limits stop hostile files before anything is built from them.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import yaml

from bundler.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterator

Data: TypeAlias = Any
"""Decoded YAML or JSON: text, numbers, booleans, None, lists and mappings of these."""

MOST_BYTES = 16 << 20
"""Bytes of a manifest; an object alone cannot have more than etcd's 1.5 MiB."""

MOST_DEPTH = 100
MOST_VALUES = 1_000_000  # with aliases written out
_MERGE = "tag:yaml.org,2002:merge"
_HINT = "k3s applies what `kubectl apply -f` applies: check the file with `kubectl apply --dry-run=client -f`"


@dataclass(frozen=True)
class KubernetesObject:
    """One object of a manifest; `source` is the file, `data` the whole object as decoded."""

    source: str
    api_version: str
    kind: str
    name: str
    namespace: str
    data: Mapping[str, Data]

    @property
    def group(self) -> str:
        """The API group: `apps` of `apps/v1`, empty for `v1`."""
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.source}: {self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def read_objects(data: bytes, source: str) -> tuple[KubernetesObject, ...]:
    """Read every object of a manifest, lists written out; `source` names the file. Raises ManifestError."""
    found: list[KubernetesObject] = []
    for number, document in enumerate(read_documents(data, source), 1):
        if document is not None:
            found += _objects(document, f"{source}: document {number}", source, "", "")
    return tuple(found)


def read_documents(data: bytes, source: str) -> tuple[Data, ...]:
    """Read every document of a YAML or, by the name of `source`, JSON file as plain data. Raises ManifestError."""
    if len(data) > MOST_BYTES:
        raise ManifestError(f"{source} is bigger than {MOST_BYTES >> 20} MiB: this is no manifest", hint=_HINT)
    try:
        text = data.decode("utf-8-sig")
        if source.endswith(".json"):
            return (json.loads(text, object_pairs_hook=_without_repeats),)
        _require_bounds(text)
        return tuple(yaml.load_all(text, Loader=_Loader))
    except UnicodeDecodeError:
        raise ManifestError(f"{source} is not UTF-8", hint="save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise ManifestError(f"{place}: {_plain(error)}", hint=_HINT) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(f"{source}: {str(error)[:300]}", hint=_HINT) from None


def _plain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "this is not YAML"
    if "unhashable" in problem:
        return "a list or mapping is a key; a template such as {{ .Values.image }} has to be rendered first"
    return f"{error.context + ': ' if error.context else ''}{problem}"


def _objects(data: Data, place: str, source: str, api_version: str, kind: str) -> Iterator[KubernetesObject]:
    """Give an object, or those of a list; its items may leave out version and kind (apimachinery, unstructured)."""
    if not isinstance(data, Mapping):
        raise ManifestError(f"{place} is no object: apiVersion, kind and metadata are expected", hint=_HINT)
    api_version, kind = _word(data, "apiVersion", api_version, place), _word(data, "kind", kind, place)
    items = data.get("items")
    if isinstance(items, list):
        for index, item in enumerate(items):
            inner = ("", "") if kind == "List" else (api_version, kind.removesuffix("List"))
            yield from _objects(item, f"{place}, items[{index}]", source, *inner)
        return
    metadata = data.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = metadata.get("name") or metadata.get("generateName") or "", metadata.get("namespace") or ""
    yield KubernetesObject(source, api_version, kind, str(name), str(namespace), data)


def _word(data: Mapping[str, Data], key: str, default: str, place: str) -> str:
    value = data.get(key) or default
    if not isinstance(value, str) or not value:
        raise ManifestError(f"{place} has no {key}: it is no object of Kubernetes", hint=_HINT)
    return value


class _Loader(yaml.CSafeLoader):
    """Text stays text where PyYAML would make a date of it or stumble: `=` is a value in CRDs that are in use."""

    yaml_implicit_resolvers = {  # noqa: RUF012  PyYAML's own name and kind of table
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rpartition(":")[2] not in {"timestamp", "value"}]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Write out merge keys: own keys win, then the first mapping merged (yaml.org/type/merge).

        PyYAML 6.0.4 gives the wrong one of two values where what is merged has merged itself.
        """
        own = [(key, value) for key, value in node.value if key.tag != _MERGE]
        merged: dict[Hashable, tuple[yaml.Node, yaml.Node]] = {}
        for value in (value for key, value in node.value if key.tag == _MERGE):
            for source in value.value if isinstance(value, yaml.SequenceNode) else (value,):
                if not isinstance(source, yaml.MappingNode):
                    raise yaml.constructor.ConstructorError(None, None, "only mappings can be merged", value.start_mark)
                self.flatten_mapping(source)
                for name, entry in {_key(entry[0]): entry for entry in source.value}.items():
                    merged.setdefault(name, entry)
        taken = {_key(key) for key, _ in own}
        node.value = [entry for name, entry in merged.items() if name not in taken] + own


def _key(node: yaml.Node) -> Hashable:
    return (node.tag, node.value) if isinstance(node, yaml.ScalarNode) else id(node)


def _without_repeats(pairs: list[tuple[str, Data]]) -> dict[str, Data]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)} is here twice")
    return found


class _Open:
    """A list or mapping whose end has not come yet, and how many values it has so far, aliases written out."""

    def __init__(self, event: yaml.CollectionStartEvent) -> None:
        self.anchor, self.values, self.children = event.anchor, 1, 0
        self.keys: set[str] | None = set() if isinstance(event, yaml.MappingStartEvent) else None

    def add(self, event: yaml.Event, size: int) -> None:
        """Count a child; a key must not be there twice, one that a merge key brings does not count."""
        if self.keys is not None and self.children % 2 == 0 and isinstance(event, yaml.ScalarEvent):
            if event.value in self.keys and not (event.value == "<<" and event.implicit[0]):
                raise ValueError(f"line {_line(event)}: {event.value} is here twice")
            self.keys.add(event.value)
        self.children += 1
        self.values += size


def _require_bounds(text: str) -> None:
    """Raise ValueError for what is too deep, too big with its aliases written out, holds itself, or has a key twice."""
    opened: list[_Open] = []
    known: dict[str, int] = {}
    events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            known.clear()
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(opened) >= MOST_DEPTH:
                raise ValueError(f"line {_line(event)}: nested deeper than {MOST_DEPTH} levels")
            opened.append(_Open(event))
        elif isinstance(event, yaml.CollectionEndEvent | yaml.ScalarEvent | yaml.AliasEvent):
            size = _size(event, opened, known)
            if opened:
                opened[-1].add(event, size)
                if opened[-1].values > MOST_VALUES:
                    raise ValueError(f"line {_line(event)}: more than {MOST_VALUES} values, with aliases written out")


def _size(event: yaml.Event, opened: list[_Open], known: dict[str, int]) -> int:
    """Count the values of what ends here, and note them under its anchor."""
    if isinstance(event, yaml.AliasEvent):
        if event.anchor not in known:
            raise ValueError(f"line {_line(event)}: the alias *{event.anchor} has no finished anchor before it")
        return known[event.anchor]
    closed = opened.pop() if isinstance(event, yaml.CollectionEndEvent) else None
    size, anchor = (closed.values, closed.anchor) if closed else (1, getattr(event, "anchor", None))
    if anchor:
        known[anchor] = size
    return size


def _line(event: yaml.Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark else 1
