"""What a release can do, by its version."""

from __future__ import annotations

import pytest

from bundler.k3s.behaviour import names_images_by_digest
from bundler.model.release import parse_release


@pytest.mark.parametrize(
    ("tag", "does"),
    [
        ("v1.22.0+k3s1", False),
        ("v1.31.14+k3s1", False),
        ("v1.32.10+k3s1", False),
        ("v1.32.11+k3s1", True),
        ("v1.33.6+k3s1", False),
        ("v1.33.7+k3s1", True),
        ("v1.34.2+k3s9", False),
        ("v1.34.3+k3s1", True),
        ("v1.35.0+k3s1", True),
        ("v1.36.4+k3s1", True),
        ("v2.0.0+k3s1", True),
    ],
)
def test_images_are_named_by_digest_from_december_2025_on(tag: str, does: bool) -> None:  # noqa: FBT001
    assert names_images_by_digest(parse_release(tag)) is does
