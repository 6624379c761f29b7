"""Seconds from the start of a process to the first validation at or above a score, ours and others': see speed.py.

Needs the data sets in the folder that TORCHKILN_DATA names. All are given the same training and validation rows, and
two threads; a process is stopped as soon as its score is reached, and its wall and CPU seconds are those until then.
"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from figures import HERE, Figure, environment, in_turns, peers_python

PACKAGES = ("accelerate==1.15.0", "fastai==2.8.12", "pandas==3.1.1", "transformers>=5.0")
PEERS = {"lightning": "Lightning", "hugging_face": "HF Trainer", "fastai": "fastai"}


@dataclass(frozen=True)
class Race:
    """One row.

    Args:
        score: Validation accuracy to be reached.
        rounds: How often each system runs; one that is stopped without the score, once.
        limit: Seconds after which a system is stopped.
        epochs: Of the peers, whose rates follow a schedule over them.
        lay_out: Writes train, val and test into a folder, as all are given them.
    """

    score: float
    rounds: int
    limit: int
    epochs: int
    lay_out: Callable[[Path, Path], None]


def cifar10(folder: Path, env: Path) -> list[Figure]:
    return race("cifar10", folder, env)


def adult(folder: Path, env: Path) -> list[Figure]:
    return race("adult", folder, env)


def sst2(folder: Path, env: Path) -> list[Figure]:
    return race("sst2", folder, env)


def race(row: str, folder: Path, env: Path) -> list[Figure]:
    """Run all systems in turns, and compare ours with each."""
    if "TORCHKILN_DATA" not in os.environ:
        raise SystemExit(f"{row}: set TORCHKILN_DATA to the folder that holds the data sets")
    wanted, data = RACES[row], folder / row / "data"
    data.mkdir(parents=True)
    wanted.lay_out(Path(os.environ["TORCHKILN_DATA"]) / row, data)
    python = peers_python(env, "scores", PACKAGES)
    programs = {"ours": lambda: ours(data, wanted)}
    for name in PEERS:
        command = [python, HERE / "speed_scores_peers.py", name, row, data, wanted.epochs]
        programs[name] = unless_hopeless(lambda command=command: peer(command, data.parent, wanted), wanted)  # type: ignore[misc]
    found = in_turns(programs, wanted.rounds)
    what = f"seconds to a validation accuracy of {wanted.score}"
    mine = found.pop("ours")
    return [
        Figure(row, what, words(mine), "sooner", f"{PEERS[name]} {words(theirs)}", wall(mine) < wall(theirs))
        for name, theirs in found.items()
    ]


def unless_hopeless(program: Callable[[], dict[str, Any]], wanted: Race) -> Callable[[], dict[str, Any]]:
    """The program, or what it gave before where it was stopped without the score: that takes long."""
    before: list[dict[str, Any]] = []

    def once_more() -> dict[str, Any]:
        if not before or before[-1]["reached"] or before[-1]["wall"] < wanted.limit:
            before.append(program())
        return before[-1]

    return once_more


def wall(runs: Sequence[dict[str, Any]]) -> float:
    """Median seconds to the score; a run that never reached it counts as for ever."""
    return statistics.median(r["wall"] if r["reached"] else float("inf") for r in runs)


def words(runs: Sequence[dict[str, Any]]) -> str:
    """`8.1 s (CPU 9.9)`; where most runs did not reach the score, their best ones."""
    if wall(runs) == float("inf"):
        scores, seconds = sorted(r["best"] for r in runs), max(r["wall"] for r in runs)
        return f"not within {seconds:.0f} s in most runs (best accuracies {', '.join(f'{s:.3f}' for s in scores)})"
    cpu = statistics.median(r["cpu"] for r in runs if r["reached"])
    return f"{wall(runs):.1f} s (CPU {cpu:.1f})"


def ours(data: Path, wanted: Race) -> dict[str, Any]:
    """`torchkiln fit DATA` with no setting changed, nothing decoded before and nothing pretrained."""
    work = data.parent / "ours"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    run = work / "run"
    command = [sys.executable, "-m", "torchkiln", "fit", data, "--out", run]

    def accuracies() -> list[float]:
        table = run / "metrics.csv"
        rows = list(csv.DictReader(table.open())) if table.exists() else []
        return [float(r["val_accuracy"]) for r in rows if r.get("val_accuracy")]

    return watched(command, work / "words", accuracies, wanted, TORCHKILN_CACHE=work / "cache")


def peer(command: Sequence[Any], folder: Path, wanted: Race) -> dict[str, Any]:
    """A script that prints `accuracy 0.8` after each validation."""
    said = folder / "said"

    def accuracies() -> list[float]:
        lines = said.read_text(errors="replace").replace("\r", "\n").splitlines(keepends=True)
        return [float(line.split()[1]) for line in lines if line.startswith("accuracy ") and line.endswith("\n")]

    return watched(command, said, accuracies, wanted)


def watched(
    command: Sequence[Any], said: Path, accuracies: Callable[[], list[float]], wanted: Race, **env: Any
) -> dict[str, Any]:
    """Run a program until one of its accuracies is enough, it ends, or its time is over.

    Args:
        command: Its words.
        said: The file its output goes to.
        accuracies: Those of its validations so far.
        wanted: What is enough, and how long it may take.
        env: As for `environment`.

    Returns:
        `reached`, `best` (accuracy), `wall` and `cpu` (seconds so far).

    Raises:
        SystemExit: It failed; its last words are in it.
    """
    begun = time.perf_counter()
    settings = environment(threads=os.cpu_count(), **env)
    with said.open("w") as out:
        process = subprocess.Popen([str(c) for c in command], env=settings, stdin=subprocess.DEVNULL, stdout=out,
                                   stderr=subprocess.STDOUT)  # fmt: skip
        status = 0
        while not status:
            time.sleep(0.02)
            found = accuracies()
            if max(found, default=0.0) >= wanted.score or time.perf_counter() - begun > wanted.limit:
                os.kill(process.pid, signal.SIGKILL)  # Popen.kill would ask for the exit code first, and take it
            pid, code, usage = os.wait4(process.pid, os.WNOHANG)
            status = pid
        seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(code)
    found = accuracies()
    if process.returncode not in (0, -9):
        raise SystemExit(f"{command} ended with {process.returncode}:\n{said.read_text()[-3000:]}")
    best = max(found, default=0.0)
    return {"reached": best >= wanted.score, "best": best, "validations": len(found), "wall": seconds,
            "cpu": usage.ru_utime + usage.ru_stime}  # fmt: skip


# How the rows are laid out


def pictures(source: Path, folder: Path) -> None:
    """cifar10: JPEG files in class folders; by its README every tenth training row is validation."""
    train = pl.read_parquet(source / "train.parquet").with_row_index()
    splits = {
        "train": train.filter(pl.col("index") % 10 != 0),
        "val": train.filter(pl.col("index") % 10 == 0),
        "test": pl.read_parquet(source / "test.parquet").with_row_index(),
    }
    for split, frame in splits.items():
        for index, image, label in frame.select("index", "image", "label").iter_rows():
            file = folder / split / label / f"{index:05}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)


def rows(source: Path, folder: Path) -> None:
    """adult: CSV files; by its README every tenth training row is validation."""
    train = pl.read_csv(source / "train.csv").with_row_index()
    train.filter(pl.col("index") % 10 != 0).drop("index").write_csv(folder / "train.csv")
    train.filter(pl.col("index") % 10 == 0).drop("index").write_csv(folder / "val.csv")
    shutil.copy(source / "test.csv", folder)


def texts(source: Path, folder: Path) -> None:
    """sst2: three files, as they are."""
    for file in source.glob("*.tsv"):
        shutil.copy(file, folder)


RACES = {
    "cifar10": Race(0.70, 1, 600, 20, pictures),
    "adult": Race(0.85, 3, 60, 5, rows),
    "sst2": Race(0.78, 3, 120, 10, texts),
}
