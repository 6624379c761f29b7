"""An export in words, on the terminal and in the report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torchkiln.report import exported
from torchkiln.report.material import read
from torchkiln.report.page import render

EVIDENCE: dict[str, Any] = {
    "rows": 2000,
    "said": "INT8 by static min-max; tried: static min-max: CPU time 32 % at batch 1",
    "table": [
        {"form": "onnx", "file": "model.onnx", "bytes": 44_700_000, "verdict": "proven", "why": [],
         "over_std": 4.2e-6, "agreement": 1.0, "cpu_ms": {"1": 16.1, "32": 498.0}},
        {"form": "int8", "file": "model.int8.onnx", "bytes": 11_300_000, "verdict": "proven", "why": [],
         "over_std": 0.4, "agreement": 0.984, "cpu_ms": {"1": 4.9, "32": 151.0}},
        {"form": "pt2", "file": "model.pt2", "bytes": 44_900_000, "verdict": "unproven",
         "why": ["differs by 3.0e-02 of the outputs' deviation"], "over_std": 0.03, "agreement": 0.9, "cpu_ms": {}},
    ],
    "cpu_ms": {"eager": {"1": 31.0, "32": 930.0}},
    "metrics": {
        "reference": {"accuracy": {"value": 0.9133, "low": 0.9, "high": 0.925}},
        "onnx": {"accuracy": {"value": 0.9133, "low": 0.9, "high": 0.925}},
    },
}  # fmt: skip


def test_a_line_a_file_with_its_figures_and_the_reason_below() -> None:
    lines = exported.lines(EVIDENCE)
    assert lines[1] == ("bold", "model.onnx       45 MB  4.2e-06 of std  16.1 ms  498 ms    proven")
    assert "98.4\u00a0% agree" in lines[2][1]
    assert lines[3][0] == "bold red"
    assert lines[4] == ("", "  differs by 3.0e-02 of the outputs' deviation")
    assert lines[-1][1].startswith("INT8 by static min-max")


def test_the_chapter_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: table_classification\n", encoding="utf-8")
    assert 'id="export"' not in render(read(tmp_path))
    (tmp_path / "export.json").write_text(json.dumps(EVIDENCE), encoding="utf-8")
    page = render(read(tmp_path))
    chapter = page[page.index('<section id="export"') : page.index('<section id="environment"')]
    figures = ("on 2,000 validation rows", "31.0 ms and 930 ms", "model.int8.onnx", "4.2e-06 of std", "0.913")
    words = ("the trained net", "differs by 3.0e-02 of the outputs&#39; deviation", "tried: static min-max")
    assert [said for said in (*figures, *words) if said not in chapter] == []


@pytest.mark.parametrize("evidence", [None, {}, {"table": []}])
def test_without_an_export_there_is_no_chapter(evidence: Any) -> None:
    assert exported.section(evidence) is None


def test_figures_that_are_missing_are_said_to_be(tmp_path: Path) -> None:
    (row,) = exported.section({"table": [{"file": "model.onnx", "verdict": "void"}]})["rows"]  # type: ignore[index]
    missing: Callable[[str], bool] = lambda cell: cell == exported.words.MISSING  # noqa: E731
    assert [missing(cell) for cell in row["cells"]] == [False, True, True, True, True, False]
