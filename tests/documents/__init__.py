"""Documents that are generated from the code: `make docs` writes them, a test says when one is stale."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.documents.command_line import command_line_document
from tests.documents.errors import error_document
from tests.documents.recipe_keys import recipe_document

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DOCS = Path(__file__).parents[2] / "docs"

DOCUMENTS: Mapping[Path, Callable[[], str]] = {
    DOCS / "reference" / "recipe.md": recipe_document,
    DOCS / "errors.md": error_document,
    DOCS / "cli.md": command_line_document,
}
