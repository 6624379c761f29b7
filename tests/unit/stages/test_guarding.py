from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import torchkiln
from torchkiln.runs.directory import RunDirectory
from torchkiln.stages import guarding


def test_a_fit_tries_a_batch_and_says_so(tmp_path: object) -> None:
    x = torch.randn(60, 4)
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    overrides = {"train.epochs": 1, "train.batch_size": 20, "train.plan_seconds": 0}
    run = torchkiln.fit(model=nn.Linear(4, 2), loss=nn.CrossEntropyLoss(), data=(data, data, data), overrides=overrides,
                        out=f"{tmp_path}/run")  # fmt: skip
    said = [e for e in RunDirectory.open(run.path).events() if e["kind"] == "guard"]
    assert any(e["text"].startswith("preflight: ") and set(e["checks"].values()) == {"PASS"} for e in said)


def test_what_is_wrong_is_written_and_shown(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 4)).astype(np.float32))
    data = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    net = nn.Sequential(nn.Linear(4, 2), nn.Softmax(1))
    overrides = {"train.epochs": 1, "train.batch_size": 20, "train.plan_seconds": 0}
    run = torchkiln.fit(model=net, loss=nn.CrossEntropyLoss(), data=(data, data, data), overrides=overrides,
                        out=f"{tmp_path}/run")  # fmt: skip
    found = [e for e in RunDirectory.open(run.path).events() if e.get("rule") == "R515"]
    assert [e["state"] for e in found] == ["FAIL"] and found[0]["level"] == "warn"


def test_guards_and_callbacks_are_made() -> None:
    assert guarding.guard(quiet=True).findings == []
    assert len(guarding.callbacks()) == 1


@pytest.mark.parametrize(("planned", "wanted"), [(None, 4.0), (1000.0, 4.0), (20.0, 1.0), (2.0, 0.5)])
def test_a_short_fit_is_tried_for_a_short_time(planned: float | None, wanted: float, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    if planned is not None:
        run.write_json("plan.json", {"estimates": {"train_seconds": planned}})
    assert guarding._seconds(run) == pytest.approx(wanted)
