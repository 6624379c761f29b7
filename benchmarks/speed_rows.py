"""What more rows cost on the way from the data to the first batches: seconds and memory for 1, 10, 100 times as many.

    python benchmarks/speed_rows.py KIND PLACE

Run as a program it prepares one source and takes batches from it.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import speed_images
import speed_tables
from figures import Figure, run

TABLE, PICTURES, TIMES = 10_000, 300, (1, 10, 100)
"""Rows of the smallest table, pictures of the smallest folder, and how many times as many."""
ALLOWED = 1.2
"""Times as much for a row as with a tenth of the rows, from which it is no longer linear."""
BATCHES = 8


def growth_memory(folder: Path, env: Path) -> list[Figure]:
    """The row: a table held in memory, and pictures that are streamed, where memory must not follow the rows."""
    tables, streams = {}, {}
    for times in TIMES:
        tables[times] = _once("table", speed_tables.make(folder / f"growth-{times}.csv", TABLE * times))
        streams[times] = _once("pictures", _listed(folder, PICTURES * times))
    figures = []
    for what, rows, found in (("table from CSV", TABLE, tables), ("pictures, streamed", PICTURES, streams)):
        seconds = {t: f["seconds"] for t, f in found.items()}
        figures.append(_linear(f"{what}, seconds to the first batches", rows, seconds, "s"))
    figures.append(_linear("table from CSV, peak memory above an empty program", TABLE,
                           {t: f["memory"] for t, f in tables.items()}, "MiB"))  # fmt: skip
    memory = {t: f["memory"] for t, f in streams.items()}
    grown, decoded = memory[100] - memory[1], 99 * PICTURES * speed_images.SIDE**2 * 3 / 2**20
    figures.append(Figure(
        "growth_memory", f"pictures, streamed, {PICTURES:,} to {100 * PICTURES:,}: peak memory",
        f"{memory[1]:,.0f} to {memory[100]:,.0f} MiB", "<= 0.1x of the pictures decoded",
        f"decoded they would be {decoded:,.0f} MiB more", grown <= 0.1 * decoded,
    ))  # fmt: skip
    return figures


def _linear(what: str, rows: int, found: Mapping[int, float], unit: str) -> Figure:
    """Whether the last step of ten costs no more for a row than the one before; the first has all that is fixed."""
    shown = ", ".join(f"{rows * t:,} rows {v:,.2f} {unit}" for t, v in found.items())
    steps = (found[10] - found[1]) / 9, (found[100] - found[10]) / 90
    ratio = steps[1] / max(steps[0], 1e-9)
    return Figure("growth_memory", what, shown, f"<= {ALLOWED:g}x for a row", f"{ratio:.2f}x", ratio <= ALLOWED)


def _once(kind: str, place: Path) -> dict[str, Any]:
    return run([sys.executable, Path(__file__), kind, place], threads=1)


def _listed(folder: Path, count: int) -> Path:
    """A table that lists so many pictures; beyond the first of them the same files again."""
    import polars as pl

    pictures = folder / "growth-pictures"
    if not pictures.exists():
        speed_images.make(pictures, PICTURES)
    files = sorted(p.relative_to(folder).as_posix() for p in pictures.rglob("*.jpg"))
    listed = pl.DataFrame({"image": [files[i % len(files)] for i in range(count)]})
    listed = listed.with_columns(pl.col("image").str.extract("(class.)").alias("label"))
    listed.write_csv(folder / f"growth-{count}-pictures.csv")
    return folder / f"growth-{count}-pictures.csv"


def main(kind: str, place: Path) -> None:
    """Print the seconds from the data to the first batches, and how far memory peaked above that of the imports."""
    from torchkiln.data.loader import loader
    from torchkiln.data.order import TrainOrder
    from torchkiln.recipe.schema import Recipe
    from torchkiln.registry import load_task
    from torchkiln.training.prepare import prepare

    if kind == "table":
        recipe = Recipe(task="table_classification", data={"path": str(place), "target": "label"})
    else:
        data = {"path": str(place), "store": "stream", "image_size": speed_images.SIDE, "unlabelled": "drop"}
        recipe = Recipe(task="image_classification", data=data, model={"name": "small_conv"})
    load_task(recipe.task)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    prepared = prepare(recipe)
    order = TrainOrder(len(prepared.stores["train"]), 32, seed=0)
    for _, _batch in zip(range(BATCHES), loader(prepared.stores["train"], order), strict=False):
        pass
    seconds = time.perf_counter() - begun
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": seconds, "memory": memory}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
