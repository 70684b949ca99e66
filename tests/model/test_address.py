from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model.address import host_of, parse_http_url


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://a.example", "https://a.example"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("https://a.example/x/y/", "https://a.example/x/y"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("https://a.example/a@b", "https://a.example/a@b"),
    ],
)
def test_urls_are_kept_but_for_a_slash_at_the_end(text: str, kept: str) -> None:
    assert parse_http_url(text) == kept


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("https://user:secret@a.example", "account"),
        ("https://secret@a.example", "account"),
        ("https://@a.example", "account"),
        ("ftp://a.example", "begins with"),
        ("a.example:5000", "begins with"),
        ("file:///secret", "begins with"),
        ("https://", "host or port"),
        ("https:///secret", "host or port"),
        ("https://a:0/secret", "host or port"),
        ("https://a:99999", "host or port"),
        ("https://a:x", "host or port"),
        ("https://[::1/secret", "host"),
        ("https://a/x?secret=1", r"\?"),
        ("https://a/x#secret", "#"),
        ("https://a/?", r"\?"),
        ("https://a/\tsecret", "spaces"),
        ("https://a/x\n", "spaces"),
        ("https:\\\\a", "backslashes"),
        ("https://é.fr", "ASCII"),
        ("https://a/" + "x" * 3000, "too long"),
    ],
)
def test_other_urls_are_refused_without_repeating_what_may_be_a_secret(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        parse_http_url(text)
    assert "secret@" not in str(caught.value)
    assert ":secret" not in str(caught.value)
    assert text not in str(caught.value)


@given(st.text(max_size=60).map("https://".__add__) | st.text(alphabet="htps:/@?#[]a.0\\ \n%", max_size=30))
def test_whatever_is_accepted_has_a_host_and_no_account(text: str) -> None:
    try:
        url = parse_http_url(text)
    except ValueError:
        return
    parts = urlsplit(url)
    assert parts.scheme in {"http", "https"}
    assert parts.hostname
    assert (parts.username, parts.password, parts.query, parts.fragment) == (None, None, "", "")
    assert parse_http_url(url) == url
    assert host_of(url) in url
