from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bundler.model.marked_yaml import MOST_ALIASES, MOST_DEPTH, MOST_VALUES, read_marked_yaml
from bundler.model.yaml_nodes import path_text, shown


def only_mistake(data: bytes) -> str:
    (mistake,) = read_marked_yaml(data).mistakes
    return str(mistake)


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x, 'y', \"z\"]\n", {"a": 1, "b": ("x", "y", "z")}),
        ("a: true\nb: FALSE\nc: null\nd: ~\ne:\n", {"a": True, "b": False, "c": None, "d": None, "e": None}),
        ("a: 'true'\nb: \"1.30\"\n", {"a": "true", "b": "1.30"}),
        ("a: 1.30\nb: -2\nc: 1e3\n", {"a": 1.3, "b": -2, "c": 1000.0}),
        ("a: 2024-01-01\nb: 12:30:45\nc: v1.34\n", {"a": "2024-01-01", "b": "12:30:45", "c": "v1.34"}),
        ("1: x\ntrue: z\n", {"1": "x", "true": "z"}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: &x [1]\nb: *x\n", {"a": (1,), "b": (1,)}),
        ("\ufeffa: 1", {"a": 1}),
        ("--- \na: 1\n...\n", {"a": 1}),
        ("%YAML 1.2\n---\na: 1\n", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_plain_yaml_reads_as_what_it_says(text: str, data: object) -> None:
    document = read_marked_yaml(text.encode())
    assert document.mistakes == ()
    assert document.data == data


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (b"a: 1\n\tb: 2\n", "2:1: a tab: YAML is indented with spaces"),
        (b"a:\n  b: |\n    x\n\tc: 1\n", "4:1: a tab: YAML is indented with spaces"),
        (b"a: b: c\n", "1:5: a second `: ` in one line, or wrong indentation: put text that holds a colon in quotes"),
        (b"a: [1, 2\n", "1:4: a list that opens with [ here lacks a comma or its ]"),
        (b"a: {b: 2\n", "1:4: a mapping that opens with { here lacks a comma or its }"),
        (b'x: 1\na: "b\n', "2:4: a quote that opens here is never closed"),
        (
            b"a: 1\n b: 2\n",
            "2:3: a second `: ` in one line, or wrong indentation: put text that holds a colon in quotes",
        ),
        (b"a: @x\n", '1:4: a value cannot begin with "@": put it in quotes'),
        (b"a: 1\n---\nb: 2\n", "2:1: a second document begins here: a recipe is one document, remove this `---`"),
        ("é: 1\nß: \x80\n".encode("latin-1"), "1:1: byte 0xe9 is not UTF-8: save the file as UTF-8"),
        ("a: é\nb: é".encode() + b"\xff\n", "2:5: byte 0xff is not UTF-8: save the file as UTF-8"),
        (b"\xef\xbb\xbfa: \xff\n", "1:4: byte 0xff is not UTF-8: save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: the file is UTF-16: save it as UTF-8"),
        (b"a: x\x00\n", "1:5: the character U+0000 does not belong in a recipe: delete it"),
        ("a: 1\r\nb: é\u202e".encode(), "2:5: the character U+202E does not belong in a recipe: delete it"),
        ("a: x\u2028".encode(), "1:5: the character U+2028 does not belong in a recipe: delete it"),
        (b"", "1:1: the file is empty: a recipe begins with `version: 1`"),
        (b"# nothing\n", "1:1: the file is empty: a recipe begins with `version: 1`"),
        (b"---\n", "1:1: the file is empty: a recipe begins with `version: 1`"),
        (b"a: *b\n", '1:4: the alias "*b" has no anchor "&b" before it'),
        (b"a: &a [*a]\n", '1:8: the alias "*a" has no anchor "&a" before it'),
        (
            b"a: !!str x\n",
            '1:4: a: the tag "tag:yaml.org,2002:str" means nothing in a recipe: remove it, and quote what is text',
        ),
        (
            b"a: yes\n",
            '1:4: a: yes is true to some YAML readers and text to others: write true, or "yes" if it is text',
        ),
        (b"a: No\n", '1:4: a: No is false to some YAML readers and text to others: write false, or "No" if it is text'),
        (
            b"a: 99999999999999999999\n",
            '1:4: a: 99999999999999999999 is too big a number: write "99999999999999999999" if it is text',
        ),
        (b"a: 1e999\n", '1:4: a: 1e999 is too big a number: write "1e999" if it is text'),
    ],
)
def test_a_mistake_has_its_exact_place(data: bytes, mistake: str) -> None:
    assert only_mistake(data) == mistake


@pytest.mark.parametrize("number", ["0644", "0x1F", "0o17", "0b1", "1_000", "-012", ".inf", "-.INF", ".nan"])
def test_numbers_that_yaml_versions_read_differently_are_mistakes(number: str) -> None:
    assert f'write "{number}"' in only_mistake(f"a:\n  - {number}\n".encode())
    assert read_marked_yaml(f'a: "{number}"'.encode()).data == {"a": number}


def test_a_repeated_key_names_both_places_and_the_first_value_stays() -> None:
    document = read_marked_yaml(b"a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert [str(each) for each in document.mistakes] == ["4:3: a.b: is here twice: first at line 2, column 3"]
    assert document.data == {"a": {"b": 1, "c": 2}}


def test_tags_and_merge_keys_are_told_with_the_rest() -> None:
    document = read_marked_yaml(b"a: !x 1\nb:\n  <<: {c: 1}\n  d: on\n")
    assert [(each.line, each.column, each.path) for each in document.mistakes] == [
        (1, 4, "a"),
        (3, 3, "b"),
        (4, 6, "b.d"),
    ]
    assert "merge keys" in document.mistakes[1].what


def test_a_template_is_told_as_such() -> None:
    assert only_mistake(b"name: {{ name }}\n").startswith(
        "1:8: a list or mapping cannot be a key; if this is a template"
    )


def limit(data: bytes, why: str) -> None:
    before = time.process_time()
    assert why in only_mistake(data)
    assert time.process_time() - before < 10


def test_a_bomb_of_aliases_is_stopped_by_what_it_would_become() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    limit("\n".join(lines).encode(), f"more than {MOST_VALUES} values, with aliases written out")


def test_many_aliases_deep_nesting_and_many_values_are_stopped() -> None:
    limit(b"a: &a 1\nb: [" + b"*a, " * (MOST_ALIASES + 1) + b"]", f"more than {MOST_ALIASES} aliases")
    limit(b"[" * 500_000, f"deeper than {MOST_DEPTH} levels")
    limit(b"{a: " * 200_000, f"deeper than {MOST_DEPTH} levels")
    limit(b"- " * 400_000, f"deeper than {MOST_DEPTH} levels")
    limit(b"- a\n" * 250_000, f"more than {MOST_VALUES} values")


def test_nesting_hidden_in_aliases_counts() -> None:
    half = "[" * (MOST_DEPTH - 6) + "]" * (MOST_DEPTH - 6)
    limit(f"a: &a {half}\nb: [[[[[[[*a]]]]]]]".encode(), "nested deeper")


def test_what_is_just_within_the_limits_is_read() -> None:
    depth = MOST_DEPTH - 1
    assert read_marked_yaml(b"a: " + b"[" * depth + b"]" * depth).mistakes == ()
    assert read_marked_yaml(b"a: &a 1\nb: [" + b"*a, " * MOST_ALIASES + b"]").mistakes == ()


words = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | words,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(words, values, min_size=1, max_size=4))
def test_data_written_by_another_writer_reads_back_the_same(data: dict[str, object]) -> None:
    class Writer(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')

    def represent_list(dumper: yaml.SafeDumper, items: tuple[object, ...]) -> yaml.Node:
        return dumper.represent_list(items)

    Writer.add_representer(str, represent_text)
    Writer.add_representer(tuple, represent_list)
    document = read_marked_yaml(yaml.dump(data, Dumper=Writer, allow_unicode=True).encode())
    assert document.mistakes == ()
    assert document.data == data


yaml_like = st.text(alphabet="ab:-[]{}&*!|>'\"%@`#,? \n\t<01.~", max_size=80)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | yaml_like.map(str.encode))
@example(b"? a\n? b\n: c")
@example(b"a: &a a\n*a : b\n")
@example(b"&a *a")
@example(b"\xef\xbb\xbf")
def test_any_bytes_give_data_or_mistakes_within_a_second(data: bytes) -> None:
    document = read_marked_yaml(data)
    assert (document.root is None) <= bool(document.mistakes)
    for mistake in document.mistakes:
        assert mistake.line >= 1
        assert mistake.column >= 1
        assert str(mistake).isprintable()


@given(st.text(max_size=300))
def test_quoted_text_stays_on_one_printable_line_of_bounded_length(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80 * 10 + 2
    assert shown(text)[0] == shown(text)[-1] == '"'


def test_paths_are_written_as_people_write_them() -> None:
    assert path_text(("images", "extra", 0)) == "images.extra[0]"
    assert path_text(("sources", "registries", "docker.io", 1)) == 'sources.registries."docker.io"[1]'
    assert path_text(("a", "b\n")) == 'a."b\\n"'
    assert path_text(()) == ""
