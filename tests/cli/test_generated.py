"""What is generated from the code is as the code would generate it today."""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import pytest
import shtab

from bundler.cli.completion import SHELLS
from bundler.cli.main import command_line, main


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_scripts_know_every_verb_and_option_of_today(shell: str) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["completion", shell]) == 0

    assert printed.getvalue().strip() == shtab.complete(command_line(), shell=shell).strip()
