from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from torchkiln.errors import RunError
from torchkiln.report.material import read

Made = Callable[[str], Path]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text("task: table_regression\n")
    return tmp_path


def test_a_whole_run_is_read(made: Made) -> None:
    found = read(made("images"))
    assert found.damaged == []
    assert found.recipe["task"] == "image_classification"
    assert found.metrics is not None
    assert found.metrics.height == 30
    assert found.predictions is not None
    assert found.predictions.height == 10_000
    assert [f["level"] for f in found.findings] == ["warn", "note"]
    assert len(found.events) == 4
    assert len(found.mistakes) == 24


def test_all_but_the_recipe_may_be_missing(run: Path) -> None:
    found = read(run)
    assert (found.test, found.plan, found.environment, found.metrics, found.splits) == (None,) * 5
    assert (found.events, found.mistakes, found.stages, found.damaged) == ([], [], {}, [])


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("test.json", '{"n": 3, "metr', "test.json cannot be read"),
        ("test.json", "[1, 2]", "it holds a list where a dict belongs"),
        ("mistakes.json", '{"a": 1}', "it holds a dict where a list belongs"),
        ("recipe.yaml", "a: [1", "recipe.yaml cannot be read"),
        ("predictions.parquet", "no parquet", "predictions.parquet cannot be read"),
        ("events.jsonl", 'oops\n{"kind": "finding"}\n', "line 1 is no JSON object"),
    ],
)
def test_a_damaged_file_is_named_and_stops_nothing(run: Path, name: str, content: str, word: str) -> None:
    (run / name).write_text(content)
    found = read(run)
    assert len(found.damaged) == 1
    assert word in found.damaged[0]


def test_a_last_line_that_was_cut_short_is_left_out(run: Path) -> None:
    (run / "events.jsonl").write_text('{"kind": "finding", "text": "whole"}\n{"kind": "find')
    found = read(run)
    assert [e["text"] for e in found.events] == ["whole"]
    assert found.damaged == []


def test_cells_are_numbers_empty_or_nan(run: Path) -> None:
    (run / "metrics.csv").write_text("epoch,val_loss,note\n0,,x\n1,nan,y\n2,-inf,z\n3,0.5,1\n4\n")
    metrics = read(run).metrics
    assert metrics is not None
    loss = metrics["val_loss"]
    assert loss.is_null().to_list() == [True, False, False, False, True]
    assert loss.is_finite().to_list() == [None, False, False, True, None]


def test_an_empty_table_is_no_damage(run: Path) -> None:
    (run / "metrics.csv").write_text("")
    (run / "steps.csv").write_text("step,lr\n")
    found = read(run)
    assert found.damaged == []
    assert found.metrics is not None
    assert found.metrics.height == 0


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, there: bool) -> None:
    path = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(RunError, match="is no run directory"):
        read(path)
