"""Manifests are read as Kubernetes reads them, and hostile ones within limits."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.errors import ManifestError
from bundler.workloads import objects
from bundler.workloads.objects import read_documents, read_objects

SERVICE = "{apiVersion: v1, kind: Service, metadata: {name: a}}"


def test_documents_that_are_empty_or_comments_are_none() -> None:
    text = f"# head\n---\n{SERVICE}\n---\n# nothing\n---\n---\n{SERVICE}\n...\n"
    assert [item.kind for item in read_objects(text.encode(), "a.yaml")] == ["Service", "Service"]


def test_merge_keys_and_anchors_work_also_where_a_later_key_wins() -> None:
    text = b"a: &a {x: 1, y: 2}\nouter: {inner: &b {<<: *a, x: 3}}\nc: {<<: *b, z: 4}\nd: {<<: [*a, *b], x: 9}\n"
    (data,) = read_documents(text, "a.yaml")
    assert data["outer"]["inner"] == {"x": 3, "y": 2}
    assert data["c"] == {"x": 3, "y": 2, "z": 4}
    assert data["d"]["x"] == 9


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [", "a.yaml:2:1"),
        ("a: 1\nb: {c: 1, d: 2,\n  c: 3}", "line 3: c is here twice"),
        ("image: {{ .Values.image }}", "rendered first"),
        ("a: &x [*x]", "no finished anchor"),
        ("a: *x", "anchor"),
        ("- 1", "is no object"),
        ("just text", "is no object"),
        ("kind: Pod", "has no apiVersion"),
        ("apiVersion: v1", "has no kind"),
        ("apiVersion: v1\nkind: 1", "has no kind"),
        ("{apiVersion: v1, kind: List, items: [7]}", "items[0] is no object"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: \x07", "a.yaml"),
        ("[" * 101 + "]" * 101, "deeper than 100"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_place(text: str, what: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_objects(text.encode(), "a.yaml")
    assert what in caught.value.what
    assert "a.yaml" in caught.value.what


def test_a_bomb_of_aliases_is_refused_before_it_is_written_out() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ManifestError, match="aliases written out"):
        read_documents("\n".join(lines).encode(), "a.yaml")


def test_a_file_that_is_too_big_or_no_utf_8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ManifestError, match="UTF-8"):
        read_documents(b"a: \xff", "a.yaml")
    monkeypatch.setattr(objects, "MOST_BYTES", 8)
    with pytest.raises(ManifestError, match="bigger"):
        read_documents(b"a: 123456789", "a.yaml")


def test_json_is_read_as_json() -> None:
    assert read_objects(b'{"apiVersion":"v1",\t"kind":"Pod"}', "a.json")[0].kind == "Pod"
    with pytest.raises(ManifestError, match="here twice"):
        read_documents(b'{"a": 1, "a": 2}', "a.json")
    with pytest.raises(ManifestError, match=r"a\.json"):
        read_documents(b"a: 1", "a.json")
    with pytest.raises(ManifestError, match=r"a\.json"):
        read_documents(b"[" * 100_000, "a.json")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", categories=["L", "N"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", min_size=1), inner, max_size=3),
    max_leaves=20,
)


@settings(deadline=None)
@given(json_values)
def test_json_means_the_same_in_a_yaml_file(value: object) -> None:
    assert read_documents(json.dumps(value, ensure_ascii=False).encode(), "a.yaml") == (value,)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(st.sampled_from("a:- \n\t&*{}[]<#'\"|>!%?,1=~.")).map(str.encode))
def test_any_bytes_end_in_data_or_in_an_error_of_ours(data: bytes) -> None:
    with suppress(ManifestError):
        read_objects(data, "a.yaml")
