"""What guard costs a program that it watches from outside, in pairs: the same program alone and watched.

    python benchmarks/guard.py [ROW ...] [--check] [--json FILE]

Rows: `small` a net of two layers, the smallest step; `large` a model of about 50 ms a step; `start` seconds until the
first step of the small one; `fit` what `train.guard` adds to a fit of ours.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure, command_line, in_turns, median, run

WARM, ROUNDS = 40, 5
STEPS = {"small": 1500, "large": 40}


def loop(size: str) -> None:
    """The program: prints the median seconds of a step as JSON."""
    begun = time.perf_counter()
    import torch
    import torch.nn.functional as F
    from torch import nn

    torch.manual_seed(0)
    if size == "small":
        width, batch, layers = 16, 32, [nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)]
    else:
        width, batch = 256, 256
        layers = [
            m for _ in range(6) for m in (nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1))
        ]
        layers = [nn.Linear(width, 1200), nn.ReLU(), nn.Linear(1200, width), *layers, nn.Linear(width, 4)]
    model = nn.Sequential(*layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = torch.randn(batch * 8, width), torch.randint(4, (batch * 8,))
    seconds = []
    for step in range(WARM + STEPS[size]):
        at = slice(step % 8 * batch, (step % 8 + 1) * batch)
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(model(x[at]), y[at]).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
        if step == 0:
            first = time.perf_counter() - begun
    print(
        json.dumps({"step": statistics.median(seconds[WARM:]), "mean": statistics.mean(seconds[WARM:]), "first": first})
    )


def _pair(size: str) -> dict[str, Callable[[], dict[str, Any]]]:
    program = [sys.executable, __file__, "--loop", size]
    watched = [sys.executable, "-m", "torchkiln", "guard", "--", *program]
    return {"alone": lambda: run(program), "watched": lambda: run(watched)}


def _cost(size: str, most: float) -> list[Figure]:
    found = in_turns(_pair(size), ROUNDS)
    ratios = [w["mean"] / a["mean"] - 1 for a, w in zip(found["alone"], found["watched"], strict=True)]
    cost, alone = statistics.median(ratios), median(found["alone"], "mean")
    return [Figure(size, f"a step of {alone * 1e3:.2f} ms", f"{cost:+.1%}", f"at most +{most:.0%}",
                   f"pairs from {min(ratios):+.1%} to {max(ratios):+.1%}", cost <= most)]  # fmt: skip


def small(folder: Path, env: Path) -> list[Figure]:
    return _cost("small", 0.10)


def large(folder: Path, env: Path) -> list[Figure]:
    return _cost("large", 0.02)


def start(folder: Path, env: Path) -> list[Figure]:
    found = in_turns(_pair("small"), 3)
    alone, watched = median(found["alone"], "first"), median(found["watched"], "first")
    return [Figure("start", "until the first step is over", f"{watched:.2f} s", "", f"{alone:.2f} s alone")]


def fit(folder: Path, env: Path) -> list[Figure]:
    table = folder / "table.csv"
    rows = [f"{i % 7},{i * i % 11},{i % 3},{'yes' if i % 7 > 3 else 'no'}" for i in range(3000)]
    table.write_text("\n".join(["a,b,c,y", *rows]))
    words = ["data.target=y", "train.epochs=20", "train.plan_seconds=0", "train.threads=1", "model.name=mlp"]

    def once(guard: bool) -> dict[str, Any]:
        out = folder / f"run-{guard}"
        command = [sys.executable, "-m", "torchkiln", "fit", table, *words, f"train.guard={str(guard).lower()}"]
        taken = run([*command, "--out", out, "--overwrite"])
        return {**taken, "train": json.loads((out / "environment.json").read_text())["train_seconds"]}

    found = in_turns({"without": lambda: once(False), "with": lambda: once(True)}, 3)
    ours, beside = median(found["with"], "train"), median(found["without"], "train")
    return [
        Figure("fit", "training of a small table, preflight included", f"{ours:.2f} s", "", f"{beside:.2f} s without")
    ]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--loop"]:
        loop(sys.argv[2])
    else:
        sys.exit(command_line(__doc__ or "", {"small": small, "large": large, "start": start, "fit": fit}))
