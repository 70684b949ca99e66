from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bundler.engines.secrets import Secrets
from bundler.errors import SecretMissingError
from bundler.model.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("data", "secret"),
    [(b"a b", "a b"), (b"a\n", "a"), (b"a\r\n", "a"), (b" a ", " a "), ("pä€".encode(), "pä€")],
)
def test_a_file_holds_a_secret_and_perhaps_the_end_of_its_line(data: bytes, secret: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(data)
    assert Secrets(tmp_path, {}).read(Secret(file="./secret")) == secret
    assert Secrets(tmp_path / "elsewhere", {}).read(Secret(file=str(tmp_path / "secret"))) == secret


def test_a_variable_holds_a_secret(tmp_path: Path) -> None:
    assert Secrets(tmp_path, {"NAME": "value"}).read(Secret(env="NAME")) == "value"


@pytest.mark.parametrize(
    "data", [None, b"", b"\n", b"hunter2\nmore", b"hunter2\r\nX-Header: x", b"hunter2\x00", b"hunter2\xff"]
)
def test_what_is_no_secret_is_an_error_that_names_the_place_alone(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "secret").write_bytes(data)
    with pytest.raises(SecretMissingError, match=f"the file {tmp_path}/secret") as caught:
        Secrets(tmp_path, {}).read(Secret(file="secret"))
    assert "hunter2" not in str(caught.value)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("environment", [{}, {"NAME": ""}, {"NAME": "hunter2\nmore"}])
def test_a_variable_that_holds_none_is_named(environment: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(SecretMissingError, match="the environment variable NAME") as caught:
        Secrets(tmp_path, environment).read(Secret(env="NAME"))
    assert "hunter2" not in str(caught.value)


def test_a_folder_in_place_of_the_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(SecretMissingError, match="cannot be read"):
        Secrets(tmp_path, {}).read(Secret(file=str(tmp_path)))
