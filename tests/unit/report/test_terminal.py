from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from torchkiln.report import terminal

ROW = {"epoch": 3, "step": 40, "train_loss": 0.5123, "val_loss": 0.62, "val_accuracy": 0.81, "lr": 1e-3}
TIMING = {"epoch": 3, "seconds": 12.3, "samples_per_second": 4000.1, "memory_mb": 99.0}
RATES = {"loss": 0.5, "samples_per_second": 1234.5, "seconds_left": 120.0}
TEST: dict[str, Any] = {
    "n": 6513,
    "split": "test",
    "primary": "accuracy",
    "metrics": {
        "accuracy": {"value": 0.8702, "low": 0.8661, "high": 0.8743, "higher_is_better": True},
        "auroc": {"value": 0.925, "low": 0.92, "high": 0.93, "higher_is_better": True},
    },
    "baselines": [
        {"name": "majority class", "metrics": {"accuracy": {"value": 0.7607}},
         "difference": {"metric": "accuracy", "value": 0.1095, "low": 0.1, "high": 0.12}},
        {"name": "boosting", "metrics": {"accuracy": {"value": 0.8705}},
         "difference": {"metric": "accuracy", "value": -0.0003, "low": -0.003, "high": 0.002}},
    ],
    "verdict": {"text": "Boosting is as good.", "beats_trivial": True, "beats_classical": None},
}  # fmt: skip


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def run_through(stream: io.StringIO) -> str:
    with terminal.display(stream) as progress:
        progress.stage("data", "22 rows from [red]x.csv")
        progress.message("12 rows occur twice", "warn")
        progress.plan([{"what": "train.precision", "chosen": "bf16", "why": "fastest", "candidates": []}])
        progress.start(4, 200)
        progress.step(3, 40, RATES)
        progress.epoch(ROW, TIMING)
        progress.done({})
    return stream.getvalue()


def test_plain_lines_without_a_terminal() -> None:
    assert run_through(io.StringIO()).splitlines() == [
        "data: 22 rows from [red]x.csv",
        "warn: 12 rows occur twice",
        "plan: train.precision = bf16 (fastest)",
        "epoch 3  train_loss 0.5123  val_loss 0.6200  accuracy 0.8100  samples/s 4,000  time 12 s",
    ]


def test_lines_have_plain_hyphens(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    terminal.display(stream).epoch({**ROW, "train_loss": -0.5, "val_loss": None}, TIMING)
    assert "train_loss -0.5000  val_loss -  " in stream.getvalue()
    assert stream.getvalue().isascii()


def test_a_long_epoch_says_a_word_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    progress = terminal.display(stream)
    progress.start(1, 1000)
    progress.step(0, 10, RATES)
    assert stream.getvalue() == ""
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    progress.step(0, 20, RATES)
    assert stream.getvalue() == "epoch 0  step 20 of 1,000  loss 0.5000  1,234 samples/s  2 min 0 s left\n"


def test_a_terminal_gets_a_bar_and_a_row_an_epoch() -> None:
    drawn = run_through(Terminal())
    assert "step 40 of 200  loss 0.5000  1,234 samples/s  2 min 0 s left" in drawn
    assert "train_loss     val_loss     accuracy" in drawn
    assert "0.5123       0.6200       0.8100" in drawn
    assert "[red]x.csv" in drawn, "the person's words are not markup"


def test_a_terminal_is_drawn_by_the_clock_not_by_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    with terminal.display(stream) as progress:
        progress.start(1, 100_000)
        before = len(stream.getvalue())
        monkeypatch.setattr(terminal, "REFRESH_SECONDS", 1e9)
        for step in range(1000):
            progress.step(0, step, RATES)
        assert len(stream.getvalue()) == before


def test_the_bar_is_gone_when_the_next_stage_begins() -> None:
    stream = Terminal()
    with terminal.display(stream) as progress:
        progress.start(1, 10)
        progress.stage("test", "testing")
        assert stream.getvalue().endswith("testing\n")
        progress.stage("report", "writing")
        assert stream.getvalue().endswith("writing\n")


def test_long_words_stay_indented_where_they_wrap() -> None:
    stream = Terminal()
    terminal.display(stream).message("word " * 60, "warn")
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in stream.getvalue().splitlines()]
    assert len(lines) > 2
    assert all(line.startswith("        word") for line in lines)


def test_an_error_gives_the_terminal_back() -> None:
    stream = Terminal()

    def fail() -> None:
        with terminal.display(stream) as progress:
            progress.start(1, 10)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        fail()
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l"), "the cursor is shown"


def test_a_reader_who_leaves_does_not_end_the_run() -> None:
    progress = terminal.display(Broken())
    progress.stage("data", "x")
    progress.epoch(ROW, TIMING)


def test_silence(capsys: pytest.CaptureFixture[str]) -> None:
    progress = terminal.display(Terminal(), silent=True)
    progress.stage("data", "x")
    progress.start(1, 1)
    progress.epoch(ROW, TIMING)
    assert capsys.readouterr() == ("", "")


def test_the_score_stands_beside_its_baselines() -> None:
    assert [text.replace("\u2212", "-") for _, text in terminal.score_lines(TEST)] == [
        "accuracy 0.8702 (95 % interval 0.8661 to 0.8743) on 6,513 test rows",
        "  also AUROC 0.925",
        "  majority class  0.7607   this run +0.1095 (+0.1000 to +0.1200)",
        "  boosting        0.8705   this run -0.0003 (-0.0030 to +0.0020)",
        "Boosting is as good.",
    ]


def test_no_test_split_is_said_not_hidden() -> None:
    assert terminal.score_lines({}) == [("yellow", "There is no test score: the data has no test split.")]


def test_the_next_steps_are_named(tmp_path: Path) -> None:
    assert f"torchkiln report {tmp_path}" in terminal.next_lines(tmp_path)[0][1]
    (tmp_path / "report.html").touch()
    said = [text for _, text in terminal.next_lines(tmp_path)]
    assert said == [f"Report   {tmp_path / 'report.html'}", f"Predict  torchkiln predict {tmp_path} INPUT"]


def test_one_fault_is_a_sentence_and_several_are_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.complain(["lr: no"], "r.yaml")
    terminal.complain(["lr: no", "seed: no"], "r.yaml")
    terminal.complain(["a [bold]", "b"])
    assert capsys.readouterr().err.splitlines() == [
        "error: r.yaml: lr: no",
        "error: 2 faults in r.yaml",
        "  lr: no",
        "  seed: no",
        "error: 2 faults",
        "  a [bold]",
        "  b",
    ]


def test_a_long_table_is_cut_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame({"key": [f"[b]{i}" for i in range(25)], "prediction": [0.123456] * 25})
    terminal.show_table(frame)
    shown = capsys.readouterr().out
    assert "[b]19" in shown
    assert "[b]20" not in shown
    assert "0.1235" in shown
    assert "and 5 more; --out FILE.csv keeps all of them" in shown
