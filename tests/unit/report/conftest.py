"""Synthetic run directories, written as the program writes them: three kinds, one cut short, one hostile."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from PIL import Image

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def environment() -> dict[str, Any]:
    return {
        "device": {"type": "cpu", "name": "AMD EPYC 7B13", "count": 1},
        "precision": {"mode": "bf16", "kept_fp32": ["layer_norm", "softmax", "cross_entropy"]},
        "versions": {"python": "3.11.7", "torch": "2.14.1", "cuda": None, "torchkiln": "0.1.0"},
        "packages": {f"package-{i}": f"{i}.0.{i}" for i in range(40)},
        "platform": "Linux-6.1 x86_64",
        "git": {"commit": "0123456789abcdef", "dirty": True},
        "data_digest": "9f" * 32,
        "threads": 2,
        "total_seconds": 503.2,
        "train_seconds": 471.0,
        "samples_per_second": 1432.5,
        "peak_memory_mb": 1830.0,
        "parameters": 272474,
        "trainable": 272474,
    }


def plan() -> dict[str, Any]:
    times = [
        {"value": "32", "milliseconds": 41.2, "note": ""},
        {"value": "bf16", "milliseconds": 29.8, "note": ""},
        {"value": "16", "milliseconds": None, "note": "the CPU has no fast half precision"},
    ]
    return {
        "seconds": 6.2,
        "decisions": [
            {
                "what": "precision",
                "chosen": "bf16",
                "why": "Fastest whose loss stays within 0.5 %.",
                "candidates": times,
            },
            {
                "what": "store",
                "chosen": "memory",
                "why": "69 MB decoded fit into 12 GB that are free.",
                "candidates": [],
            },
        ],
    }


def write_tables(
    run: Path, epochs: int, metrics: dict[str, Callable[[float], float]], lose: tuple[int, ...] = ()
) -> None:
    """The four CSV files of a cosine run; the losses of the epochs in `lose` are NaN."""
    per, rows, timed, steps = 10, [], [], []
    total = epochs * per

    def rate(s: int) -> float:
        return 0.003 * min(1.0, (s + 1) / (0.05 * total + 1)) * 0.5 * (1 + math.cos(math.pi * s / total))

    for e in range(epochs):
        part = (e + 1) / epochs
        train = math.nan if e in lose else 2.2 * math.exp(-3 * part) + 0.05 * math.sin(e)
        val = math.nan if e in lose else 2.1 * math.exp(-2.4 * part) + 0.25 * part**2 + 0.03 * math.cos(e)
        values = {f"val_{k}": f(part) + 0.004 * math.sin(3 * e) for k, f in metrics.items()}
        rows.append(
            {
                "epoch": e,
                "step": (e + 1) * per,
                "train_loss": train,
                "val_loss": val,
                **values,
                "lr": rate((e + 1) * per - 1),
            }
        )
        timed.append({"epoch": e, "seconds": 15.2, "samples_per_second": 1480.0 + e % 7, "memory_mb": 1800.0})
        steps += [
            {
                "step": s,
                "epoch": e,
                "train_loss": train,
                "lr": rate(s),
                "grad_norm": 0.5 + 3 * math.exp(-s / total),
            }
            for s in range(e * per + 5, (e + 1) * per + 1, 5)
        ]
    planned = [{"step": int(s), "lr": rate(int(s))} for s in np.linspace(0, total - 1, min(total, 400))]
    for name, table in (("metrics", rows), ("timings", timed), ("steps", steps), ("schedule", planned)):
        lines = [",".join(table[0]), *(",".join(_cell(v) for v in row.values()) for row in table)]
        (run / f"{name}.csv").write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    return "" if value is None else repr(value)


def write_json(run: Path, name: str, data: Any) -> None:
    (run / name).write_text(json.dumps(data))


def begin(run: Path, recipe: dict[str, Any], events: list[dict[str, Any]]) -> None:
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    (run / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    write_json(run, "environment.json", environment())
    write_json(run, "plan.json", plan())
    write_json(run, "stages.json", {"fit": True, "test": True, "report": True})


def finding(level: str, text: str, samples: list[str] | None = None) -> dict[str, Any]:
    return {
        "step": None,
        "epoch": None,
        "kind": "finding",
        "level": level,
        "text": text,
        "samples": samples or [],
    }


def splits(run: Path, sizes: dict[str, int], targets: list[str] | None = None) -> None:
    names = [s for s, n in sizes.items() for _ in range(n)]
    frame = pl.DataFrame({"key": [f"row-{i}" for i in range(len(names))], "split": names})
    if targets:
        frame = frame.with_columns(
            pl.Series("target", [targets[int((i * 0.6180339) % 1 * len(targets))] for i in range(len(names))])
        )
    frame.write_parquet(run / "splits.parquet")


def thumbnail(seed: int) -> str:
    """A small photo-like JPEG as a data URL."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize(
        (128, 128), Image.Resampling.BICUBIC
    )
    out = io.BytesIO()
    coarse.save(out, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def measured(value: float, half: float, higher: bool = True) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, "higher_is_better": higher}


def classes_test(run: Path, classes: list[str], n: int, right: float, **more: Any) -> dict[str, Any]:
    """test.json, predictions.parquet and codec.json of a classifier that is right in so many cases."""
    rng, c = np.random.default_rng(0), len(classes)
    target = rng.integers(0, c, n)
    near = (target + rng.choice([1, 2, c - 1], n, p=[0.6, 0.25, 0.15])) % c
    said = np.where(rng.random(n) < right, target, near)
    sure = np.clip(rng.beta(8, 2, n), 1 / c, 1)
    matrix = np.zeros((c, c), int)
    np.add.at(matrix, (target, said), 1)
    pl.DataFrame(
        {
            "key": [f"test/{i:05d}.jpg" for i in range(n)],
            "target": [classes[i] for i in target],
            "prediction": [classes[i] for i in said],
            "confidence": sure,
        }
    ).write_parquet(run / "predictions.parquet")
    bins = [
        {
            "confidence": (b + 0.5) / 10,
            "accuracy": max(0.0, (b + 0.5) / 10 - 0.06 * b / 10),
            "n": (b + 1) ** 3,
        }
        for b in range(3, 10)
    ]
    write_json(run, "codec.json", {"inputs": {}, "target": {"kind": "labels", "column": "label", "classes": classes}})
    score = float((target == said).mean())
    test = {
        "split": "test",
        "n": n,
        "task": "image_classification",
        "prediction_kind": "classes",
        "classes": classes,
        "target": "label",
        "primary": "accuracy",
        "weights": "best",
        "best_epoch": 24,
        "metrics": {
            "accuracy": measured(score, 0.007),
            "balanced_accuracy": measured(score - 0.002, 0.007),
            "macro_f1": measured(score - 0.003, 0.008),
            "auroc": measured(0.985, 0.002),
            "log_loss": measured(0.44, 0.02, False),
        },
        "baselines": [
            {
                "name": "majority class",
                "seconds": 0.01,
                "metrics": {"accuracy": measured(1 / c, 0.006), "log_loss": measured(2.303, 0.001, False)},
                "difference": {
                    "metric": "accuracy",
                    "value": score - 1 / c,
                    "low": score - 1 / c - 0.01,
                    "high": score - 1 / c + 0.01,
                },
            }
        ],
        "verdict": {
            "text": f"Accuracy is {score:.4g} (95 % interval {score - 0.007:.4g} to {score + 0.007:.4g}) "
            f"on {n:,} test rows. That beats the majority class at {1 / c:.4g}.",
            "beats_trivial": True,
            "beats_classical": None,
        },
        "confusion": matrix.tolist(),
        "calibration": {"bins": bins, "ece": 0.031},
        "residuals": None,
        "slices": [],
        "notes": [],
    }
    return test | more


def make_images(run: Path, epochs: int = 30) -> Path:
    """Ten classes of pictures, a good net, warnings about the data."""
    recipe = {
        "task": "image_classification",
        "seed": 0,
        "data": {"path": "data/cifar10", "image_size": 32},
        "model": {"name": "resnet9", "args": {"width": 64}},
        "train": {"epochs": epochs, "monitor": "accuracy", "batch_size": 128},
    }
    begin(
        run,
        recipe,
        [
            finding(
                "warn",
                "14 images lie in train and test with the very same bytes; the test score may be too high.",
                ["train/cat/1.png", "test/cat/7.png"],
            ),
            finding("note", "212 images are greyscale; they are read as RGB."),
            {
                "step": 100,
                "epoch": 1,
                "kind": "warning",
                "level": "warn",
                "text": "The gradient norm was clipped in 41 % of the steps.",
            },
            {"step": 230, "epoch": 12, "kind": "resume", "level": "note", "text": "Resumed at step 230."},
        ],
    )
    write_tables(
        run,
        epochs,
        {
            "accuracy": lambda p: 0.87 - 0.7 * math.exp(-5 * p),
            "macro_f1": lambda p: 0.86 - 0.7 * math.exp(-5 * p),
        },
    )
    splits(run, {"train": 22500, "val": 2500, "test": 10000}, CLASSES)
    write_json(run, "test.json", classes_test(run, CLASSES, 10000, 0.87, best_epoch=min(24, epochs)))
    write_json(
        run,
        "mistakes.json",
        [
            {
                "key": f"test/{i:05d}.png",
                "target": CLASSES[i % 10],
                "prediction": CLASSES[(i + 1) % 10],
                "confidence": 0.999 - 0.004 * i,
                "loss": 7.0 - 0.1 * i,
                "image": thumbnail(i),
            }
            for i in range(24)
        ],
    )
    return run


def make_table(run: Path) -> Path:
    """A regression that a boosted forest beats: the page must say so first."""
    recipe = {
        "task": "table_regression",
        "data": {"path": "data/california_housing/housing.csv", "target": "median_house_value"},
        "model": {"name": "tabm"},
        "train": {"epochs": 60, "batch_size": 256},
    }
    begin(
        run,
        recipe,
        [
            finding("note", "207 of 20,640 rows have no total_bedrooms; an indicator column says which."),
            finding("warn", "median_house_value is 500,001 in 965 rows: it seems to be capped there."),
        ],
    )
    write_tables(
        run,
        60,
        {
            "rmse": lambda p: 46000 + 60000 * math.exp(-6 * p),
            "mae": lambda p: 29000 + 40000 * math.exp(-6 * p),
            "r2": lambda p: 0.84 - 0.6 * math.exp(-6 * p),
        },
    )
    splits(run, {"train": 12384, "val": 4128, "test": 4128})
    rng = np.random.default_rng(1)
    target = np.clip(rng.lognormal(12.1, 0.5, 4128), 15000, 500001)
    said = target + rng.normal(0, 47000, 4128) * (0.5 + target / 4e5)
    pl.DataFrame(
        {"key": [f"housing.csv:{i}" for i in range(4128)], "target": target, "prediction": said}
    ).write_parquet(run / "predictions.parquet")
    gap = {"metric": "rmse", "value": 1890.0, "low": 890.0, "high": 2910.0}
    write_json(
        run,
        "test.json",
        {
            "split": "test",
            "n": 4128,
            "task": "table_regression",
            "prediction_kind": "number",
            "classes": None,
            "target": "median_house_value",
            "primary": "rmse",
            "weights": "best",
            "best_epoch": 41,
            "metrics": {
                "rmse": measured(48076, 1500, False),
                "mae": measured(31000, 700, False),
                "r2": measured(0.826, 0.011),
            },
            "baselines": [
                {
                    "name": "mean",
                    "seconds": 0.0,
                    "metrics": {"rmse": measured(115300, 2000, False)},
                    "difference": {"metric": "rmse", "value": -67224.0, "low": -69000.0, "high": -65500.0},
                },
                {
                    "name": "HistGradientBoosting",
                    "seconds": 2.9,
                    "metrics": {
                        "rmse": measured(46186, 1450, False),
                        "mae": measured(30100, 690, False),
                        "r2": measured(0.84, 0.01),
                    },
                    "difference": gap,
                },
            ],
            "verdict": {
                "text": "RMSE is 48,076 (95 % interval 46,576 to 49,576) on 4,128 test rows. That beats the "
                "mean at 115,300. HistGradientBoosting does better at 46,186, by 1,890 (95 % interval of the "
                "difference 890 to 2,910): prefer it as it stands.",
                "beats_trivial": True,
                "beats_classical": False,
            },
            "confusion": None,
            "calibration": None,
            "residuals": {"bias": 12.0},
            "slices": [
                {"column": c, "value": v, "n": n, "score": s, "low": s - d, "high": s + d}
                for c, v, n, s, d in [
                    ("ocean_proximity", "ISLAND", 2, 91000.0, 60000.0),
                    ("ocean_proximity", "NEAR BAY", 455, 58000.0, 5200.0),
                    ("median_income", "6.2 to 15.0", 413, 61000.0, 5100.0),
                    ("housing_median_age", "50 to 52", 280, 57300.0, 7000.0),
                ]
            ],
            "notes": ["The target's interval was made with 2,000 resamples of the test rows."],
        },
    )
    write_json(
        run,
        "mistakes.json",
        [
            {
                "key": f"housing.csv:{i}",
                "target": 500001.0,
                "prediction": 112345.678 + i,
                "error": -387655.3,
                "loss": 9.0,
                "row": {
                    "longitude": -122.23,
                    "latitude": 37.88,
                    "total_rooms": 880,
                    "total_bedrooms": None,
                    "ocean_proximity": "NEAR BAY",
                },
            }
            for i in range(24)
        ],
    )
    return run


def make_text(run: Path) -> Path:
    """77 intents of short texts, as good as a linear model: too many for a matrix, no clear winner."""
    classes = [f"intent_{i:02d}_{'card' if i % 2 else 'transfer'}" for i in range(77)]
    recipe = {
        "task": "text_classification",
        "data": {"path": "data/banking77", "text": "text", "target": "category"},
        "model": {"name": "embedding_bag"},
        "train": {"epochs": 12},
    }
    begin(run, recipe, [finding("note", "the longest text has 92 tokens; none is cut.")])
    write_tables(run, 12, {"accuracy": lambda p: 0.9 - 0.8 * math.exp(-6 * p)})
    splits(run, {"train": 9002, "val": 1001, "test": 3080}, classes)
    test = classes_test(run, classes, 3080, 0.91, task="text_classification", best_epoch=11)
    test["baselines"].append(
        {
            "name": "TF-IDF and logistic regression",
            "seconds": 3.1,
            "metrics": {"accuracy": measured(0.903, 0.01)},
            "difference": {"metric": "accuracy", "value": 0.004, "low": -0.006, "high": 0.013},
        }
    )
    test["verdict"] = {
        "text": "Accuracy is 0.9071 (95 % interval 0.8969 to 0.9174) on 3,080 test rows. That beats the "
        "majority class at 0.013. TF-IDF and logistic regression has 0.903; these rows do not tell which is "
        "better (95 % interval of the difference -0.006 to 0.013).",
        "beats_trivial": True,
        "beats_classical": None,
    }
    write_json(run, "test.json", test)
    words = ["why was my card charged twice when I only paid once at the till"]
    write_json(
        run,
        "mistakes.json",
        [
            {
                "key": f"test.csv:{i}",
                "target": classes[i],
                "prediction": classes[i + 1],
                "confidence": 0.97,
                "loss": 5.0,
                "text": " ".join(words * (1 + i % 9)) + ("\n\nשלם" if i == 3 else ""),
            }
            for i in range(24)
        ],
    )
    return run


def make_interrupted(run: Path) -> Path:
    """Stopped in the fifth epoch of thirty: no test.json, no predictions, stages.json not written."""
    make_images(run, 30)
    for name in ("test.json", "predictions.parquet", "mistakes.json", "stages.json"):
        (run / name).unlink()
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[:5]))
    return run


def make_hostile(run: Path) -> Path:
    """Markup in every string that a person's data can bring in."""
    classes = [HOSTILE, f"{HOSTILE} & <b>two</b>", "x" * 300]
    begin(
        run,
        {"task": "text_classification", "data": {"path": HOSTILE}, "model": {"name": HOSTILE}},
        [
            finding("warn", HOSTILE, [HOSTILE]),
            {"step": 1, "epoch": 0, "kind": HOSTILE, "level": HOSTILE, "text": HOSTILE},
        ],
    )
    write_tables(run, 3, {f"{HOSTILE.replace(',', '')}": lambda p: p})
    splits(run, {"train": 10, "val": 3, HOSTILE: 3}, classes)
    test = classes_test(run, classes, 60, 0.5, target=HOSTILE, notes=[HOSTILE], best_epoch=2)
    test["verdict"]["text"] = f"Labels such as {HOSTILE} are only words."
    test["baselines"][0]["name"] = HOSTILE
    test["slices"] = [{"column": HOSTILE, "value": HOSTILE, "n": 5, "score": 0.2, "low": 0.0, "high": 0.5}]
    write_json(run, "test.json", test)
    write_json(
        run,
        "plan.json",
        {
            "decisions": [
                {
                    "what": HOSTILE,
                    "chosen": HOSTILE,
                    "why": HOSTILE,
                    "candidates": [{"value": HOSTILE, "milliseconds": 1.0, "note": HOSTILE}],
                }
            ],
            "seconds": 1.0,
        },
    )
    write_json(run, "environment.json", environment() | {"platform": HOSTILE, "packages": {HOSTILE: HOSTILE}})
    write_json(
        run,
        "mistakes.json",
        [
            {
                "key": HOSTILE,
                "target": HOSTILE,
                "prediction": HOSTILE,
                "confidence": 0.9,
                "text": HOSTILE,
                "loss": 1.0,
            },
            {
                "key": "k",
                "target": "a",
                "prediction": "b",
                "confidence": 0.9,
                "image": f'data:image/svg+xml,"{HOSTILE}',
                "loss": 1.0,
            },
            {
                "key": "k",
                "target": "a",
                "prediction": "b",
                "confidence": 0.9,
                "row": {HOSTILE: HOSTILE},
                "loss": 1.0,
            },
        ],
    )
    return run


MAKERS: dict[str, Callable[[Path], Path]] = {
    "images": make_images,
    "table": make_table,
    "text": make_text,
    "interrupted": make_interrupted,
    "hostile": make_hostile,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A run directory of a kind, made once a session; to be read, not written into but for report.html."""
    known: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in known:
            known[kind] = MAKERS[kind](tmp_path_factory.mktemp("runs") / kind)
        return known[kind]

    return get


@pytest.fixture(scope="session")
def builders() -> ModuleType:
    """The makers of this file, for tests that want a run of their own."""
    return sys.modules[__name__]
