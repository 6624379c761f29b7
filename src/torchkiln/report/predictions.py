"""Sections about single predictions: confusion or residuals, calibration, the worst mistakes and slices."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from torchkiln.report import plots, words
from torchkiln.report.material import Json, Material
from torchkiln.report.svg import Array
from torchkiln.report.verdict import primary
from torchkiln.report.words import finite

MOST_CLASSES = 30
"""Classes that a heat map can show; above, the most confused pairs alone."""
MOST_PAIRS, MOST_MISTAKES, MOST_SLICES, MOST_COLUMNS = 12, 24, 30, 16
_IMAGE = re.compile(r"data:image/(jpeg|png|webp|gif);base64,[A-Za-z0-9+/=]+")


def confusion(material: Material) -> Json | None:
    """Heat map, most confused pairs and a row for each class; None for numbers or where nothing is known."""
    test = material.test or {}
    classes = [str(c) for c in test.get("classes") or []]
    matrix = _matrix(material, classes)
    if matrix is None:
        return None
    true = matrix.sum(axis=1)
    return {
        "classes": classes,
        "heat": _heat(matrix, classes) if len(classes) <= MOST_CLASSES else None,
        "shares": len(classes) <= 12,
        "wrong": int(matrix.sum() - np.trace(matrix)),
        "n": int(matrix.sum()),
        "pairs": _pairs(matrix, classes),
        "per_class": _per_class(matrix, classes, true),
    }


def _matrix(material: Material, classes: list[str]) -> Array | None:
    """Counts [true, predicted], from test.json or counted from the predictions."""
    given = (material.test or {}).get("confusion")
    if given is not None:
        try:
            matrix = np.array(given, dtype=np.int64)
        except (ValueError, TypeError):
            return None
        return matrix if matrix.shape == (len(classes), len(classes)) else None
    frame = material.predictions
    if not classes or frame is None or not {"target", "prediction"} <= set(frame.columns):
        return None
    index = {name: i for i, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for target, prediction in frame.select("target", "prediction").iter_rows():
        if str(target) in index and str(prediction) in index:
            matrix[index[str(target)], index[str(prediction)]] += 1
    return matrix


def _heat(matrix: Array, classes: list[str]) -> list[Json]:
    """Rows of cells, shaded by the share in the row; mistakes by its root, so that rare ones show."""
    rows = []
    for i, name in enumerate(classes):
        total = int(matrix[i].sum())
        cells = []
        for j, number in enumerate(matrix[i].tolist()):
            part = number / total if total else 0.0
            cells.append(
                {
                    "n": number,
                    "share": words.share(part),
                    "hit": i == j,
                    "shade": math.ceil(9 * (part if i == j else math.sqrt(part))) if number else 0,
                }
            )
        rows.append({"name": name, "n": total, "cells": cells})
    return rows


def _pairs(matrix: Array, classes: list[str]) -> list[Json]:
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    found = []
    for i, j in zip(*np.unravel_index(order, wrong.shape), strict=True):
        if wrong[i, j]:
            found.append(
                {
                    "true": classes[i],
                    "predicted": classes[j],
                    "n": int(wrong[i, j]),
                    "share": words.share(wrong[i, j] / matrix[i].sum()),
                }
            )
    return found


def _per_class(matrix: Array, classes: list[str], true: Array) -> list[Json]:
    """Precision, recall and F1 of each class, the lowest recall first."""
    hits, predicted = np.diag(matrix), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):
        recall, precision, f1 = hits / true, hits / predicted, 2 * hits / (true + predicted)
    order = np.argsort(np.where(true > 0, recall, 2.0), kind="stable")
    return [
        {
            "name": classes[i],
            "n": int(true[i]),
            "predicted": int(predicted[i]),
            "recall": float(recall[i]),
            "precision": float(precision[i]),
            "f1": float(f1[i]),
        }
        for i in order
    ]


def residuals(material: Material) -> Json | None:
    """Predicted against true, the errors' histogram and their size; None for classes."""
    test = material.test or {}
    pairs = _number_pairs(material) if test.get("prediction_kind") != "classes" else None
    if pairs is None:
        return None
    sound = pairs[np.isfinite(pairs).all(axis=1)]
    if not len(sound):
        return None
    target, prediction = sound.T
    name, errors = words.cut(str(test.get("target") or "target"), 24), prediction - target
    return {
        "plots": [
            plots.agreement("agreement", target, prediction, name),
            plots.histogram("errors", errors, "Histogram of the errors", "prediction minus truth"),
        ],
        "lost": len(pairs) - len(sound),
        "rows": _error_sizes(errors),
    }


def _number_pairs(material: Material) -> Array | None:
    """Truth and prediction of each test sample, float64 [n, 2]; those kept in test.json without the table."""
    frame = material.predictions
    if frame is None or not {"target", "prediction"} <= set(frame.columns):
        points = ((material.test or {}).get("residuals") or {}).get("points")
        return np.array(points, dtype=np.float64).reshape(-1, 2) if points else None
    if not (frame["target"].dtype.is_numeric() and frame["prediction"].dtype.is_numeric()):
        return None
    columns = [frame[c].cast(float).fill_null(np.nan).to_numpy() for c in ("target", "prediction")]
    return np.stack(columns, axis=1)


def _error_sizes(errors: Array) -> list[tuple[str, str]]:
    size = np.abs(errors)
    return [
        ("Half of the errors are below", words.figure(float(np.quantile(size, 0.5)))),
        ("Nine in ten are below", words.figure(float(np.quantile(size, 0.9)))),
        ("The largest is", words.figure(float(size.max()))),
        ("On average a prediction is off by (bias)", words.figure(float(errors.mean()))),
        ("Predictions that are too high", words.share(float((errors > 0).mean()))),
    ]


def calibration(material: Material) -> Json | None:
    """Reliability diagram and what it says in words; None for numbers or where nothing is known."""
    given = (material.test or {}).get("calibration")
    if not isinstance(given, dict):
        return None
    bins = [
        b for b in given.get("bins") or [] if None not in (finite(b.get(k)) for k in ("n", "confidence", "accuracy"))
    ]
    bins = [b for b in bins if b["n"] > 0]
    if not bins:
        return None
    confidence, accuracy, n = (np.array([float(b[k]) for b in bins]) for k in ("confidence", "accuracy", "n"))
    sure, right = float(np.average(confidence, weights=n)), float(np.average(accuracy, weights=n))
    return {
        "plot": plots.reliability("reliability", confidence, accuracy, *_spread(material, confidence, n)),
        "ece": finite(given.get("ece")),
        "sure": sure,
        "right": right,
        "bins": bins,
        "text": _trust(sure, right),
    }


def _spread(material: Material, confidence: Array, n: Array) -> tuple[Array, Array]:
    """Where the confidences lie: middles and counts of equal steps, or the bins where no file says it."""
    frame = material.predictions
    if frame is None or "confidence" not in frame.columns or not frame["confidence"].dtype.is_numeric():
        return confidence, n
    values = frame["confidence"].cast(float).drop_nulls().drop_nans().to_numpy()
    number, edges = np.histogram(np.clip(values, 0, 1), bins=20, range=(0, 1))
    return (edges[:-1] + edges[1:]) / 2, number


def _trust(sure: float, right: float) -> str:
    said = f"On average it is {words.share(sure)} sure and {words.share(right)} right"
    if abs(sure - right) < 0.01:
        return f"{said}: its confidence can be taken as it stands."
    word = "too sure of itself" if sure > right else "too modest"
    return f"{said}: it is {word}, by {100 * abs(sure - right):.1f} percentage points."


def mistakes(material: Material) -> Json | None:
    """The worst mistakes with what the net was given; None where there is no list."""
    if not material.mistakes:
        return None
    cards = [_card(one) for one in material.mistakes[:MOST_MISTAKES]]
    columns = list(dict.fromkeys(name for c in cards for name in c["row"]))
    return {
        "cards": cards,
        "images": any(c["image"] for c in cards),
        "columns": columns[:MOST_COLUMNS],
        "left_out": max(len(columns) - MOST_COLUMNS, 0),
        "sure": any(c["sure"] for c in cards),
    }


def _card(one: Json) -> Json:
    image, row = one.get("image"), one.get("row")
    row = row if isinstance(row, dict) else {}
    numeric = finite(one.get("target")) is not None and finite(one.get("prediction")) is not None
    return {
        "key": str(one.get("key", "")),
        "target": _value(one.get("target")),
        "prediction": _value(one.get("prediction")),
        "sure": words.share(one["confidence"]) if finite(one.get("confidence")) is not None else None,
        "error": words.signed(one["prediction"] - one["target"]) if numeric and "confidence" not in one else None,
        "image": image if isinstance(image, str) and _IMAGE.fullmatch(image) else None,
        "text": words.cut(str(one["text"]), 1500) if one.get("text") is not None else None,
        "row": {str(k): _value(v) for k, v in row.items()},
    }


def _value(value: Any) -> str:
    """A value of a row as a person reads it."""
    if value is None:
        return "missing"
    if isinstance(value, float) and math.isfinite(value):
        return words.plain(value)
    return words.cut(str(value), 200)


def slices(material: Material) -> Json | None:
    """The worst slices with their intervals beside the whole; None where none were made."""
    test = material.test or {}
    rows = [s for s in test.get("slices") or [] if finite(s.get("score")) is not None][:MOST_SLICES]
    if not rows:
        return None
    name = str(rows[0].get("metric") or primary(test))
    overall = finite(((test.get("metrics") or {}).get(name) or {}).get("value"))
    ends = [v for s in rows for v in map(finite, (s["score"], s.get("low"), s.get("high"))) if v is not None]
    ends += [] if overall is None else [overall]
    span = (min(ends), max(ends))
    return {
        "metric": words.measure(name),
        "overall": words.score(overall),
        "rows": [
            {
                **s,
                "value": _value(s.get("value")),
                "score": words.score(s["score"], s.get("low"), s.get("high")),
                "interval": words.interval(s["score"], s.get("low"), s.get("high")),
                "raw": s["score"],
                "plot": _slice_plot(s, span, overall),
            }
            for s in rows
        ],
    }


def _slice_plot(one: Json, span: tuple[float, float], overall: float | None) -> Any:
    value, low, high = (finite(one.get(k)) for k in ("score", "low", "high"))
    assert value is not None
    return plots.whisker(value, value if low is None else low, value if high is None else high, span, overall)
