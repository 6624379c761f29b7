"""Lightning runs the loop; each of its defaults that is wrong for us has a test that fails without our answer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import torchkiln
from torchkiln import Run
from torchkiln.runs import checkpoints
from torchkiln.training import settings, state_files
from torchkiln.training.fit import load_best
from torchkiln.training.spared import DRIVER_SEARCH

Fit = Callable[..., Run]


def best_weights(run: Run) -> dict[str, torch.Tensor]:
    folder = checkpoints.newest(run.path / "checkpoints", "best")
    assert folder is not None
    return state_files.load_tensors(folder / "weights.safetensors")


def test_a_short_last_window_is_a_step_of_the_mean_over_its_samples(fit: Fit, datasets: Any) -> None:
    """Lightning's issue 19987: with accumulation 4 over 6 batches it scales the last window by half."""
    big = fit("big", model=linear(), train__batch_size=32, **plain_sgd())
    small = fit("small", model=linear(), train__batch_size=8, train__accumulate=4, **plain_sgd())
    for name, weight in best_weights(big).items():
        torch.testing.assert_close(best_weights(small)[name], weight)


def test_a_persons_sampler_is_kept_and_the_run_says_so(fit: Fit, datasets: Any) -> None:
    drawn: list[int] = []

    class Recording(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            drawn.append(index)
            return super().__getitem__(index)

    train = Recording(*datasets[0].tensors)
    weights = [1.0 if i < 5 else 0.0 for i in range(45)]
    sampler = WeightedRandomSampler(weights, 45)
    loader = DataLoader(train, batch_size=8, sampler=sampler)
    run = fit(model=Module(), data=(loader, datasets[1], datasets[2]))
    assert set(drawn) == {0, 1, 2, 3, 4}
    assert any(e.get("code") == "own_order" and "WeightedRandomSampler" in e["text"] for e in run.directory.events())


def test_the_best_weights_are_tested_and_not_the_last(fit: Fit, datasets: Any) -> None:
    net = linear()
    run = fit(model=net, data=misleading(datasets), train__epochs=5, train__monitor="loss", **plain_sgd())
    rows = run.directory.rows("metrics")
    best = min(rows, key=lambda r: float(r["val_loss"]))
    assert run.scores["best_epoch"] == int(best["epoch"]) != int(rows[-1]["epoch"])
    again = linear()
    load_best(again, run.directory)
    x, y = datasets[2].tensors
    accuracy = (again(x).argmax(1) == y).float().mean().item()
    assert run.scores["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)


def test_the_epochs_mean_loss_weighs_samples_and_not_batches(fit: Fit, datasets: Any) -> None:
    """A rate next to nothing leaves the net as it is, so the mean over the samples can be told."""
    net = linear()
    before = nn.CrossEntropyLoss()(net(datasets[0].tensors[0]), datasets[0].tensors[1]).item()
    val = nn.CrossEntropyLoss()(net(datasets[1].tensors[0]), datasets[1].tensors[1]).item()
    run = fit(model=net, train__epochs=1, **{**plain_sgd(), "optimizer__lr": 1e-12})
    row = run.directory.rows("metrics")[0]
    assert float(row["train_loss"]) == pytest.approx(before, rel=1e-5)
    assert float(row["val_loss"]) == pytest.approx(val, rel=1e-5)


def test_plateau_is_stepped_on_the_validation_metric(fit: Fit, datasets: Any) -> None:
    run = fit(model=linear(), data=misleading(datasets), train__epochs=6, train__monitor="loss",
              **{**plain_sgd(), "scheduler__name": "plateau"}, scheduler__patience=0, scheduler__gamma=0.5)  # fmt: skip
    rows = run.directory.rows("metrics")
    rate, best = 0.1, float("inf")
    for row, following in pairwise(rows):
        loss = float(row["val_loss"])
        if loss < best * (1 - 1e-4):
            best = loss
        else:
            rate *= 0.5
        assert float(following["lr"]) == pytest.approx(rate)
    assert rate < 0.1


def test_cosine_is_stepped_each_step_and_ends_at_its_floor(fit: Fit) -> None:
    run = fit(model=linear(), train__epochs=4, scheduler__final=0.1,
              **{**plain_sgd(), "scheduler__name": "cosine"})  # fmt: skip
    rates = [float(r["lr"]) for r in run.directory.rows("steps")]
    assert rates == sorted(rates, reverse=True) and len(set(rates)) == len(rates) == 24
    assert rates[-1] == pytest.approx(0.1 * rates[0], rel=0.1)


def test_early_stopping_ends_the_run_and_keeps_the_best(fit: Fit, datasets: Any) -> None:
    run = fit(model=linear(), data=misleading(datasets), train__epochs=50, train__monitor="loss",
              train__early_stopping={"patience": 2}, **plain_sgd())  # fmt: skip
    rows = run.directory.rows("metrics")
    assert len(rows) < 50
    losses = [float(r["val_loss"]) for r in rows]
    assert losses.index(min(losses)) == len(rows) - 3
    assert any("early stopping" in e["text"] for e in run.directory.events())


def test_a_time_budget_ends_the_run_with_a_tested_model(fit: Fit) -> None:
    run = fit(model=linear(), train__epochs=100_000, train__max_time="0.5s", **plain_sgd())
    assert len(run.directory.rows("metrics")) < 100_000
    assert "accuracy" in run.scores["metrics"]
    assert any("time budget" in e["text"] for e in run.directory.events())


def test_without_any_validation_the_last_weights_are_tested_and_it_is_said(fit: Fit) -> None:
    run = fit(model=linear(), train__epochs=1, train__validate_every=2, **plain_sgd())
    assert run.scores["weights"] == "last"
    assert run.scores["metrics"]["accuracy"]["value"] > 0
    assert any("the last weights are tested" in e["text"] for e in run.directory.events())


def test_steps_end_the_run_inside_an_epoch(fit: Fit) -> None:
    run = fit(model=linear(), train__epochs=50, train__steps=8, **plain_sgd())
    assert run.directory.rows("metrics")[-1]["step"] == "8"


class Module(L.LightningModule):
    """A person's own LightningModule."""

    def __init__(self) -> None:
        super().__init__()
        self.net = linear()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_lightning_module_is_trained_and_tested_by_its_own_steps(fit: Fit, datasets: Any) -> None:
    module = Module()
    run = fit(model=module)
    load_best(module, run.directory)
    x, y = datasets[2].tensors
    accuracy = (module.net(x).argmax(1) == y).float().mean().item()
    assert run.scores["metrics"]["test_accuracy"]["value"] == pytest.approx(accuracy)
    assert float(run.directory.rows("metrics")[-1]["train_loss"]) < float(
        run.directory.rows("metrics")[0]["train_loss"]
    )


def misleading(datasets: Any) -> Any:
    """The same with validation labels turned round, so that the validation loss climbs from the first epoch."""
    train, val, test = datasets
    return train, TensorDataset(val.tensors[0], 1 - val.tensors[1]), test


def linear() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(4, 2)


def plain_sgd() -> dict[str, Any]:
    return {"optimizer__name": "sgd", "optimizer__momentum": 0.0, "optimizer__lr": 0.1, "optimizer__weight_decay": 0.0,
            "scheduler__name": "constant"}  # fmt: skip


def test_a_micro_batch_changes_the_memory_and_not_the_mathematics(fit: Fit) -> None:
    whole = fit("whole", model=linear(), train__batch_size=32, **plain_sgd())
    parts = fit("parts", model=linear(), train__batch_size=32, train__micro_batch=10, **plain_sgd())
    for name, weight in best_weights(whole).items():
        torch.testing.assert_close(best_weights(parts)[name], weight)
    (decided,) = [json.loads(line) for line in (parts.path / "decisions.jsonl").read_text().splitlines()]
    assert (decided["kind"], decided["step"], decided["value"]) == ("parts", 0, 4)
    assert not (whole.path / "decisions.jsonl").exists()
    assert parts.directory.rows("metrics")[-1]["step"] == whole.directory.rows("metrics")[-1]["step"]


def test_a_batch_that_does_not_fit_begins_in_parts(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a faked limit that holds the weights, their gradients and states, and ten samples or so."""
    from torchkiln.training import memory

    real = memory.fitting
    monkeypatch.setattr(
        memory, "fitting", lambda need, batch, free: real(need, batch, round((need.step(10) + 1) / memory.HEADROOM))
    )
    run = fit("parts", model=linear(), train__batch_size=32)
    assert run.directory.read_json("plan.json")["estimates"]["steps"] == 8
    assert "train.micro_batch" in {d["what"] for d in run.directory.read_json("plan.json")["decisions"]}
    (decided,) = [json.loads(line) for line in (run.path / "decisions.jsonl").read_text().splitlines()]
    assert decided["value"] == 4
    assert "micro_batch: 8" in (run.path / "recipe.yaml").read_text()
    again = fit("again", model=linear(), train__batch_size=32, train__micro_batch=8)
    for name, weight in best_weights(run).items():
        assert torch.equal(best_weights(again)[name], weight)


def test_a_resumed_run_keeps_the_whole_plan(fit: Fit, monkeypatch: pytest.MonkeyPatch, datasets: Any) -> None:
    said = {"train__attention": "math", "train__allocator": "keep", "train__precision": "bf16",
            "optimizer__implementation": "foreach", "train__micro_batch": 4, "train__threads": 2}  # fmt: skip
    run = fit("run", model=linear(), train__checkpoint_every=2, **said)
    for name in ("stages.json", "best.json"):
        (run.path / name).unlink()
    for name in ("step", "best"):
        newest = checkpoints.newest(run.path / "checkpoints", name)
        assert newest is not None
        shutil.rmtree(newest)
    seen: list[Any] = []
    real = settings.applied
    monkeypatch.setattr(settings, "applied", lambda setting: (seen.append(setting), real(setting))[1])
    torchkiln.fit(model=linear(), loss="cross_entropy", data=datasets, resume=run.path)
    (found,) = seen
    assert (found.attention, found.allocator, found.precision) == ("math", "keep", "bf16")
    assert (found.implementation, found.threads) == ("foreach", 2)
    assert len((run.path / "decisions.jsonl").read_text().splitlines()) == 1


def test_the_drivers_library_is_not_searched_at_the_steps_of_a_fit(
    fit: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str | None] = set()

    class Looks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.add(os.environ.get(DRIVER_SEARCH))
            return super().forward(x)

    monkeypatch.setenv(DRIVER_SEARCH, "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fit(model=Looks(4, 2), train__device="cpu", train__plan_seconds=0, train__epochs=1)
    assert seen == {None}
