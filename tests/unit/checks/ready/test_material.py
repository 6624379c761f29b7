from __future__ import annotations

from pathlib import Path

import pytest

from torchkiln.checks.ready.material import Material, failed, passed, spared
from torchkiln.errors import RunError

RECIPE = "task: table_classification\ndata: {path: rows.csv, target: y}\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path


def test_what_is_missing_is_empty(run: Path) -> None:
    material = Material(run)
    assert (material.plan, material.test, material.events, material.notes) == ({}, {}, [], {})
    assert material.last_step() is None and material.class_paths == []


def test_a_torn_line_is_passed_over(run: Path) -> None:
    (run / "events.jsonl").write_text('{"kind": "a"}\n[1]\n{"kind"')
    assert Material(run).events == [{"kind": "a"}]


def test_a_file_that_holds_no_object_is_damaged(run: Path) -> None:
    (run / "test.json").write_text("[]")
    with pytest.raises(RunError, match="is damaged"):
        _ = Material(run).test


def test_class_paths_of_ones_own(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    (run / "recipe.yaml").write_text(
        RECIPE + "model:\n  class_path: pkg.nets.Net\noptimizer:\n  class_path: torch.optim.SGD\n"
    )
    (run / "src/pkg").mkdir(parents=True)
    (run / "src/pkg/nets.py").touch()
    material = Material(run)
    assert material.class_paths == ["pkg.nets.Net"]
    assert material.own_files == {"pkg.nets.Net": Path("src/pkg/nets.py")}


def test_a_run_without_results_cannot_be_compared(run: Path) -> None:
    with pytest.raises(RunError, match="cannot be compared"):
        Material(run).result_digest()


def test_answers() -> None:
    assert [passed("a").state, failed("b", "c").command, spared("d").state] == ["pass", "c", "not applicable"]
