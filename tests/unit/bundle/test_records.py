"""Records of every form become the arrays that the codec makes."""

from __future__ import annotations

from pathlib import Path

import bundles
import polars as pl

from torchkiln import bundle


def test_records_and_frames_answer_alike(tmp_path: Path) -> None:
    made = bundle.load(bundles.table(tmp_path / "b"))
    rows = [bundles.RECORD, {**bundles.RECORD, "height": None, "town": "Rom"}]
    assert made.predict(rows) == made.predict(pl.DataFrame(rows))
