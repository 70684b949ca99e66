"""Dockerfiles: which images they stand on, and how these are pinned."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundler.engines.dockerfile import Base, parse_dockerfile
from bundler.errors import UsageError


def bases(text: str, target: str | None = None, **args: str) -> list[str]:
    return [base.name for base in parse_dockerfile(text, args, target, "Dockerfile").bases]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM alpine:3.20\n", ["alpine:3.20"]),
        ("from alpine as build\nFROM scratch\nCOPY --from=build /a /b\n", ["alpine", "scratch"]),
        ("FROM alpine AS Build\nFROM build\n", ["alpine"]),
        (
            "FROM a AS x\nFROM b\nCOPY --from=x /a /\nCOPY --from=0 /a /\nCOPY --from=nginx:1 /a /\n",
            ["a", "b", "nginx:1"],
        ),
        ("FROM a\nCOPY --chown=1:1 \\\n  --from=nginx /a \\\n  /b\n", ["a", "nginx"]),
        ("FROM a\nRUN echo \\\n# FROM comment\nFROM not-a-stage\n", ["a"]),
        ("# escape=`\nFROM a\nRUN echo `\nFROM not-a-stage\nRUN \\\nFROM b\n", ["a", "b"]),
        ("ARG V=3\nARG N\nFROM alpine:${V}\nFROM alpine:$V-${N:-slim}\n", ["alpine:3", "alpine:3-slim"]),
        ('ARG A="x:1" B=y\nFROM $A\nFROM ${B}\n', ["x:1", "y"]),
        ("FROM a\nARG V=2\nRUN echo FROM b\n", ["a"]),
        ("\n# FROM comment\n   FROM   a   AS   b   \n", ["a"]),
        ("FROM a\nADD --from=no /x /\nRUN cp --from=no\n", ["a"]),
    ],
)
def test_every_image_is_found_and_nothing_else(text: str, found: list[str]) -> None:
    assert bases(text) == found
    assert bases(text.replace("\n", "\r\n")) == found


def test_arguments_of_the_recipe_fill_what_is_declared() -> None:
    assert bases("ARG V=3\nFROM alpine:$V\n", V="4") == ["alpine:4"]
    assert bases("ARG V\nFROM alpine:${V}\n", V="4") == ["alpine:4"]
    with pytest.raises(UsageError, match=r"alpine@\$DIGEST cannot be known|what .* is cannot be known"):
        bases("FROM $IMAGE\n", IMAGE="undeclared")


def test_stages_after_the_target_are_not_looked_at() -> None:
    text = "FROM a AS one\nFROM b AS two\nCOPY --from=c / /\nFROM d\nFROM $UNKNOWN\nCOPY --from=e / /\n"
    assert bases(text, "one") == ["a"]
    assert bases(text, "TWO") == bases(text, "1") == ["a", "b", "c"]
    with pytest.raises(UsageError, match="has no stage four"):
        bases("FROM a AS one\n", "four")


def test_a_platform_belongs_to_the_base() -> None:
    parsed = parse_dockerfile("ARG P=linux/arm64\nFROM --platform=$P a\nFROM a\n", {}, None, "Dockerfile")
    assert parsed.bases == (Base("a", "linux/arm64"), Base("a"))
    with pytest.raises(UsageError, match="cannot be known before the build") as refused:
        parse_dockerfile("FROM --platform=$BUILDPLATFORM a\n", {}, None, "Dockerfile")
    assert "BuildKit" in refused.value.hint


@pytest.mark.parametrize("line", ["# syntax=docker/dockerfile:1", "#Syntax = x", "# escape=`\n# syntax=x"])
def test_a_syntax_line_is_refused_with_the_way_out(line: str) -> None:
    with pytest.raises(UsageError, match="which only BuildKit reads") as refused:
        bases(f"{line}\nFROM a\n")
    assert "docker buildx build" in refused.value.hint
    assert bases("FROM a\n# syntax=x\n") == ["a"]
    assert bases("# a comment ends directives\n# syntax=x\nFROM a\n") == ["a"]


def test_pins_stand_where_the_names_stood() -> None:
    text = "# FROM a\r\nFROM  a   AS x # y\r\n"
    with pytest.raises(UsageError, match="is not FROM"):
        bases(text)
    text = "ARG V=1\nFROM a:$V AS x\nFROM --platform=linux/arm64 a:1\nFROM x\nCOPY --from=b b /b\nRUN echo a:1 b\n"
    parsed = parse_dockerfile(text, {}, None, "Dockerfile")
    pins = {Base("a:1"): "A@1", Base("a:1", "linux/arm64"): "A@2", Base("b"): "B@3"}
    assert parsed.pinned(pins) == (
        "ARG V=1\nFROM A@1 AS x\nFROM --platform=linux/arm64 A@2\nFROM x\nCOPY --from=B@3 b /b\nRUN echo a:1 b\n"
    )


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["FROM a", "FROM b AS c", "FROM c", "COPY --from=d x y", "RUN z \\", "# k", "", "ARG a=b"])
    )
)
def test_a_pinned_dockerfile_has_the_pins_as_its_bases(lines: list[str]) -> None:
    parsed = parse_dockerfile("\n".join(lines), {}, None, "Dockerfile")
    pins = {base: f"pinned/{base.name}:1" for base in parsed.bases}
    assert parse_dockerfile(parsed.pinned(pins), {}, None, "Dockerfile").bases == tuple(
        Base(pins[base]) for base in parsed.bases
    )
    assert parsed.pinned({}) == "\n".join(lines)
