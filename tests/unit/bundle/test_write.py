"""A bundle is whole under its name or not there; the same content gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import bundles
import pytest

from torchkiln import bundle
from torchkiln.bundle.write import Draft, pack
from torchkiln.errors import BundleError


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_two_writes_and_two_zips_are_the_same_bytes(tmp_path: Path) -> None:
    one, two = bundles.table(tmp_path / "one"), bundles.table(tmp_path / "two")
    assert content(one) == content(two)
    assert pack(one, tmp_path / "one.zip").read_bytes() == pack(two, tmp_path / "two.zip").read_bytes()


def test_what_is_there_is_kept_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    before = content(path)
    with pytest.raises(BundleError, match="--overwrite"):
        Draft(path)
    with Draft(path, overwrite=True) as draft:
        (draft.path / "half").write_bytes(b"x")
    assert content(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    bundles.text(path, overwrite=True)
    assert bundle.load(path).predict("good")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").touch()
    with pytest.raises(BundleError, match="is no bundle"):
        Draft(tmp_path / "work", overwrite=True)
