"""The form of the installer: plain parts, nothing evaluated, nothing fetched, no command beyond its list."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import resources
from typing import TYPE_CHECKING

import pytest

from bundler.model.flags import FLAGS
from bundler.site.installer import install_script
from tests.site.bundles import SHELLS, command_names
from tests.site.conftest import SHELL_PACKAGES, require

if TYPE_CHECKING:
    from pathlib import Path

PARTS = sorted(part.name for part in resources.files("bundler.site").joinpath("sh").iterdir())


def code_lines() -> list[str]:
    """Return the lines of the script that are neither comments nor text for people or files."""
    return [line for line in install_script().decode().splitlines() if not re.match(r"\s*(#|'|\"|printf )", line)]


@pytest.mark.parametrize("name", SHELLS)
def test_every_shell_can_parse_the_script(tmp_path: Path, name: str) -> None:
    require(*SHELL_PACKAGES.get(name, ()))
    (tmp_path / "install.sh").write_bytes(install_script())
    done = subprocess.run([*SHELLS[name], "-n", tmp_path / "install.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_script_is_its_parts_in_the_order_of_their_names() -> None:
    parts = [resources.files("bundler.site").joinpath("sh", name).read_bytes() for name in PARTS]
    assert install_script() == b"\n".join(parts)
    assert install_script().startswith(b"#!/bin/sh\n")
    assert install_script().endswith(b'\nmain "$@"\n')


@pytest.mark.parametrize("name", PARTS)
def test_every_part_fits_in_a_head_and_is_plain_text(name: str) -> None:
    content = resources.files("bundler.site").joinpath("sh", name).read_bytes()
    assert content.isascii()
    assert b"\r" not in content
    assert content.endswith(b"\n")
    assert content.count(b"\n") <= 400


@pytest.mark.parametrize("word", ["eval", "source", "local", "exec", "mktemp", "flock", "awk", "curl", "wget"])
def test_the_script_uses_no_word_of(word: str) -> None:
    assert not [line for line in code_lines() if re.search(rf"(^|[;&|(]|\bthen|\bdo|\belse)\s*{word}\s", line)]


def test_the_script_has_no_here_document_and_sources_nothing() -> None:
    assert not [line for line in code_lines() if "<<" in line or re.match(r"\s*\.\s", line)]


def test_no_redirection_can_end_the_shell() -> None:
    """A redirection of `:` that fails ends the shell before any message (POSIX, "Consequences of Shell Errors")."""
    assert not [line for line in code_lines() if re.search(r"(^|[;&|{]|then|do|else)\s*:\s*[<>]", line)]


def test_optional_commands_are_named_nowhere_but_in_the_script_that_asks_for_them() -> None:
    script = install_script().decode()
    for name in command_names("optional"):
        assert len(re.findall(rf"\b{re.escape(name)}\b", script)) > 1 or "-save" in name or "-restore" in name, name


def test_no_flag_of_k3s_is_taken_for_a_misspelt_option(tmp_path: Path) -> None:
    part = resources.files("bundler.site").joinpath("sh", "20-options.sh").read_text()
    program = 'exit_usage=2\nfail() { printf "%s\\n" "$3"; }\nfor word; do refuse_misspelt "$word"; done\n'
    (tmp_path / "options.sh").write_text(part + program)
    words = [f"--{name}" for name in FLAGS] + [f"--{name}=x" for name in FLAGS]
    assert len(words) > 200
    told = subprocess.run(["sh", tmp_path / "options.sh", "--chek", *words], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["--chek is neither an option of this installer nor a flag of k3s"]


def test_every_required_command_is_one_of_debian_or_busybox() -> None:
    assert [name for name in command_names("required") if not shutil.which(name)] == []
    assert len(command_names("required")) < 35
