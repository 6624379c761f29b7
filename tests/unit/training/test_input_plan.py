"""Processes, prefetching and pinning are decided from measured times, and never take cores from the steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch

from torchkiln.data.store import ArrayStore, Batch, DeviceStore, Indices, Store
from torchkiln.recipe.schema import Recipe
from torchkiln.training import input_plan
from torchkiln.training.input_plan import InputPlan, Measured


class Slow(ArrayStore):
    """A batch takes a while, in which the processor is free."""

    def take(self, indices: Indices, epoch: int) -> Batch:
        time.sleep(0.03)
        return super().take(indices, epoch)


def decided(fetch: float, step: float, *, epochs: int = 1, store: Store | None = None, threads: int = 1,
            device: str = "cpu", cores: int = 2, **data: Any) -> InputPlan:  # fmt: skip
    recipe = Recipe(task="custom", data=data, train={"epochs": epochs})  # type: ignore[arg-type]
    store = store or ArrayStore({"x": np.zeros((6400, 4))}, None)
    indices = np.arange(64)
    batch = store.take(indices, 0)
    return input_plan.decide(recipe, Measured(store, None, indices, batch, fetch, step, threads, device, cores))


def why(found: InputPlan, what: str) -> str:
    return str(next(d["why"] for d in found.decisions if d["what"] == what))


@pytest.mark.parametrize(
    ("settings", "workers", "said"),
    [
        ({"fetch": 1e-4, "step": 0.1, "epochs": 100}, 0, "cost little"),
        ({"fetch": 0.05, "step": 0.05}, 0, "cost little"),
        ({"fetch": 0.3, "step": 0.3}, 1, "no core idle"),
        ({"fetch": 0.3, "step": 0.3, "threads": 2}, 0, "2 cores are at the steps"),
        ({"fetch": 0.3, "step": 0.1, "cores": 16}, 3, "no core idle"),
        ({"fetch": 0.5, "step": 0.1, "cores": 4, "threads": 2}, 2, "no core idle"),
        ({"fetch": 0.3, "step": 0.1, "workers": 5}, 5, "the recipe says so"),
    ],
)
def test_as_many_processes_as_help_and_no_more_than_there_are_cores(
    settings: dict[str, Any], workers: int, said: str
) -> None:
    found = decided(**settings)
    assert found.data.workers == workers
    assert said in why(found, "data.workers")


def test_samples_on_the_device_need_no_process() -> None:
    store = DeviceStore({"x": np.zeros((6400, 4))}, None, "cpu")
    found = decided(1.0, 0.1, store=store, epochs=9, cores=8)
    assert (found.data.workers, found.data.pin) == (0, False)
    assert "on the device already" in why(found, "data.workers")


def test_in_a_long_run_a_process_is_tried_beside_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_plan, "TRIAL_SECONDS", 0.4)
    store = Slow({"x": np.zeros((6400, 4))}, None)
    found = decided(0.03, 0.03, store=store, epochs=50, device="mps")  # where steps leave the processor free
    rows = {r["value"]: r["milliseconds"] for r in found.decisions[0]["candidates"]}
    assert set(rows) == {"fetch a batch", "step", 0, 1}
    assert found.data.workers == 1 and rows[1] < rows[0]
    assert "times as fast" in why(found, "data.workers")


def test_a_process_that_gains_nothing_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_plan, "_try", lambda measured, workers: 0.1)
    found = decided(0.3, 0.3, epochs=50)
    assert found.data.workers == 0
    assert "1.00 times as fast, which does not pay" in why(found, "data.workers")


def test_batches_made_ahead_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decided(0.3, 0.3).data.prefetch == 2
    assert decided(0.3, 0.3, prefetch=5).data.prefetch == 5

    class Memory:
        available = 30_000

    monkeypatch.setattr(input_plan.psutil, "virtual_memory", Memory)
    assert decided(0.3, 0.3).data.prefetch == 1


def test_nothing_is_pinned_where_nothing_is_copied_to_a_gpu() -> None:
    assert decided(0.1, 0.1).data.pin is False
    assert decided(0.1, 0.1, pin=True).data.pin is True


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_pinning_is_measured_on_a_gpu() -> None:
    found = decided(0.1, 0.1, device="cuda")
    assert len(next(d for d in found.decisions if d["what"] == "data.pin")["candidates"]) == 2
