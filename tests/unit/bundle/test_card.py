"""The card says what was measured, and says so where nothing was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bundles
import msgspec

from torchkiln import bundle
from torchkiln.bundle import card

TEST: dict[str, Any] = {
    "n": 1234,
    "primary": "accuracy",
    "metrics": {"accuracy": {"value": 0.91234, "low": 0.89, "high": 0.93}},
    "baselines": [{"name": "majority class", "metrics": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}}],
    "verdict": {"text": "It beats the majority class."},
    "slices": [{"column": "town", "value": "a|b<script>", "n": 20, "score": 0.7, "low": 0.4, "high": 0.9}],
    "notes": ["one note"],
}


def made(path: Path, **changes: Any) -> str:
    one = bundle.load(bundles.table(path))
    facts = {
        "manifest": {**msgspec.to_builtins(one.manifest), "versions": {"python": "3.11"}},
        "schema": one.schema,
        "test": TEST,
        "net": "tabm",
        "data": {
            "rows": {"train": 900, "val": 100},
            "digest": "abc",
            "target": "y",
            "findings": ["two rows stand twice"],
        },
        "parity": {"rows": 100, "files": {"onnx": {"verdict": "proven", "held_out": {"max_abs": 1.5e-7}}}},
    }
    return card.make(**{**facts, **changes})


def test_every_figure_that_was_handed_in_stands_there(tmp_path: Path) -> None:
    text = made(tmp_path / "b")
    for part in ("# small", "tabm", "0.9123", "0.89 to 0.93", "majority class | 0.5 |", "It beats", "20", "1,234 rows",
                 "900 train, 100 val", "`abc`", "two rows", "`model.onnx` | proven | 1.5e-07", "one note",
                 "`no`, `yes`", "data: not stated", "`age` | number or null"):  # fmt: skip
        assert part in text, part


def test_names_from_data_stay_in_their_cells(tmp_path: Path) -> None:
    text = made(tmp_path / "b")
    assert "<script>" not in text and "town = a&#124;b&#60;script&#62;" in text


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    text = made(tmp_path / "b", test={}, parity={}, data={})
    assert "Nothing was held out" in text and "`model.onnx` | unproven" in text and "Rows: not stated" in text
    assert "0.9123" not in text
