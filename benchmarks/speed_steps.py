"""Rows on the time of a training step: our `fit` beside a plain loop of PyTorch, and beside other systems.

The programs stand in speed_peers.py. In `mlp`, `resnet` and `transformer` all run with one thread, in FP32; in the
`_planned` rows ours runs as its plan decides, and the others as they do when nothing is said.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from figures import HERE, Figure, in_turns, median, peers_python, run

PACKAGES = ("accelerate==1.15.0", "transformers>=5.0", "fastai==2.8.12", "keras==3.15.1")
NAMES = {"raw": "raw loop", "bare": "Lightning bare, batches by index", "lightning": "Lightning",
         "hugging_face": "HF Trainer", "fastai": "fastai", "keras": "Keras (torch)"}  # fmt: skip


def mlp(folder: Path, env: Path) -> list[Figure]:
    python = peers_python(env, "steps", PACKAGES)
    others = ("bare", "lightning", "hugging_face", "fastai", "keras")
    runs = _runs(folder, "mlp", ("raw", "as_raw", *others), rounds=3, python=python)
    found = [_against(runs, "mlp", "as_raw", "raw", most=1.7), _against(runs, "mlp", "as_raw", "bare")]
    return found + [_against(runs, "mlp", "as_raw", other, most=0.5) for other in others[1:]]


def resnet(folder: Path, env: Path) -> list[Figure]:
    return [_against(_runs(folder, "resnet", ("raw", "as_raw"), rounds=3), "resnet", "as_raw", "raw", most=1.03)]


def transformer(folder: Path, env: Path) -> list[Figure]:
    runs = _runs(folder, "transformer", ("raw", "as_raw"), rounds=3)
    return [_against(runs, "transformer", "as_raw", "raw", most=1.03)]


def resnet_planned(folder: Path, env: Path) -> list[Figure]:
    return _planned(folder, env, "resnet", least=2.0)


def transformer_planned(folder: Path, env: Path) -> list[Figure]:
    return _planned(folder, env, "transformer", least=1.3)


def _planned(folder: Path, env: Path, case: str, least: float) -> list[Figure]:
    others = ("raw", "lightning", "hugging_face")
    python = peers_python(env, "steps", PACKAGES)
    runs = _runs(folder, case, ("planned", *others), rounds=3, python=python, threads=None)
    row = f"{case}_planned"
    found = [_against(runs, row, "planned", other, most=1 / least if other == "raw" else 1.0) for other in others]
    ahead = f"{median(runs['planned'], 'ahead_s'):.0f} s"
    return [*found, Figure(row, "reading, planning and compiling before the first step", ahead, "", "")]


def _runs(
    folder: Path, case: str, systems: Sequence[str], *, rounds: int, python: Path | str = sys.executable,
    threads: int | None = 1,
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    return in_turns({s: partial(_once, python, s, case, folder, threads) for s in systems}, rounds)


def _once(python: Path | str, system: str, case: str, folder: Path, threads: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        return run([python, HERE / "speed_peers.py", system, case, place], threads=threads)


def _against(
    runs: dict[str, list[dict[str, Any]]], row: str, ours: str, other: str, most: float | None = None
) -> Figure:
    """Our step beside another's, as the medians of their runs."""
    wall, cpu = ([median(runs[s], name) for s in (ours, other)] for name in ("ms", "cpu_ms"))
    ratio = wall[0] / wall[1]
    words = f"{ratio:.2f} times (cpu {cpu[0] / cpu[1]:.2f}): {wall[0]:.3g} ms, cpu {cpu[0]:.3g} ms"
    beside = f"{NAMES[other]}: {wall[1]:.3g} ms, cpu {cpu[1]:.3g} ms"
    floor = "" if most is None else f"at most {most:.3g} times"
    return Figure(row, f"a step, beside {NAMES[other]}", words, floor, beside, most is None or ratio <= most)


def mlp_parts(folder: Path, env: Path) -> list[Figure]:
    """What a step of `mlp` is spared, each by what it costs when it is put back."""
    found = run([sys.executable, HERE / "speed_parts.py", folder], threads=1)
    raw, more = found["raw"], found["more"]
    steps = {"the raw loop": raw, "Lightning bare, batches by index": raw + more.pop("Lightning bare"),
             "ours": raw + more["nothing"]}  # fmt: skip
    beside = [Figure("mlp_parts", f"a step of {name}, cpu", f"{us:.0f} us", "", "") for name, us in steps.items()]
    ours = more.pop("nothing")
    parts = sorted(((us - ours, name) for name, us in more.items()), reverse=True)
    return beside + [Figure("mlp_parts", name, f"{us:.0f} us", "", "") for us, name in parts]
