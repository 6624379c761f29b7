"""The test on held-out rows: read once, at the end, with the weights that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn

from torchkiln.codec.base import Codec, InputCodec, TargetCodec
from torchkiln.codec.target import Labels
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.data.store import Store
from torchkiln.errors import DataError, ModelError
from torchkiln.evaluation import anatomy, baselines, inference, mistakes, slices
from torchkiln.evaluation.baselines import Baseline
from torchkiln.evaluation.scores import Scores, score
from torchkiln.evaluation.verdict import Standing, verdict
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks._base import Array, Metric, Task

NET = "net"
_MANY_CLASSES = 30
"""Beyond this a matrix of counts cannot be read at a glance, and its worst pairs are put into words."""


@dataclass(frozen=True)
class HeldOut:
    """What the test found.

    Args:
        test: Content of test.json; what is undefined is None.
        predictions: Content of predictions.parquet: `key`, `target`, then what the codec decodes.
        mistakes: Content of mistakes.json, the worst first.
    """

    test: dict[str, Any]
    predictions: pl.DataFrame
    mistakes: list[dict[str, Any]]


@dataclass(frozen=True)
class _Rows:
    """The rows that are tested on, and what the net says of them."""

    task: Task
    inputs: InputCodec | None
    """None: the person's own data, of which only the target is known."""
    codec: TargetCodec
    frame: pl.DataFrame
    target: Array
    prediction: Array
    text: str | None
    """The column of texts, if that is what the data is."""
    seed: int

    @property
    def labels(self) -> list[str] | None:
        return self.codec.classes if isinstance(self.codec, Labels) else None

    @property
    def sound(self) -> npt.NDArray[np.bool_]:
        """Whether each prediction is finite, bool [n]."""
        return np.asarray(np.isfinite(self.prediction.reshape(len(self.prediction), -1)).all(axis=1))


def evaluate(
    *,
    task: Task,
    net: nn.Module,
    store: Store,
    frame: pl.DataFrame,
    target: Array | None,
    train_frame: pl.DataFrame,
    recipe: Recipe,
    seed: int,
    batch_size: int,
    device: torch.device | str,
    with_baselines: bool = True,
) -> HeldOut:
    """Scores with intervals, baselines beside them, and what the scores are made of; writes nothing.

    Args:
        store, frame, target: The test rows, encoded, raw and as encoded targets [n], in one order. Of
            datasets of the person's own the frame holds but `key`, and the task's codec no inputs.
        train_frame: Raw training rows with labels, for the baselines.
        recipe: Its `train.monitor` is the metric compared, unless it is a loss; else the task's first is.
        seed: The run's; the same one gives the same intervals.
        with_baselines: Whether simpler models are fitted to compare with.

    Raises:
        DataError: There are no rows, or no labels.
        ModelError: The net's predictions do not have the task's form.
    """
    known = _labelled(target, store, frame)
    prediction = inference.run(task, net, store, batch_size, device)
    inputs: InputCodec | None = task.codec.inputs
    text = inputs.column if isinstance(inputs, NgramCodec | TokenCodec) else None
    rows = _Rows(task, inputs, task.codec.target, frame, known, prediction, text, seed)
    _check_form(rows)
    beside, notes = _baselines(rows, train_frame) if with_baselines else ([], [])
    metrics = task.metrics()
    scores = score(metrics, known, {NET: prediction} | {b.name: b.prediction for b in beside}, seed)
    test = _test(rows, _primary_first(metrics, recipe), scores, beside)
    test["notes"] = [*_broken(rows), *scores.notes, *notes, *test["notes"]]
    worst = mistakes.worst(frame, known, prediction, inputs, rows.codec, text) if rows.sound.all() else []
    return HeldOut(test, _table(rows), worst)


def _labelled(target: Array | None, store: Store, frame: pl.DataFrame) -> Array:
    if len(store) == 0:
        raise DataError("the test split has no rows; give data.test or a data.split.test above 0")
    if target is None:
        raise DataError("the test rows have no labels, so there is nothing to measure; predict needs none")
    if not len(target) == len(store) == len(frame):
        raise DataError(f"{len(store)} encoded test rows, {len(frame)} raw ones and {len(target)} targets differ")
    if target.dtype.kind == "f" and not np.isfinite(target).all():
        raise DataError(f"{int((~np.isfinite(target)).sum())} of {len(target)} test rows have no label")
    return target


def _check_form(rows: _Rows) -> None:
    n, classes = len(rows.target), len(rows.labels or [])
    wanted = (n, classes) if rows.task.prediction_kind == "classes" else (n,)
    if rows.prediction.shape != wanted:
        found, needed = ("x".join(map(str, shape)) for shape in (rows.prediction.shape, wanted))
        raise ModelError(
            f"the net gave predictions of shape {found} for {n} rows; task {rows.task.name} needs {needed}"
        )


def _baselines(rows: _Rows, train_frame: pl.DataFrame) -> tuple[list[Baseline], list[str]]:
    target = rows.codec.encode(train_frame[rows.codec.column])
    classes = len(rows.labels) if rows.labels is not None else None
    found: list[Baseline] = [baselines.trivial(target, len(rows.target), classes)]
    if rows.inputs is None:
        return found, []
    codec = Codec(rows.inputs, rows.codec)
    try:
        better = baselines.classical(train_frame, target, rows.frame, codec, rows.text, rows.seed)
    except Exception as error:  # whatever a comparison dies of, the test of the net itself must not be lost
        return found, [f"The classical baseline could not be fitted: {type(error).__name__}: {error}"]
    return ([*found, better], better.notes) if better is not None else (found, [])


def _primary_first(metrics: list[Metric], recipe: Recipe) -> list[Metric]:
    """The metrics, first the one that said which epoch was best, unless that was a loss."""
    watched = (recipe.train.monitor or "").removeprefix("val_")
    return sorted(metrics, key=lambda m: m.name != watched or "loss" in m.name)


def _test(rows: _Rows, metrics: list[Metric], scores: Scores, beside: list[Baseline]) -> dict[str, Any]:
    """Content of test.json, but for the notes on the scores; the first of `metrics` is the primary one."""
    first, ours = metrics[0], scores.values[NET]
    standings = [
        Standing(b.name, scores.values[b.name][first.name], scores.difference(NET, b.name, first.name)) for b in beside
    ]
    return {
        "split": "test",
        "n": len(rows.target),
        "task": rows.task.name,
        "prediction_kind": rows.task.prediction_kind,
        "classes": rows.labels,
        "target": rows.codec.column,
        "primary": first.name,
        "metrics": {m.name: {**ours[m.name].as_json(), "higher_is_better": m.higher_is_better} for m in metrics},
        "baselines": [
            {
                "name": b.name,
                "metrics": {name: interval.as_json() for name, interval in scores.values[b.name].items()},
                "seconds": b.seconds,
                "difference": {"metric": first.name, **standing.difference.as_json()},
            }
            for b, standing in zip(beside, standings, strict=True)
        ],
        "verdict": verdict(first, len(rows.target), ours[first.name], standings),
        **_made_of(rows, first.name),
    }


def _made_of(rows: _Rows, primary: str) -> dict[str, Any]:
    """Confusion, calibration, residuals and slices; nothing of these where a prediction is not finite."""
    found: dict[str, Any] = dict.fromkeys(("confusion", "calibration", "residuals"))
    if not rows.sound.all():
        return found | {"slices": [], "notes": []}
    notes = []
    if rows.labels is None:
        found["residuals"] = anatomy.residuals(rows.target, rows.prediction, rows.seed)
    else:
        found["confusion"] = anatomy.confusion(rows.target, rows.prediction)
        found["calibration"] = anatomy.calibration(rows.target, rows.prediction)
        if len(rows.labels) > _MANY_CLASSES:
            notes.append(anatomy.most_confused(rows.target, rows.prediction, rows.labels))
    worst, note = slices.worst(rows.frame, rows.target, rows.prediction, rows.inputs, rows.codec, rows.text, primary)
    return found | {"slices": worst, "notes": [text for text in [*notes, note] if text]}


def _broken(rows: _Rows) -> list[str]:
    bad, n = int((~rows.sound).sum()), len(rows.sound)
    return [f"The net's predictions are no finite numbers for {bad:,} of {n:,} rows: no score."] if bad else []


def _table(rows: _Rows) -> pl.DataFrame:
    """Predictions in the person's words; null where the net's are not finite."""
    decoded, sound = rows.codec.decode(rows.prediction), pl.Series("sound", rows.sound)
    decoded = decoded.select(pl.when(sound).then(pl.col(name)).alias(name) for name in decoded.columns)
    target = rows.target if rows.labels is None else [rows.labels[i] for i in rows.target]
    return pl.concat([rows.frame.select("key"), pl.DataFrame({"target": target}), decoded], how="horizontal")
