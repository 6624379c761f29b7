from __future__ import annotations

from pathlib import Path

from torchkiln.runs.decisions import Decision, Decisions
from torchkiln.runs.directory import DECISIONS, RunDirectory


def test_decisions_are_there_in_the_next_life(tmp_path: Path) -> None:
    made = Decisions(tmp_path)
    assert made.stop_at() is None and made.parts(9) == 1 and not made.skips(0, 3)
    made.add(Decision("parts", 4, "out of memory", value=2))
    made.add(Decision("parts", 6, "out of memory", value=4))
    made.add(Decision("eval_parts", 0, "out of memory", value=8))
    made.add(Decision("skip_batch", 5, "loss is nan", epoch=1, batch=2))
    made.add(Decision("skip_samples", 5, "unreadable", epoch=1, value=[7, 9]))
    made.add(Decision("stop", 8, "time is up"))
    again = Decisions(tmp_path)
    assert again.made == made.made
    assert [again.parts(step) for step in (3, 4, 5, 6, 7)] == [1, 2, 2, 4, 4]
    assert again.parts(1, "eval_parts") == 8
    assert again.skips(1, 2) and not again.skips(0, 2)
    assert again.skipped_samples() == {(1, 7), (1, 9)}
    assert again.stop_at() == 8


def test_a_decision_made_again_by_a_replay_is_one(tmp_path: Path) -> None:
    for _ in range(2):
        Decisions(tmp_path).add(Decision("stop", 8, "time is up"))
    assert len(Decisions(tmp_path).made) == 1


def test_a_line_cut_by_a_kill_never_took_effect(tmp_path: Path) -> None:
    Decisions(tmp_path).add(Decision("stop", 8, "time is up"))
    with (tmp_path / DECISIONS).open("a") as out:
        out.write('{"kind": "parts", "st')
    again = Decisions(tmp_path)
    assert [d.kind for d in again.made] == ["stop"]
    again.add(Decision("parts", 9, "out of memory", value=2))
    assert [d.kind for d in Decisions(tmp_path).made] == ["stop", "parts"]


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    other = Decisions(tmp_path, writes=False)
    other.add(Decision("stop", 8, "time is up"))
    assert other.stop_at() == 8 and not (tmp_path / DECISIONS).exists()
    other.add(Decision("skip_samples", 8, "unreadable", epoch=0, value=[3]))  # of its own part of the batch
    assert Decisions(tmp_path).skipped_samples() == {(0, 3)}


def test_a_resume_cuts_tables_back_and_keeps_decisions(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "run")
    Decisions(run.path).add(Decision("stop", 8, "time is up"))
    run.append_row("metrics", {"epoch": 0})
    run.truncate({})
    assert not (run.path / "metrics.csv").read_bytes()
    assert Decisions(run.path).stop_at() == 8
