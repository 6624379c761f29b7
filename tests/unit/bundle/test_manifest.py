"""A manifest is read strictly, and only in the format that is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.bundle.manifest import parse
from torchkiln.errors import BundleError


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format": 2}', b'{"format": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        parse(content, Path("manifest.json"))


def test_another_format_and_a_huge_one_are_told_as_such() -> None:
    with pytest.raises(BundleError, match="is of format 2 and this torchkiln reads format 1"):
        parse(b'{"format": 2}', Path("manifest.json"))
    with pytest.raises(BundleError, match="no manifest has more than"):
        parse(b" " * (5 << 20), Path("manifest.json"))
