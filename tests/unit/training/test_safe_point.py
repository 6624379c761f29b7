"""A run that is stopped anywhere and resumed ends bitwise as one that never was."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchkiln
from torchkiln import Run
from torchkiln.errors import RunFailed
from torchkiln.runs import checkpoints
from torchkiln.runs.progress import Progress
from torchkiln.training import recorder

Fit = Callable[..., Run]

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "accumulation, ema, one_cycle": {"train__accumulate": 4, "train__ema": 0.9, "scheduler__name": "one_cycle"},
    "plateau, early stopping": {"scheduler__name": "plateau", "scheduler__patience": 0,
                                "train__early_stopping": {"patience": 2}},
    "sgd, clip, bf16": {"optimizer__name": "sgd", "optimizer__lr": 0.1, "train__clip": {"norm": 0.5},
                        "train__precision": "bf16"},
    "muon, validation every second epoch": {"optimizer__name": "muon", "optimizer__lr": 0.05,
                                            "train__validate_every": 2},
    "frozen, then unfrozen": {"model__freeze": "0", "model__unfreeze": [{"epoch": 2, "match": "0.*"}]},
}  # fmt: skip


class StopAt(Progress):
    """Sends SIGINT at the first step from `step` on, once."""

    def __init__(self, step: int) -> None:
        self.at: int | None = step

    def step(self, epoch: int, step: int, values: Any) -> None:
        if self.at is not None and step >= self.at:
            self.at = None
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed_equals_never_stopped(
    case: str, fit: Fit, datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SHOW_SECONDS", 0.0)  # so that StopAt hears of every step
    whole = digests(fit("whole", **CASES[case]).path)
    for step in (1, 3, 7):
        with pytest.raises(RunFailed, match="--resume"):
            fit("stopped", progress=StopAt(step), **CASES[case])
        run = torchkiln.fit(model=fresh_net(), loss="cross_entropy", data=datasets, resume=tmp_path / "stopped")
        assert digests(run.path) == whole, f"stopped at step {step}"


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    fit: Fit, datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "SHOW_SECONDS", 0.0)
    whole = digests(fit("whole", train__checkpoint_every=3).path)
    with pytest.raises(RunFailed):
        fit("stopped", train__checkpoint_every=3, progress=StopAt(10))
    folder = tmp_path / "stopped" / "checkpoints"
    newest = checkpoints.newest(folder, "step")
    assert newest is not None
    weights = newest / "weights.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    older = checkpoints.newest(folder, "step")
    assert older is not None and older < newest
    run = torchkiln.fit(model=fresh_net(), loss="cross_entropy", data=datasets, resume=tmp_path / "stopped")
    assert digests(run.path) == whole


def test_a_resumed_epoch_has_the_order_it_would_have_had(
    fit: Fit, datasets: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning's checkpoint holds no random state, so there a resumed run shuffles as its first epoch did."""
    monkeypatch.setattr(recorder, "SHOW_SECONDS", 0.0)
    seen: list[int] = []

    class Recording(torch.utils.data.TensorDataset):
        def __getitem__(self, index: int) -> Any:
            seen.append(index)
            return super().__getitem__(index)

    data = (Recording(*datasets[0].tensors), *datasets[1:])
    fit("whole", data=data)
    # the test reads the 45 targets once more at the end, for the baseline
    whole = [seen[len(seen) - 45 * k : len(seen) - 45 * (k - 1)] for k in (5, 4, 3, 2)]
    assert seen[-45:] == list(range(45)) not in whole
    assert len({tuple(epoch) for epoch in whole}) == 4 and all(sorted(e) == list(range(45)) for e in whole)
    with pytest.raises(RunFailed):
        fit("stopped", data=data, progress=StopAt(6 * 2 + 1))  # in the third epoch, behind its first batch
    seen.clear()
    torchkiln.fit(model=fresh_net(), loss="cross_entropy", data=data, resume=tmp_path / "stopped")
    rest = whole[2][8:] + whole[3]
    assert any(seen[i : i + len(rest)] == rest for i in range(len(seen)))
    assert seen[-90:-45] == whole[3]


def fresh_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def digests(run: Path) -> dict[str, str]:
    """What must be equal byte for byte, the recoverable state of the end included."""
    files = [run / n for n in ("metrics.csv", "steps.csv", "test.json", "predictions.parquet")]
    for prefix in ("best", "step"):
        newest = checkpoints.newest(run / "checkpoints", prefix)
        assert newest is not None
        files += sorted(newest.glob("*.safetensors"))
    return {f"{f.parent.name}/{f.name}" if f.suffix == ".safetensors" else f.name:
            hashlib.sha256(f.read_bytes()).hexdigest() for f in files}  # fmt: skip
