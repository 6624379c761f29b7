"""Scores of torchkiln's defaults on real data, beside published and measured references.

    TORCHKILN_DATA=... python benchmarks/quality.py [ROW ...] [--check] [--json FILE] [--seed N]

Each row lays the data out as its README splits it, and runs what a person would: `torchkiln fit DATA`, with no
setting changed. Wall time is that of the whole process or of all folds, from the data to the report.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

Frames = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        metric: As in test.json.
        reference: Figures of others on this data, in words.
        floor, goal: Least score that passes, and what is aimed at; for rmse the most.
        minutes: The budget of wall time on two quiet cores.
        lay_out: Yields one folder of data a fold.
        scale: What the score is multiplied with to be comparable.
    """

    metric: str
    reference: str
    floor: float
    goal: float
    minutes: float
    lay_out: Callable[[Path, Path], Iterator[Path]]
    scale: float = 1.0


def main() -> int:
    """Run the rows that were asked for; 1 if `--check` finds one below its floor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--check", action="store_true", help="exit 1 and name the rows below their floor")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if "TORCHKILN_DATA" not in os.environ:
        parser.error("set TORCHKILN_DATA to the folder that holds the data sets")
    if args.work:
        return run_folds(args.rows[0], args.work, args.seed)
    unknown = [r for r in args.rows if r not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]}; known are {', '.join(ROWS)}")
    results = [measure(name, args.seed) for name in args.rows or ROWS]
    print_table(results)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "seed": args.seed, "rows": results}, indent=1))
    below = [r["row"] for r in results if not r["passed"]]
    if args.check and below:
        print("below their floor:", ", ".join(below), file=sys.stderr)
        return 1
    return 0


def measure(name: str, seed: int) -> dict[str, Any]:
    """Run one row in a process of its own, and clock it."""
    row = ROWS[name]
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        # as the command line sets it; and a cache of its own, so that decoding is always part of the time
        environment = {"GOMP_SPINCOUNT": "1000", **os.environ, "TORCHKILN_CACHE": f"{folder}/cache"}
        environment["TORCHKILN_OFFLINE"] = "1"  # nothing pretrained, whatever this machine can reach
        command = [sys.executable, __file__, name, "--work", folder, "--seed", str(seed)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name}: the run failed")
    found = json.loads(done.stdout.splitlines()[-1])
    score = float(np.mean([f["score"] for f in found])) * row.scale
    lower_is_better = row.metric == "rmse"
    within = score <= row.floor if lower_is_better else score >= row.floor
    baselines = {b: float(np.mean([f["baselines"][b] for f in found])) * row.scale for b in found[0]["baselines"]}
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    result = {"row": name, "metric": row.metric, "ours": score, "floor": row.floor, "goal": row.goal,
              "reference": row.reference, "baselines": baselines, "wall_seconds": wall, "cpu_seconds": cpu,
              "budget_seconds": 60 * row.minutes, "folds": len(found), "passed": bool(within)}  # fmt: skip
    print(f"{name}: {score:.4f}, {wall:.0f} s", file=sys.stderr)
    return result


def run_folds(name: str, work: Path, seed: int) -> int:
    """In the row's own process: fit each fold with the defaults, print what test.json says."""
    import torchkiln

    os.chdir(work)
    found = []
    row = ROWS[name]
    for i, data in enumerate(row.lay_out(Path(os.environ["TORCHKILN_DATA"]) / name, work / "data")):
        run = torchkiln.fit(data, {"seed": seed}, out=work / f"run-{i}")
        scores = run.scores
        baselines = {b["name"]: b["metrics"][row.metric]["value"] for b in scores["baselines"]}
        found.append({"score": scores["metrics"][row.metric]["value"], "baselines": baselines})
    print(json.dumps(found))
    return 0


def print_table(results: list[dict[str, Any]]) -> None:
    """The table in Markdown, as it stands in the docs."""
    print(f"\n{machine()}\n")
    print("| data | metric | ours | floor | goal | beside it, same rows | reference | wall s (budget) | CPU s | |")
    print("|---|---|--:|--:|--:|---|---|--:|--:|---|")
    for r in results:
        beside = ", ".join(f"{name} {value:.4f}" for name, value in r["baselines"].items())
        lower = r["metric"] == "rmse"
        met = "goal" if (r["ours"] <= r["goal"] if lower else r["ours"] >= r["goal"]) else "floor"
        late = ", over its time" if r["wall_seconds"] > r["budget_seconds"] else ""
        verdict = (met if r["passed"] else "BELOW") + late
        print(f"| {r['row']} | {r['metric']} | {r['ours']:.4f} | {r['floor']} | {r['goal']} | {beside} | "
              f"{r['reference']} | {r['wall_seconds']:.0f} ({r['budget_seconds']:.0f}) | {r['cpu_seconds']:.0f} | "
              f"{verdict} |")  # fmt: skip


def machine() -> str:
    """Date, versions and machine of the figures."""
    from importlib.metadata import version

    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "lightning", "scikit-learn", "numpy"))
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    hardware = f"{os.cpu_count()} cores {platform.machine()}{load}"
    return f"{time.strftime('%Y-%m-%d')}, {hardware}, Python {platform.python_version()}, {packages}"


# How each set's README splits it


def by_index(file: str, val: int, test: int | None, every: int, read: Callable[..., pl.DataFrame] = pl.read_csv) -> Any:
    """Rows by index modulo `every`: `val` is validation, `test` the test; None: the file test.* is."""

    def lay_out(source: Path, folder: Path) -> Iterator[Path]:
        frame = read(source / file)
        place = np.arange(len(frame)) % every
        taken = [val] if test is None else [val, test]
        frames = {"train": frame.filter(~np.isin(place, taken)), "val": frame.filter(place == val)}
        frames["test"] = read(source / file.replace("train", "test")) if test is None else frame.filter(place == test)
        yield write(frames, folder)

    return lay_out


def folds(file: str, target: str, count: int) -> Any:
    """Stratified folds, each the test once; validation is left to the defaults."""

    def lay_out(source: Path, folder: Path) -> Iterator[Path]:
        from sklearn.model_selection import StratifiedKFold

        frame = pl.read_csv(source / file)
        parts = StratifiedKFold(count, shuffle=True, random_state=0).split(frame, frame[target])
        for i, (train, test) in enumerate(parts):
            yield write({"train": frame[train], "test": frame[test]}, folder / str(i))

    return lay_out


def as_given(source: Path, folder: Path) -> Iterator[Path]:
    """sst2: three files, as they are."""
    folder.mkdir()
    for file in source.glob("*.tsv"):
        shutil.copy(file, folder)
    yield folder


def photos(source: Path, folder: Path) -> Iterator[Path]:
    """hymenoptera: val/ is the test; of each class of train/ every fifth photo by name is validation."""
    for split, root in (("train", source / "train"), ("test", source / "val")):
        for label in ("ants", "bees"):
            files = sorted(p for p in (root / label).iterdir() if p.suffix in (".jpg", ".jpeg"))
            for i, file in enumerate(files):
                place = folder / ("val" if split == "train" and i % 5 == 0 else split) / label
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place)
    yield folder


def write(frames: Frames, folder: Path) -> Path:
    """Write each split as a parquet file of its name."""
    folder.mkdir(parents=True)
    for split, frame in frames.items():
        frame.write_parquet(folder / f"{split}.parquet")
    return folder


ROWS = {
    "cifar10": Row("accuracy", "Keras small CNN 0.75-0.79 on 50,000", 0.85, 0.88, 10,
                   by_index("train.parquet", 0, None, 10, pl.read_parquet)),
    "hymenoptera": Row("accuracy", "majority 0.54; pretrained ResNet-18 0.948", 0.66, 0.75, 5, photos),
    "adult": Row("accuracy", "MLP 0.856, Ludwig 0.859, HGB 0.8705, LightGBM 0.8723", 0.867, 0.8725, 3,
                 by_index("train.csv", 0, None, 10)),
    "california_housing": Row("rmse", "Lightning MLP 0.521, fastai 0.516, HGB 0.465, LightGBM 0.440", 0.437, 0.425, 3,
                              by_index("housing.csv", 1, 0, 5), 1e-5),
    "titanic": Row("accuracy", "forest 0.814, HGB 0.824", 0.815, 0.83, 3, folds("titanic.csv", "Survived", 10)),
    "segment": Row("accuracy", "J48 0.96, MLP 0.965, HGB 0.978", 0.970, 0.980, 2, by_index("train.csv", 0, None, 5)),
    "penguins": Row("accuracy", "HGB 0.980", 0.980, 0.99, 1, folds("penguins.csv", "species", 5)),
    "sst2": Row("accuracy", "BERT 2x128 0.8045, Ludwig 0.779, TF-IDF + LR 0.8325", 0.81, 0.835, 3, as_given),
    "banking77": Row("accuracy", "BERT 2x128 0.816, TF-IDF + LR 0.893, BERT tuned 0.937", 0.912, 0.925, 3,
                     by_index("train.csv", 0, None, 10)),
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
