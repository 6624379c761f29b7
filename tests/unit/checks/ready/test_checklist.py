"""The checklist over a run that was made by hand: all that it reads is plain files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from torchkiln.checks.ready import checklist
from torchkiln.errors import RecipeError, RunError

TORCH = "2.14.1"
PLAN = {
    "decisions": [
        {"what": "train.compile", "chosen": True, "why": "1.4 times as fast", "candidates": [{"milliseconds": 2.0}]},
        {
            "what": "train.precision",
            "chosen": "bf16",
            "why": "1.3 times as fast",
            "candidates": [{"milliseconds": 2.0}],
        },
        {"what": "train.micro_batch", "chosen": None, "why": "a step needs about 9 MB, and 22 GB are free"},
    ]
}
ENVIRONMENT = {
    "versions": {"torch": TORCH}, "packages": {"torchkiln": "0.1.0"}, "peak_memory_mb": 797.0, "not_bitwise": [],
    "git": {"commit": "3f2a91c0aa11bb22", "changed": False}, "data_digest": "18c1a9391634298a", "train_seconds": 2.0,
}  # fmt: skip
TEST = {
    "verdict": {"text": "t", "beats_trivial": True},
    "baselines": [
        {"name": "majority class", "difference": {"metric": "accuracy", "value": 0.4, "low": 0.3, "high": 0.5}}
    ],
}
EVENTS = [
    {"kind": "finding", "level": "note", "code": "split", "text": "split at random: 10 train"},
    {"kind": "guard", "text": "preflight: 1 of 1 checks passed", "checks": {"R501": "PASS"}},
]
BUNDLE = {
    "manifest.json": {"licences": {"weights": "MIT", "data": "CC-BY-4.0"}},
    "parity.json": {"files": {"onnx": {"verdict": "proven"}}},
    "bench.json": {
        "machine": {"cpu": "A"}, "best": {"batch": 16, "threads": 2},
        "rows": [{"batch": 16, "threads": 2, "latency_ms": 2.1, "rows_per_second": 7600.0}],
    },
}  # fmt: skip


def write(file: Path, data: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(data if isinstance(data, str) else json.dumps(data))


def checkpoint(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        write(folder / name, text)
    entries = {n: {"size": len(t), "sha256": hashlib.sha256(t.encode()).hexdigest()} for n, t in files.items()}
    write(folder / "MANIFEST.json", {"format": 1, "files": entries})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that lacks nothing but what the command line adds."""
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    write(run / "recipe.yaml", "task: table_classification\ndata: {path: rows.csv, target: y}\n")
    for name, data in (("plan.json", PLAN), ("environment.json", ENVIRONMENT), ("test.json", TEST)):
        write(run / name, data)
    write(run / "events.jsonl", "".join(json.dumps(one) + "\n" for one in EVENTS))
    write(run / "metrics.csv", "epoch\n0\n")
    write(run / "best.json", {"step": 4})
    write(run / "stages.json", {"fit": True, "test": True, "report": True})
    write(run / "requirements.txt", f"torch=={TORCH}\n")
    state = '{"optimizer_states": 1, "lr_schedulers": 2}'
    checkpoint(run / "checkpoints" / "step-00000004", {"state.json": state, "weights.safetensors": "w"})
    checkpoint(run / "checkpoints" / "best-00000004", {"weights.safetensors": "w"})
    for name, data in BUNDLE.items():
        write(run / "bundle" / name, data)
    write(run / "bundle" / "card.md", "# Card\n")
    return run


def states(run: Path, **more: Any) -> dict[str, str]:
    return {one.rule: one.state for one in checklist.check(run, **more)}


def resumed(run: Path) -> Path:
    """A copy that trained once more."""
    copy = run.parent / "copy"
    shutil.copytree(run, copy)
    write(copy / "environment.json", {**ENVIRONMENT, "train_seconds": 3.0})
    return copy


def test_a_run_that_is_ready(run: Path) -> None:
    found = states(run, rollback=run / "bundle", resumed=resumed(run))
    assert set(found.values()) == {"pass", "not applicable"}, found
    assert [item for item, state in found.items() if state == "not applicable"] == ["C112"]
    assert len(found) >= 17


GUARDED = {"kind": "guard", "rule": "R502", "state": "FAIL", "text": "no gradient"}
TIGHT = "a step needs about 21 GB, and 22 GB are free"
SPOILT: dict[str, tuple[str, Any]] = {
    "C101": ("plan.json", {"decisions": [{"what": "train.compile", "chosen": False, "why": "the recipe says so"}]}),
    "C102": ("plan.json", {"decisions": []}),
    "C103": ("checkpoints/step-00000004/state.json", "{}"),
    "C105": ("bundle/parity.json", {"files": {"onnx": {"verdict": "proven"}, "int8": {"verdict": "unproven"}}}),
    "C106": ("plan.json", {"decisions": [{"what": "train.micro_batch", "why": TIGHT}]}),
    "C107": ("environment.json", {**ENVIRONMENT, "git": {"commit": "3f2a91c0aa11bb22", "changed": True}}),
    "C108": ("requirements.txt", "torch==2.0.0\n"),
    "C109": ("environment.json", {**ENVIRONMENT, "not_bitwise": ["the device was A and is B"]}),
    "C110": ("environment.json", {**ENVIRONMENT, "data_digest": None}),
    "C111": ("events.jsonl", json.dumps({**EVENTS[0], "level": "warn", "code": "groups_across_splits"})),
    "C113": ("events.jsonl", json.dumps(EVENTS[1]) + "\n" + json.dumps(GUARDED)),
    "C114": ("test.json", {**TEST, "verdict": {"beats_trivial": False, "text": "t"}}),
    "C116": ("bundle/bench.json", {}),
    "C117": ("bundle/manifest.json", {"licences": {"weights": "MIT", "data": "unknown"}}),
}  # fmt: skip


@pytest.mark.parametrize("item", SPOILT)
def test_an_item_fails_where_its_evidence_does(item: str, run: Path) -> None:
    name, data = SPOILT[item]
    assert states(run)[item] == "pass"
    write(run / name, data)
    assert states(run)[item] == "fail"


def test_code_of_ones_own_is_read_and_not_imported(run: Path) -> None:
    write(run / "recipe.yaml", "task: table_classification\ndata: {path: rows.csv, target: y}\n"
          "model:\n  class_path: nets.Net\n")  # fmt: skip
    assert (states(run)["C112"], states(run)["C104"]) == ("fail", "fail"), "its file is not here"
    write(run.parent / "nets.py", "raise SystemExit('imported')\n")
    assert (states(run)["C112"], states(run)["C104"]) == ("pass", "pass")
    write(
        run.parent / "nets.py",
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        self.a = nn.ReLU()\n",
    )
    assert states(run)["C112"] == "fail"


def test_a_resumed_copy_must_have_trained_and_be_equal(run: Path) -> None:
    assert states(run)["C115"] == "fail"
    assert states(run, resumed=run)["C115"] == "fail"
    copy = resumed(run)
    assert states(run, resumed=copy)["C115"] == "pass"
    write(copy / "metrics.csv", "epoch\n1\n")
    assert states(run)["C115"] == "fail"


def test_the_way_back_must_be_whole(run: Path, tmp_path: Path) -> None:
    assert states(run, rollback=tmp_path / "nothing")["C118"] == "fail"
    assert states(run, rollback=run)["C118"] == "fail"
    before = resumed(run)
    assert states(run, rollback=before)["C118"] == "pass"
    (before / "checkpoints/best-00000004/weights.safetensors").write_text("v")
    assert states(run)["C118"] == "fail"


def test_a_waiver_is_kept_in_the_run_and_can_be_taken_back(run: Path) -> None:
    (run / "bundle/card.md").unlink()
    assert states(run, waive={"c117": "our own data"})["C117"] == "waived"
    line = next(one for one in checklist.check(run) if one.rule == "C117")
    assert line.evidence.startswith("our own data (") and line.finding().state == "WARN"
    assert states(run, waive={"C117": ""})["C117"] == "fail"
    for word in ("C1", "E101", "x", ""):
        with pytest.raises(RecipeError, match="there is no item"):
            checklist.check(run, waive={word: "why"})


def test_a_damaged_file_fails_its_items_and_spares_the_rest(run: Path) -> None:
    (run / "environment.json").write_text("{")
    found = states(run)
    assert found["C107"] == "fail" and found["C114"] == "pass"


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        checklist.check(tmp_path)


def test_items_that_shall_not_fail(run: Path) -> None:
    lines = checklist.check(run)
    assert {one.rule for one in checklist.failing(lines, ["C"])} == {"C115", "C118"}
    assert checklist.failing(lines, ["C105"]) == []
    with pytest.raises(RecipeError, match="there is no item 'X1'"):
        checklist.failing(lines, ["X1"])


def test_an_empty_run_has_no_evidence(tmp_path: Path) -> None:
    write(tmp_path / "recipe.yaml", "task: table_classification\ndata: {path: rows.csv, target: y}\n")
    assert {one.state for one in checklist.check(tmp_path)} <= {"pass", "fail", "not applicable"}
    failing = [one for one in checklist.check(tmp_path) if one.state == "fail"]
    assert len(failing) >= 12 and all(one.finding().fix for one in failing)
