"""Two processes train as one does on the same batches, and count each validation sample once."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

pytestmark = pytest.mark.slow


def table(n: int, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=n)
    return pl.DataFrame({"x": x, "z": z, "y": np.where(x + 0.5 * rng.normal(size=n) > 0, "up", "down")})


def fit(data: Path, out: Path, devices: int, batch_size: int) -> list[dict[str, str]]:
    settings = [
        "data.target=y", "model=mlp", "train.epochs=3", f"train.devices={devices}", f"train.batch_size={batch_size}",
        "train.precision=32", "train.threads=1", "train.ema=null", "model.args.dropout=0.0", "data.workers=0",
    ]  # fmt: skip
    command = [sys.executable, "-m", "torchkiln", "fit", str(data), *settings, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=out.parent)
    assert done.returncode == 0, done.stderr
    with (out / "metrics.csv").open(newline="") as rows:
        return list(csv.DictReader(rows))


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """Five validation rows on two processes: padded to six, as is usual, one would count twice."""
    data = tmp_path / "data"
    data.mkdir()
    for split, n in (("train", 101), ("val", 5), ("test", 40)):
        table(n, n).write_csv(data / f"{split}.csv")
    alone = fit(data, tmp_path / "alone", devices=1, batch_size=16)
    shared = fit(data, tmp_path / "shared", devices=2, batch_size=8)
    assert len(alone) == len(shared) == 3
    for one, two in zip(alone, shared, strict=True):
        assert one["step"] == two["step"]
        for name in ("train_loss", "val_loss", "val_accuracy"):
            assert float(two[name]) == pytest.approx(float(one[name]), rel=1e-4), name
