"""The run directory: files whole or not at all, and nothing lost."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from torchkiln.errors import RunError
from torchkiln.runs import directory, lock
from torchkiln.runs.directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory.create(tmp_path / "run")
    made.write_text("recipe.yaml", "task: x\n")
    return made


def test_a_run_that_is_there_is_kept_unless_overwritten(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="holds a run already; go on with it by --resume"):
        RunDirectory.create(run.path)
    assert (run.path / "recipe.yaml").exists()
    RunDirectory.create(run.path, overwrite=True)
    assert not (run.path / "recipe.yaml").exists()


def test_a_folder_that_is_no_run_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is no run directory \(it holds thesis.tex\)"):
        RunDirectory.create(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_the_way_and_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(RunError, match="is a file"):
        RunDirectory.create(tmp_path / "f")
    with pytest.raises(RunError, match="cannot be written"):
        RunDirectory.create(tmp_path / "f" / "below")


def test_opening_what_is_no_run_names_the_nearest(run: RunDirectory) -> None:
    with pytest.raises(RunError, match="does not exist: did you mean 'run'"):
        RunDirectory.open(run.path.parent / "rnu")


def test_json_keeps_numbers_and_turns_what_json_lacks_to_null(run: RunDirectory) -> None:
    run.write_json("a.json", {"x": np.float32(0.5), "nan": float("nan"), "inf": np.inf, "list": np.arange(2), 3: (1,)})
    assert json.loads((run.path / "a.json").read_text()) == {
        "x": 0.5,
        "nan": None,
        "inf": None,
        "list": [0, 1],
        "3": [1],
    }
    assert run.read_json("gone.json", 7) == 7
    (run.path / "a.json").write_text("{")
    with pytest.raises(RunError, match="is damaged"):
        run.read_json("a.json")


def test_floats_in_tables_come_back_bit_by_bit(run: RunDirectory) -> None:
    values = [0.1 + 0.2, 1e-300, -0.0, 12345678.9]
    for i, v in enumerate(values):
        run.append_row("metrics", {"epoch": i, "v": v, "note": 'a,"b"', "none": None})
    rows = run.rows("metrics")
    assert [float(r["v"]).hex() for r in rows] == [v.hex() for v in values]
    assert rows[0]["note"] == 'a,"b"' and rows[0]["none"] == ""


def test_files_that_only_grow_are_cut_back(run: RunDirectory) -> None:
    run.append_row("metrics", {"epoch": 0})
    run.event("decision", "first")
    sizes = run.sizes()
    run.append_row("metrics", {"epoch": 1})
    run.append_row("steps", {"step": 1})
    run.event("decision", "second")
    run.truncate(sizes)
    assert [r["epoch"] for r in run.rows("metrics")] == ["0"]
    assert run.rows("steps") == [] and [e["text"] for e in run.events()] == ["first"]


def test_a_line_is_whole_or_absent_when_the_disk_fills(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run.append_row("metrics", {"epoch": 0})
    real = Path.open

    class Full:
        def __init__(self, path: Path) -> None:
            self.file = real(path, "ab", buffering=0)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def write(self, data: bytes) -> int:
            return int(self.file.write(data[: len(data) // 2]))

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Full(self) if "ab" in a else real(self, *a, **k))
    with pytest.raises(OSError, match="No space"):
        run.append_row("metrics", {"epoch": 111111})
    monkeypatch.undo()
    assert (run.path / "metrics.csv").read_text() == "epoch\n0\n"


def test_a_failed_write_leaves_the_old_content(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write_text("a.txt", "old")
    monkeypatch.setattr(directory.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"):
        run.write_text("a.txt", "new")
    assert (run.path / "a.txt").read_text() == "old"
    assert sorted(p.name for p in run.path.iterdir()) == ["a.txt", "checkpoints", "recipe.yaml"]


def test_stages_are_noted(run: RunDirectory) -> None:
    assert not run.finished("fit")
    run.finish("fit")
    run.finish("test")
    assert run.finished("fit") and run.finished("test") and not run.finished("report")


def test_names_count_up(tmp_path: Path) -> None:
    assert directory.next_name("a/flowers.yaml", tmp_path).name == "flowers-1"
    (tmp_path / "flowers-1").mkdir()
    assert directory.next_name("a/flowers.yaml", tmp_path).name == "flowers-2"


def test_what_a_resume_said_is_not_cut_with_the_steps(run: RunDirectory) -> None:
    run.event("decision", "first")
    sizes = run.sizes()
    run.event("decision", "second")
    run.event("resume", "not bitwise", "warn")
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"kind": "resume", "te')
    (run.path / "decisions.jsonl").write_text("{}\n")
    for _ in range(2):
        run.truncate(sizes)
        assert [e["text"] for e in run.events()] == ["first", "not bitwise"]
    assert (run.path / "decisions.jsonl").read_text() == "{}\n"


def test_a_directory_that_is_removed_while_it_runs_is_made_again(run: RunDirectory) -> None:
    run.write_json("environment.json", {"a": 1})
    run.remember()
    run.append_row("metrics", {"epoch": 0})
    shutil.rmtree(run.path)
    run.append_row("metrics", {"epoch": 1})
    assert RunDirectory.open(run.path).read_json("environment.json") == {"a": 1}
    assert (run.path / "recipe.yaml").read_text() == "task: x\n"
    assert run.rows("metrics") == [{"epoch": "1"}]
    assert [(e["level"], "was removed" in e["text"]) for e in run.events()] == [("warn", True)]
    shutil.rmtree(run.path)
    assert set(run.sizes()) == {"events.jsonl"}


def test_a_link_out_of_the_run_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    (run.path / "inside.json").symlink_to("recipe.yaml")
    RunDirectory.open(run.path)
    (tmp_path / "precious.csv").write_text("years of work")
    (run.path / "metrics.csv").symlink_to(tmp_path / "precious.csv")
    with pytest.raises(RunError, match=r"metrics\.csv is a link out of the run directory"):
        RunDirectory.open(run.path)
    run.truncate({})
    assert (tmp_path / "precious.csv").read_text() == "years of work"


def test_a_run_that_is_being_trained_is_not_overwritten_but_by_who_trains_it(run: RunDirectory) -> None:
    with lock.held(run.path):
        RunDirectory.create(run.path, overwrite=True)
        assert (run.path / lock.NAME).is_file() and not (run.path / "recipe.yaml").exists()
