"""Each setting that a recipe offers trains: one more row, the same test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import torchkiln

SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"optimizer": "adam"},
    "sgd": {"optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.8}},
    "muon": {"optimizer": {"name": "muon", "lr": 0.05}},
    "an optimizer by class path": {"optimizer": {"class_path": "torch.optim.NAdam", "lr": 0.01}},
    "groups": {"optimizer": {"lr": 0.01, "groups": [{"match": "*.bias", "lr": 0.1}]}},
    "cosine": {"scheduler": {"name": "cosine", "warmup": 0.1, "final": 0.01}},
    "linear": {"scheduler": "linear"},
    "one_cycle": {"scheduler": "one_cycle"},
    "step": {"scheduler": {"name": "step", "every": 1, "gamma": 0.5}},
    "plateau": {"scheduler": {"name": "plateau", "patience": 0}},
    "constant": {"scheduler": "constant"},
    "a scheduler by class path": {
        "scheduler": {"class_path": "torch.optim.lr_scheduler.ExponentialLR", "init_args": {"gamma": 0.9}}
    },
    "smoothing and balanced classes": {"loss": {"label_smoothing": 0.1, "class_weights": "balanced"}},
    "bce_with_logits": {"loss": "bce_with_logits"},
    "nll": {"loss": "nll"},
    "a loss by class path": {"loss": {"class_path": "torch.nn.MultiMarginLoss"}},
    "clip by norm": {"train": {"clip": {"norm": 0.5}}},
    "clip by value": {"train": {"clip": {"value": 0.1}}},
    "accumulation": {"train": {"accumulate": 3}},
    "an average of the weights": {"train": {"ema": 0.9}},
    "bf16": {"train": {"precision": "bf16"}},
    "compiled": {"train": {"compile": True, "epochs": 3}},
    "attention by plain products": {"model": {"name": "ft_transformer"}, "train": {"attention": "math"}},
    "attention by flash": {"model": {"name": "ft_transformer"}, "train": {"attention": "flash"}},
    "cudnn may time its kernels": {"train": {"cudnn_benchmark": True}},
    "freed memory kept": {"train": {"allocator": "keep"}},
    "a batch in parts": {"train": {"micro_batch": 10}},
    "nothing measured": {"train": {"plan_seconds": 0}},
    "the optimizer's step for all parameters at once": {"optimizer": {"name": "adamw", "implementation": "foreach"}},
    "the optimizer's step one by one": {"optimizer": {"name": "sgd", "lr": 0.1, "implementation": "loop"}},
    "fp16": {"train": {"precision": "16", "clip": {"norm": 1.0}}},
    "deterministic": {"train": {"deterministic": True}},
    "steps": {"train": {"steps": 7}},
    "validation every second epoch": {"train": {"validate_every": 2}},
    "validation twice an epoch": {"train": {"validate_every": 0.5}},
    "validation within the first epoch": {"train": {"early_looks": True, "batch_size": 1, "epochs": 2}},
    "validation by batches": {"train": {"validate_batches": 4}},
    "short epochs": {"train": {"limit_batches": 4}},
    "stochastic weight averaging": {"train": {"swa": 0.5}},
    "kept checkpoints": {"train": {"keep_every": 6, "checkpoint_every": 3}},
    "batches that are not finite left out": {"train": {"not_finite": "skip"}},
    "not guarded": {"train": {"guard": False}},
    "elastic": {"train": {"exact": "elastic", "shards": 2}},
    "unreadable samples left out": {
        "data": {"store": "stream", "workers": 1, "unreadable": "skip", "worker_timeout": 60}
    },
    "another monitor": {"train": {"monitor": "auroc", "early_stopping": {"patience": 1}}},
    "initialisation": {"model": {"name": "mlp", "init": "orthogonal"}},
    "gradient checkpointing": {"model": {"name": "ft_transformer", "checkpoint_gradients": True}},
    "features in each step": {"model": {"name": "mlp", "cache_features": False}},
    "split at random": {"data": {"split": {"by": "random"}}},
    "split by group": {"data": {"split": {"by": "group", "column": "group"}}},
    "split by time": {"data": {"split": {"by": "time", "column": "when"}}},
    "streamed by a worker": {"data": {"store": "stream", "workers": 1, "prefetch": 1, "pin": False}},
    "on the device": {"data": {"store": "device"}},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=240), rng.normal(size=240)
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 12, 31), "1d", eager=True)[:240]
    frame = pl.DataFrame({"x": x, "z": z, "group": rng.integers(0, 30, 240), "when": days})
    path = tmp_path_factory.mktemp("table") / "t.csv"
    frame.with_columns(y=pl.Series(np.where(x + 0.3 * z > 0, "up", "down"))).write_csv(path)
    return path


SLOW = ("compiled", "streamed by a worker", "unreadable samples left out")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SETTINGS])
def test_the_setting_trains_and_is_kept_in_the_runs_recipe(name: str, table: Path, tmp_path: Path) -> None:
    given = SETTINGS[name]
    quick = {"epochs": 6, "batch_size": 32, "threads": 1, "precision": "32", "channels_last": False}
    recipe = {
        "task": "table_classification",
        "model": {"name": "mlp"},
        **given,
        "data": {"path": str(table), "target": "y", "workers": 0, **given.get("data", {})},
        "train": {**quick, **given.get("train", {})},
    }
    run = torchkiln.fit(recipe, out=tmp_path / "run")
    rows = run.directory.rows("metrics")
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"]) or len(rows) < 3
    assert run.scores["metrics"]["auroc"]["value"] > 0.6
    again = torchkiln.fit(run.path / "recipe.yaml", {"train.epochs": 1}, out=tmp_path / "again")
    assert again.scores["n"] == run.scores["n"]
