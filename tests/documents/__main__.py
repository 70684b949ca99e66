"""Write the generated documents: `python -m tests.documents`."""

from __future__ import annotations

from tests.documents import DOCUMENTS

for path, document in DOCUMENTS.items():
    path.write_text(document(), encoding="utf-8")
