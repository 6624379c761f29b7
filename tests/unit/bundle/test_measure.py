"""What is measured is kept beside the bundle, and the bundle stays whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundles
import pytest

from torchkiln import bundle
from torchkiln.bundle import measure
from torchkiln.bundle.write import pack


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "cores", lambda: 2)


@pytest.mark.parametrize("make", [bundles.table, bundles.text, bundles.tensors])
def test_a_bundle_is_measured(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def together(folder: Path, form: str, count: int, *setting: Any) -> float:
        asked.append((form, count))
        return 100.0 * count

    monkeypatch.setattr(measure, "_together", together)
    path = make(tmp_path / "b")
    found = measure.bench(path, seconds=0.2)
    cells = {(row["threads"], row["batch"]) for row in found["rows"]}
    assert cells == {(threads, batch) for threads in (1, 2) for batch in measure.BATCHES}
    assert all(row["latency_ms"] > 0 and row["rows_per_second"] > 0 for row in found["rows"])
    assert asked == [("onnx", 1), ("onnx", 2)] and found["best"]["processes"] == 2 and found["best"]["threads"] == 1
    kept = json.loads((path / "bench.json").read_text())
    assert kept == {name: value for name, value in found.items() if name != "kept"}
    assert bundle.load(path).digest == found["bundle"]
    assert any("rows/s" in text for _, text in measure.lines(found))


def test_a_zip_is_measured_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "cores", lambda: 1)
    found = measure.bench(pack(bundles.table(tmp_path / "b"), tmp_path / "b.zip"), seconds=0.05)
    assert found["kept"] is None and found["processes"] is None and found["best"]["processes"] == 1


def test_processes_answer_at_once(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    assert measure._together(path, "onnx", 2, 1, 4, 0.05) > 0


def test_threads_that_save_nothing_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"threads": threads, "batch": batch, "latency_ms": ms, "rows_per_second": 1000 * batch / ms}
        for threads, batch, ms in ((1, 1, 1.02), (1, 8, 9.0), (2, 1, 1.0), (2, 8, 5.0))
    ]
    monkeypatch.setattr(measure, "_together", lambda *a: {1: 900.0, 2: 800.0}[a[2]])
    found = measure._best(bundle.load(bundles.table(tmp_path / "b")), "onnx", rows, 1.0)
    assert found["best"] == {"threads": 2, "batch": 8, "processes": 1, "latency": {"threads": 1, "batch": 1}}
