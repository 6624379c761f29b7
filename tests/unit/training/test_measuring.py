"""What is decided is faster, leaves the loss alone, and can be had on this machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from torchkiln.data.own import OwnStore, SampleSeed, _default_collate
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom
from torchkiln.training import measuring
from torchkiln.training.estimates import Extent
from torchkiln.training.measuring import Measuring, Question
from torchkiln.training.settings import Setting
from torchkiln.training.trials import Trial, Trials

CPU = Setting("cpu", 1, implementation="fused")


def trials(net: nn.Module, **sections: Any) -> Trials:
    recipe = Recipe(task="custom", data={}, loss={"name": "cross_entropy"}, **sections)  # type: ignore[arg-type]
    store = OwnStore(TensorDataset(torch.randn(64, 4), torch.arange(64) % 2), _default_collate, SampleSeed(0, "train"))
    task = Custom(recipe)
    return Trials(task, net, task.criterion(np.empty(0)), recipe, store)


def asking(net: nn.Module, batches: int = 10**6, **sections: Any) -> Measuring:
    return Measuring(trials(net, **sections), CPU, Extent(batches), time.perf_counter(), share=0.05, least=0.5)


@pytest.mark.parametrize(
    ("trial", "taken", "said"),
    [
        (Trial(0.5, (2.0, 1.0)), True, "2.00 times as fast"),
        (Trial(0.98, (2.0, 1.0)), False, "does not pay"),
        (Trial(0.9, (2.0, 1.0)), False, "1.11 times as fast, which does not pay"),  # so few steps may be noise
        (Trial(0.9, (2.0, *[1.0] * 6)), True, "1.11 times as fast"),
        (Trial(0.5, (2.0, 1.0), least=0.99), False, "1.01 times as fast"),  # faster by a disturbance of the other
        (Trial(0.1, (2.0, 1.2)), False, "with bf16 the loss after the trial steps is off by 20 %"),
        (Trial(0.1, (2.0, float("nan"))), False, "off by nan"),
        (Trial(0.5, (2.0, 1.0, 0.3)), True, "2.00 times as fast"),
    ],
)
def test_a_candidate_must_be_faster_and_leave_the_loss(trial: Trial, taken: bool, said: str) -> None:
    """Losses are compared after the same number of steps: a faster candidate takes more in its time."""
    accepted, why = measuring.is_better("bf16", trial, Trial(1.0, (2.0, 1.0)), Trial(1.0, (2.0, 1.0)))
    assert accepted is taken
    assert said in why


class WithoutBf16(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no kernel for\nbf16 here")
        return super().forward(x)


def test_a_candidate_that_raises_is_not_available_and_the_plan_goes_on() -> None:
    found = asking(WithoutBf16(4, 2))
    found.ask(Question("train.precision", "precision", ("bf16",), True))
    (row,) = found.decisions
    assert row["chosen"] == "32" == found.setting.precision
    assert row["why"] == "bf16 is not available: no kernel for bf16 here"
    assert row["candidates"] == [
        {"value": "bf16", "milliseconds": None, "note": "not available: no kernel for bf16 here"}
    ]


class Hungry(WithoutBf16):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise torch.OutOfMemoryError("tried to allocate 1 GiB")
        return super().forward(x)


def test_a_candidate_that_runs_out_of_memory_is_not_available() -> None:
    found = asking(Hungry(4, 2))
    found.ask(Question("train.precision", "precision", ("bf16",), True))
    assert "not available: tried to allocate 1 GiB" in found.decisions[0]["why"]


class Slow(nn.Linear):
    """Sleeps, and without autocast for longer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.002 if torch.is_autocast_enabled("cpu") else 0.012)
        return super().forward(x)


def test_the_quicker_candidate_is_taken_and_what_the_recipe_says_is_not_asked() -> None:
    found = asking(Slow(4, 2))
    found.ask(Question("train.precision", "precision", ("bf16",), True))
    assert found.setting.precision == "bf16" and found.decisions[0]["chosen"] == "bf16"
    assert [c["value"] for c in found.decisions[0]["candidates"]] == ["32", "bf16"]
    assert found.best.seconds < 0.012
    found.ask(Question("train.channels_last", "channels_last", (True,), False))
    assert found.decisions[1]["why"] == "the recipe says so" and not found.decisions[1]["candidates"]


def test_nothing_is_tried_when_the_time_is_over() -> None:
    found = asking(nn.Linear(4, 2), train={"plan_seconds": 1e-6})
    found.ask(Question("train.precision", "precision", ("bf16",), True))
    found.optimizer()
    assert all("not measured" in d["why"] and not d["candidates"] for d in found.decisions)


def test_the_optimizers_step_is_timed_in_each_implementation() -> None:
    found = asking(nn.Linear(4, 2), optimizer={"name": "adamw"})
    found.optimizer()
    (row,) = found.decisions
    assert {c["value"] for c in row["candidates"]} == {"fused", "foreach", "loop"}
    assert row["chosen"] == found.setting.implementation != "auto"


def test_a_short_run_is_not_compiled_nor_one_whose_recipe_says_no() -> None:
    found = asking(nn.Linear(4, 2), batches=10)
    found.compile()
    assert found.decisions[0]["chosen"] is False and "not tried: compiling takes about" in found.decisions[0]["why"]
    said = asking(nn.Linear(4, 2), train={"compile": False})
    said.compile()
    assert said.decisions[0]["why"] == "the recipe says so"


def test_a_compiler_that_breaks_is_told_and_the_step_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(torch, "compile", broken)
    found = asking(nn.Linear(4, 2), train={"compile": True})
    found.compile()
    assert found.setting.compile is False
    assert found.decisions[0]["why"] == "True is not available: no C++ compiler; the step runs as it is"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_compiling_counts_its_seconds_graphs_and_breaks() -> None:
    found = asking(nn.Linear(4, 2), train={"compile": True})
    found.compile()
    assert found.setting.compile is True and found.decisions[0]["why"] == "the recipe says so"
    row = found.decisions[0]["candidates"][1]
    assert row["compiled"]["graphs"] == 1 and row["compiled"]["recompiles"] == row["compiled"]["graph_breaks"] == 0
    assert found.compile_seconds > 0


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(1)
        return self.out(self.heads(x, x, x)[0].squeeze(1))


def test_kernels_are_asked_for_where_a_net_computes_scaled_dot_products() -> None:
    for net, wanted in ((Attends(), ("flash", "math")), (nn.Linear(4, 2), ())):
        tried = trials(net)
        asked = {q.field: q for q in measuring.questions(CPU, tried.recipe, tried, cores=2)}
        assert asked["attention"].candidates == wanted
        assert asked["threads"].candidates == (2,)
        assert asked["cudnn_benchmark"].candidates == ()
