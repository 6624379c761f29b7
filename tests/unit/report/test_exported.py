"""An export in words, on the terminal and in the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from torchkiln.report import exported
from torchkiln.report.material import read
from torchkiln.report.page import render

ROWS: list[dict[str, Any]] = [
    {"form": "onnx", "file": "model.onnx", "bytes": 44_700_000, "verdict": "proven", "why": [],
     "over_std": 4.2e-6, "agreement": 1.0, "cpu_ms": {"1": 16.1, "32": 498.0}},
    {"form": "int8", "file": "model.int8.onnx", "bytes": 11_300_000, "verdict": "proven", "why": [],
     "over_std": 0.4, "agreement": 0.984, "cpu_ms": {"1": 4.9, "32": 151.0}},
    {"form": "pt2", "file": "model.pt2", "bytes": 9_900, "verdict": "unproven",
     "why": ["differs by 3.0e-02 of the outputs' deviation"], "over_std": None, "agreement": 0.9,
     "cpu_ms": {"1": 30.0, "32": 900.0}},
]  # fmt: skip
SAID = "INT8 by static min-max; tried: static min-max: CPU time 32 % at batch 1"
FOUND: dict[str, Any] = {
    "bundle": "runs/a/bundle", "table": ROWS, "said": SAID,
    "test": {"rows": 100, "metric": "accuracy", "file": 0.91, "form": "onnx", "run": 0.92},
}  # fmt: skip
EVIDENCE: dict[str, Any] = {
    "rows": 2000,
    "said": SAID,
    "table": ROWS,
    "cpu_ms": {"eager": {"1": 31.0, "32": 930.0}},
    "metrics": {
        "reference": {"accuracy": {"value": 0.9133, "low": 0.9, "high": 0.925}},
        "onnx": {"accuracy": {"value": 0.9133, "low": 0.9, "high": 0.925}},
    },
}


def test_a_line_a_file_with_its_figures_and_the_reason_below() -> None:
    lines = exported.lines(FOUND)
    assert lines[1] == ("green", "model.onnx       44.7 MB         4.2e-06  1.0000  16.10  498.00  proven")
    assert lines[3][0] == "red"
    assert lines[3][1].split() == ["model.pt2", "9.9", "kB", "-", "0.9000", "30.00", "900.00", "unproven"]
    assert lines[4] == ("dim", "  differs by 3.0e-02 of the outputs' deviation")
    assert lines[5] == ("", SAID)
    assert lines[6][1] == "test split, 100 rows: accuracy 0.9100 by the onnx file, 0.9200 by the run"
    assert lines[-1][1] == "the bundle: runs/a/bundle"


def test_what_is_legacy_is_said_to_be() -> None:
    rows = [{**ROWS[0], "form": "torchscript", "file": "model.ts"}]
    assert any("TorchScript is legacy" in text for _, text in exported.lines({**FOUND, "table": rows, "test": None}))
    assert not any("legacy" in text for _, text in exported.lines(FOUND))


def test_the_chapter_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: table_classification\n", encoding="utf-8")
    assert 'id="export"' not in render(read(tmp_path))
    (tmp_path / "export.json").write_text(json.dumps(EVIDENCE), encoding="utf-8")
    page = render(read(tmp_path))
    chapter = page[page.index('<section id="export"') : page.index('<section id="environment"')]
    figures = ("on 2,000 validation rows", "31.00 ms and 930.00 ms", "model.int8.onnx", "4.2e-06", "0.913", "11.3 MB")
    words = ("the trained net", "differs by 3.0e-02 of the outputs&#39; deviation", "tried: static min-max")
    assert [said for said in (*figures, *words) if said not in chapter] == []


@pytest.mark.parametrize("evidence", [None, {}, {"table": []}])
def test_without_an_export_there_is_no_chapter(evidence: Any) -> None:
    assert exported.section(evidence) is None
