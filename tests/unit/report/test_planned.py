"""A plan in words."""

from __future__ import annotations

from typing import Any

from torchkiln.report import planned

PLAN: dict[str, Any] = {
    "decisions": [
        {"what": "train.precision", "chosen": "bf16", "why": "it is faster", "candidates": [
            {"value": "32", "milliseconds": 187.2, "note": "loss 1"},
            {"value": "16", "milliseconds": None, "note": "not available: no kernel"}]},
        {"what": "train.micro_batch", "chosen": None, "why": "it fits", "candidates": []},
        {"what": "train.channels_last", "chosen": True, "why": "said", "candidates": []},
    ],
    "seconds": 1.5,
    "measured": {"at": "2026-11-21 20:00 UTC", "load": 0.5, "cached": False},
    "estimates": {"steps": 1000, "step_seconds": 0.187, "train_seconds": 187.0, "peak_memory_bytes": 1.2e9,
                  "checkpoint_bytes": 1e8, "disk_bytes": 3e8},
}  # fmt: skip


def test_the_table_holds_each_decision_with_its_candidates_and_reason() -> None:
    lines = [text for _, text in planned.rows(PLAN)]
    assert lines[0].split() == ["train.precision", "bf16"]
    assert lines[1].split() == ["32", "187", "ms", "loss", "1"]
    assert lines[2].split() == ["16", "not", "available:", "no", "kernel"]
    assert lines[3] == "  it is faster"
    assert lines[4].split()[1] == "whole" and lines[6].split()[1] == "yes"


def test_sentences_say_when_and_how_long_how_much_memory_and_disk() -> None:
    when, run = planned.sentences(PLAN)
    assert when == "measured in 1.5 s, at a load of 0.5"
    assert run == ("1,000 steps of 187 ms, about 3 min 7 s of training; 1.2 GB of memory at the peak; "
                   "300 MB of checkpoints")  # fmt: skip
    cached = {**PLAN, "measured": {**PLAN["measured"], "cached": True, "load": None}}
    assert planned.sentences(cached)[0] == ("measured by an earlier run, 2026-11-21 20:00 UTC; torchkiln plan --anew "
                                            "measures again")  # fmt: skip


def test_a_plan_without_measurements_has_no_sentences() -> None:
    assert planned.sentences({"decisions": [], "seconds": 0.0, "measured": None, "estimates": None}) == []
    assert planned.sentences({}) == [] == planned.rows({})
