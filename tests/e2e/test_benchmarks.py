"""The benchmarks' own parts: every row has its program, a clock counts what it says, and no device is said."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_every_row_has_its_function() -> None:
    homes = module("speed").HOMES
    assert {"mlp", "resnet", "transformer", "resnet_planned", "transformer_planned"} <= set(homes)
    for row, home in homes.items():
        assert f"\ndef {row}(" in (BENCHMARKS / f"{home}.py").read_text(), row


@pytest.mark.parametrize("row", ["gpu_cifar", "gpu_resnet50", "gpu_gpt"])
def test_without_a_device_a_row_for_one_says_so(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=rf"{row} needs a CUDA device, and torch \S+ sees none here"):
        getattr(module("speed_gpu"), row)(tmp_path, tmp_path)


def test_a_peers_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NANOGPT", raising=False)
    with pytest.raises(SystemExit, match="gpu_gpt needs a checkout of nanoGPT: set NANOGPT to it"):
        module("speed_gpu").needed("gpu_gpt", "NANOGPT", "a checkout of nanoGPT")


def test_the_clock_leaves_out_the_first_epoch_and_the_first_steps_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    peers = module("speed_peers")
    now = [0.0]
    monkeypatch.setattr(peers.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(peers.time, "process_time", lambda: now[0] / 2)
    clock = peers.Clock(peers.Case(peers.mlp, 2, batch=4, batches=5, epochs=1, skipped=1))

    def step(number: int) -> None:
        epoch, batch = divmod(number, 5)
        now[0] += 7.0 if epoch == 0 or batch <= 1 else 0.25  # what ends as the step begins
        clock.step()

    for number in range(9):
        step(number)
    with pytest.raises(peers.Enough):
        step(9)
    assert clock.found() == {"ms": 250.0, "cpu_ms": 125.0, "ahead_s": 7.0}


def test_what_a_systems_program_trains_is_the_same_for_all(tmp_path: Path) -> None:
    peers = module("speed_peers")
    case = peers.Case(peers.mlp, 2, batch=8, batches=3, epochs=1)
    first, second = (peers.work(case, tmp_path) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), second.net.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.train.tensors, second.train.tensors, strict=True))
    with pytest.raises(peers.Enough):
        peers.raw(first)
    assert first.clock.found()["ms"] > 0


def test_exports_say_which_data_they_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = module("export")
    monkeypatch.setenv("TORCHKILN_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match=r"export needs cifar10/test\.parquet: set TORCHKILN_DATA"):
        export.resnet(tmp_path)
    with pytest.raises(SystemExit, match=r"export needs california_housing/housing\.csv"):
        export.table(tmp_path)


def test_a_proof_that_is_too_slow_or_fails_is_below_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = module("export")
    monkeypatch.setattr(export, "resnet", lambda folder: folder)
    row = {"verdict": "proven", "over_std": 1e-6, "agreement": 1.0}
    said = {"seconds": 59.0, "cpu": 80.0, "table": [row]}
    for change, passed in (({}, True), ({"seconds": 61.0}, False), ({"table": [{**row, "verdict": "void"}]}, False)):
        monkeypatch.setattr(export, "program", lambda *args, change=change: {**said, **change})
        (figure,) = export.proof(tmp_path, tmp_path)
        assert figure.passed is passed
