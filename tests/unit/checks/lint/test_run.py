from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln.checks.lint.run import lint, write_baseline
from torchkiln.checks.lint.settings import Settings
from torchkiln.errors import RecipeError

BAD = "import torch\nmodel = torch.load('x')\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.py"
    path.write_text(BAD)
    return path


def test_a_finding_has_its_place_and_its_page(file: Path) -> None:
    (one,) = lint([file])
    assert (one.rule, one.tier, one.line, one.file) == ("D202", "D", 2, str(file))
    assert one.why and one.fix and one.confidence == 0.95 and one.state is None


@pytest.mark.parametrize("where", ["line", "above"])
def test_a_comment_with_a_reason_leaves_a_finding_out(where: str, file: Path) -> None:
    said = "# torchkiln: ignore[D202] the file is ours"
    file.write_text(f"import torch\n{said}\nm = torch.load('x')\n" if where == "above" else f"{BAD[:-1]}  {said}\n")
    report = lint([file])
    assert report == [] and report.notes == []


def test_a_comment_without_a_reason_is_told(file: Path) -> None:
    file.write_text(f"{BAD[:-1]}  # torchkiln: ignore[D202, E101]\n")
    report = lint([file])
    assert report == [] and "gives no reason" in report.notes[0]
    file.write_text(f"{BAD[:-1]}  # torchkiln: ignore[E101] other\n")
    assert len(lint([file])) == 1


def test_what_a_baseline_knows_is_left_out_though_lines_move(file: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.json"
    write_baseline(lint([file]), known)
    file.write_text(f"\n\n{BAD}other = torch.load('y')\n")
    (new,) = lint([file], Settings(baseline=known))
    assert new.line == 5
    known.write_text("[]")
    with pytest.raises(RecipeError, match="is no baseline"):
        lint([file], Settings(baseline=known))
    with pytest.raises(RecipeError, match="does not exist"):
        lint([file], Settings(baseline=tmp_path / "gone"))


def test_rules_are_left_out_by_file(file: Path) -> None:
    assert lint([file], Settings(per_file={"*.py": ("D",)})) == []


def test_a_notebook_is_told_by_cell_and_line(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": text} for text in ("import torch\n", "x = 1\ntorch.load('x')")]
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": cells}))
    report = lint([file])
    assert [(f.file, f.line) for f in report] == [(f"{file}:cell2", 2)]
    assert report.line(report[0]) == "torch.load('x')"


def test_scripts_of_a_shell_are_read_for_the_old_launcher(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "run.sh").write_text("# torch.distributed.launch\npython3 -m torch.distributed.launch train.py\n")
    (one,) = lint([tmp_path])
    assert (one.rule, one.line) == ("D205", 2)


def test_nothing_that_is_read_is_run(file: Path, tmp_path: Path) -> None:
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n{BAD}")
    assert len(lint([file])) == 1 and not (tmp_path / "ran").exists()
