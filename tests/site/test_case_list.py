"""docs/installer-tests.md names tests that exist, and all sixty cases."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
LIST = HERE.parents[1] / "docs/installer-tests.md"


def test_every_test_of_the_case_list_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", LIST.read_text()))
    texts = [path.read_text() for path in HERE.rglob("test_*.py")]
    written = {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE)}
    assert named - written == set()


def test_every_case_is_listed_once() -> None:
    assert re.findall(r"^\| (\d+) \|", LIST.read_text(), re.MULTILINE) == [str(number) for number in range(1, 61)]
