"""What this user may not look at is told as that, and not as missing."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.store.children import AS_NOBODY, AS_PYTHON_3_14, finish, start

BEFORE = """
import docker.utils.build
from bundler.engines.context import open_context
from bundler.progress import Silent
from bundler.stages.archived import lock_archives
from bundler.stages.carry import carry
from bundler.stages.read import parse_recipe

def recipe(more):
    return parse_recipe(b"version: 1\\nname: edge\\nrelease: stable\\narch: [arm64]\\n" + more, "edge.yaml")

recipe(b"")
"""
SCRIPT = """
(root / "closed").mkdir()
(root / "closed" / "app").write_text("")
(root / "closed").chmod(0)
store = open_store(root / "cache")
try:
    ACTION
except BundlerError as error:
    print(error.name, str(root / "closed" / "app") in error.what)
(root / "closed").chmod(0o700)
"""


@pytest.mark.parametrize(
    "action",
    [
        'carry(recipe(b"files: [{source: ./closed/app, target: /etc/a}]"), root, store)',
        'carry(recipe(b"charts: [{name: app, chart: ./closed/app}]"), root, store)',
        'lock_archives(recipe(b"images: {extra: [{archive: ./closed/app}]}"), root, store, Silent())',
        'open_context(root / "closed" / "app", "./app", "Dockerfile", None, {})',
    ],
    ids=["file", "chart", "archive", "context"],
)
@pytest.mark.parametrize("python", ["", AS_PYTHON_3_14], ids=["this", "3.14"])
def test_what_lies_in_a_closed_folder_is_not_called_missing(action: str, python: str) -> None:
    with TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        script = BEFORE + AS_NOBODY + python + SCRIPT.replace("ACTION", action)
        assert finish(start(script, name)) == "not-writable True"
