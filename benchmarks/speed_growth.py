"""What more work costs us, ourselves alone: see speed.py."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from figures import Figure, in_turns, median, run

ROWS = {"x1": 5_000, "x10": 50_000, "x100": 500_000}
WIDTHS = {"x1": 256, "x10": 810}
"""Of the three hidden layers of a perceptron: 0.14 and 1.4 million parameters."""
ROUNDS = 2
SLACK, NOISE = 1.1, 0.02
"""What counts as linear, and the share of a figure that is no difference: no two seconds of a machine are the same."""


def growth_time(folder: Path, env: Path) -> list[Figure]:
    """Rows x 1, x 10, x 100, and parameters x 10: wall and CPU seconds of the whole fit, and peak memory.

    What a start costs is the same for all, and would flatter the ratio; so the cost of ten times the rows is read off
    the differences: (x100 - x10) / (x10 - x1), which is 10 for what is linear. Wall seconds are told beside it: what
    runs on all cores is a smaller share of small tables.
    """
    tables = {name: table(folder / "rows" / f"{name}.csv", rows) for name, rows in ROWS.items()}
    found = in_turns({name: lambda name=name: fit(tables[name], folder / "run") for name in ROWS}, ROUNDS)  # type: ignore[misc]
    figures = []
    for what, unit in (("wall", "s"), ("cpu", "s"), ("memory", "MiB")):
        small, middle, large = (median(found[name], what) for name in ROWS)
        ratio = (large - middle) / max(middle - small, NOISE * small)
        told = f"{small:.1f}, {middle:.1f}, {large:.1f} {unit}: ten times the rows cost {ratio:.1f} times as much"
        words = f"{what} of fit, {', '.join(f'{n:,}' for n in ROWS.values())} rows, one epoch"
        floor = "" if what == "wall" else f"<= {10 * SLACK:.0f}"
        figures.append(Figure("growth_time", words, told, floor, "ourselves", not floor or ratio <= 10 * SLACK))
    return [*figures, *parameters(tables["x10"], folder / "run")]


def parameters(data: Path, out: Path) -> list[Figure]:
    """Seconds an epoch and memory of a net ten times as large, on the same rows."""
    programs = {
        name: lambda width=width: fit(data, out, f"model.args.width={width}")  # type: ignore[misc]
        for name, width in WIDTHS.items()
    }
    found = in_turns(programs, ROUNDS)
    figures = []
    for what, unit in (("epoch", "s an epoch"), ("memory", "MiB")):
        small, large = (median(found[name], what) for name in WIDTHS)
        told = f"{small:.1f}, {large:.1f} {unit}: {large / small:.1f} times as much"
        words = f"{what}, parameters x 10, {ROWS['x10']:,} rows"
        figures.append(Figure("growth_time", words, told, "<= 10", "ourselves", large <= 10 * small))
    return figures


def fit(data: Path, out: Path, *settings: str) -> dict[str, Any]:
    """`torchkiln fit` on a table, one epoch, on one thread; with the seconds of the epoch."""
    command = [sys.executable, "-m", "torchkiln", "fit", data, "--out", out, "--overwrite", "--target", "y"]
    command += ["model.name=mlp", "train.epochs=1", "train.batch_size=256", "train.threads=1", "train.precision=32"]
    found = run([*command, *settings])
    with (out / "timings.csv").open() as timings:
        return {**found, "epoch": float(next(csv.DictReader(timings))["seconds"])}


def table(file: Path, rows: int) -> Path:
    """Ten columns of numbers, two of names, and a class that depends on some of them."""
    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, 10))
    names = random.integers(0, 20, (rows, 2))
    score = numbers[:, 0] + numbers[:, 1] * numbers[:, 2] + 0.1 * names[:, 0] + random.normal(size=rows)
    columns = {f"x{i}": numbers[:, i].round(4) for i in range(10)} | {f"c{i}": names[:, i] for i in range(2)}
    frame = pl.DataFrame({**columns, "y": np.where(score > 1, "yes", "no")})
    file.parent.mkdir(exist_ok=True)
    frame.with_columns(pl.col("c0", "c1").replace_strict(dict(enumerate("abcdefghijklmnopqrst")))).write_csv(file)
    return file
