"""Sections about the run itself: its curves and epochs, its data, its plan, its environment and events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from torchkiln.report import plots, words
from torchkiln.report.material import Json, Material
from torchkiln.report.planned import flat, sentences
from torchkiln.report.plots import Series
from torchkiln.report.svg import Array
from torchkiln.report.verdict import primary, split_sizes
from torchkiln.report.words import finite

MOST_EVENTS, MOST_LABELS, MOST_METRICS = 500, 30, 8
LEVELS = {"stop": "Stops the run", "warn": "May mislead", "note": "Good to know"}


def curves(material: Material) -> Json | None:
    """Loss, metrics and learning rate over the run; None where no epoch ended and no step was written."""
    best, said = _best_epoch(material)
    figures = [*_loss(material, best), *_metrics(material, best)]
    rate, deviation = _learning_rate(material)
    figures += rate
    if material.steps is not None and "grad_norm" in material.steps.columns:
        figures.append(_one(material.steps, "step", "grad_norm", "Gradient norm", log=True))
    found = [f for f in figures if f is not None]
    if not found:
        return None
    return {"figures": found, "best": said, "deviation": deviation, "lost": _not_finite(material)}


def _figure(name: str, title: str, lines: list[Series], x_label: str, **how: Any) -> Json | None:
    lines = [s for s in lines if s.y.size]
    if not lines:
        return None
    plot = plots.curves(name, title, lines, x_label=x_label, **how)
    legend = [(s.name, s.css) for s in lines] if len(lines) > 1 else []
    return {"title": title, "plot": plot, "legend": legend}


def series(frame: pl.DataFrame | None, x: str, y: str, name: str, css: str) -> Series:
    """A column over another; rows where either cell is empty are left out, NaN stays."""
    if frame is None or not {x, y} <= set(frame.columns):
        return Series(name, css, np.empty(0), np.empty(0))
    kept = frame.select(pl.col(x).alias("x"), pl.col(y).alias("y")).drop_nulls()
    kept = kept.filter(pl.col("x").is_finite())
    return Series(name, css, kept["x"].to_numpy(), kept["y"].to_numpy())


def _one(frame: pl.DataFrame, x: str, y: str, title: str, **how: Any) -> Json | None:
    return _figure(y.replace("_", "-"), title, [series(frame, x, y, title, "ours")], x, y_label=title.lower(), **how)


def _loss(material: Material, best: tuple[float, str] | None) -> list[Json | None]:
    train = series(material.metrics, "epoch", "train_loss", "training", "other")
    val = series(material.metrics, "epoch", "val_loss", "validation", "ours")
    both = np.concatenate([train.y, val.y])
    inside = both[np.isfinite(both) & (both > 0)]
    wide = bool(inside.size) and inside.max() > 30 * inside.min()
    return [_figure("loss", "Loss", [train, val], "epoch", y_label="loss", mark=best, log=wide)]


def _metrics(material: Material, best: tuple[float, str] | None) -> list[Json | None]:
    """One plot for each validation metric, with the training one beside it where it was kept."""
    frame = material.metrics
    if frame is None:
        return []
    first = f"val_{primary(material.test or {})}"
    found = [c for c in frame.columns if c.startswith("val_") and c != "val_loss"]
    names = sorted(found, key=lambda c: c != first)
    figures = []
    for place, column in enumerate(names[:MOST_METRICS]):
        bare, title = column.removeprefix("val_"), words.measure(column)
        lines = [
            series(frame, "epoch", f"train_{bare}", "training", "other"),
            series(frame, "epoch", column, "validation", "ours"),
        ]
        figures.append(_figure(f"metric-{place}", f"Validation {title}", lines, "epoch", y_label=title, mark=best))
    return figures


def _learning_rate(material: Material) -> tuple[list[Json | None], str]:
    """The rate as planned and as it went, and in words whether the two are one."""
    planned = series(material.schedule, "step", "lr", "as planned", "plan")
    went = _rates(material.steps) or _rates(material.metrics)
    if not went and not planned.y.size:
        return [], ""
    # Groups of parameters may have rates of their own; the plan is about those that have none.
    went.sort(key=lambda one: -_off(planned, one).max(initial=0.0))
    lines = [replace(one, name=f"as it went, {one.name}", css="other") for one in went[:-1]]
    lines += [replace(one, name="as it went", css="ours") for one in went[-1:]]
    figure = _figure("rate", "Learning rate", [planned, *lines], "step", y_label="learning rate", zero=True)
    return [figure], _deviation(planned, lines[-1]) if lines else ""


def _rates(frame: pl.DataFrame | None) -> list[Series]:
    """The rate of each group of parameters, each course once."""
    columns = [c for c in frame.columns if c == "lr" or c.startswith("lr_")] if frame is not None else []
    found: list[Series] = []
    for column in columns:
        one = series(frame, "step", column, f"group {column.removeprefix('lr').removeprefix('_') or 0}", "ours")
        if one.y.size and not any(np.array_equal(one.y, other.y, equal_nan=True) for other in found):
            found.append(one)
    return found


def _off(planned: Series, went: Series) -> Array:
    """How far each rate is from the planned ones around it, as a share of the highest planned."""
    if not planned.y.size or not went.y.size:
        return np.zeros(went.y.size)
    last = len(planned.x) - 1  # a step more or less is a matter of counting, not of the rate
    right = np.clip(np.searchsorted(planned.x, went.x + 1), 0, last)
    left = np.clip(np.searchsorted(planned.x, went.x - 1, side="right") - 1, 0, last)
    low = np.minimum(planned.y[left], planned.y[right])
    high = np.maximum(planned.y[left], planned.y[right])
    distance = np.maximum(np.maximum(low - went.y, went.y - high), 0) / (np.nanmax(planned.y) or 1.0)
    return np.asarray(np.nan_to_num(distance))


def _deviation(planned: Series, went: Series) -> str:
    """Whether the rate went as planned, give or take 3 % of the highest."""
    if not planned.y.size or not went.y.size:
        return ""
    off = _off(planned, went)
    if off.max() <= 0.03:
        return "The learning rate went as planned."
    at = int(off.argmax())
    was = words.figure(float(went.y[at]), 3)
    meant = words.figure(float(np.interp(went.x[at], planned.x, planned.y)), 3)
    return f"The learning rate left its plan: at step {went.x[at]:,.0f} it was {was}, not {meant}."


def _best_epoch(material: Material) -> tuple[tuple[float, str] | None, str]:
    """Where to mark the best epoch, and the words for it."""
    test = material.test or {}
    epoch = finite(test.get("best_epoch"))
    if epoch is not None:
        return (epoch, f"best: epoch {epoch:g}"), f"The best epoch was {epoch:g}{_from_zero(material)}."
    val = series(material.metrics, "epoch", "val_loss", "validation", "ours")
    inside = np.isfinite(val.y)
    if not inside.any():
        return None, ""
    at = float(val.x[inside][val.y[inside].argmin()])
    return (
        at,
        f"lowest loss: epoch {at:g}",
    ), f"The lowest validation loss was in epoch {at:g}{_from_zero(material)}."


def _from_zero(material: Material) -> str:
    """A word on how epochs are counted, where the first has the number 0."""
    frame = material.metrics
    counted = frame is not None and "epoch" in frame.columns and frame.height and frame["epoch"][0] == 0
    return " (counted from 0)" if counted else ""


def _not_finite(material: Material) -> str:
    """A sentence on the epochs whose losses broke down; empty where none did."""
    bad: dict[str, Array] = {}
    for column, name in (("train_loss", "training loss"), ("val_loss", "validation loss")):
        one = series(material.metrics, "epoch", column, name, "")
        if one.y.size and not np.isfinite(one.y).all():
            bad[name] = one.x[~np.isfinite(one.y)]
    told = [f"the {name} in {words.plural(len(x), 'epoch')} (first in epoch {x[0]:g})" for name, x in bad.items()]
    return f"Not finite: {' and '.join(told)}." if told else ""


def epochs(material: Material) -> Json | None:
    """The table of every epoch: metrics, rates, then seconds, throughput and memory."""
    frame = material.metrics
    if frame is None or "epoch" not in frame.columns or not frame.height:
        return None
    timings = material.timings
    if timings is not None and "epoch" in timings.columns:
        fresh = [c for c in timings.columns if c == "epoch" or c not in frame.columns]
        last = timings.select(fresh).unique("epoch", keep="last")
        frame = frame.join(last, on="epoch", how="left", maintain_order="left")
    best = finite((material.test or {}).get("best_epoch"))
    columns = frame.columns
    rows = [
        {
            "best": row[columns.index("epoch")] == best,
            "cells": [_epoch_cell(name, value) for name, value in zip(columns, row, strict=True)],
        }
        for row in frame.iter_rows()
    ]
    names = {"samples_per_second": "samples/s", "memory_mb": "memory, MB", "lr": "learning rate"}
    return {"columns": [names.get(c) or c.replace("_", " ") for c in columns], "rows": rows}


def _epoch_cell(name: str, value: float | None) -> str:
    if name in ("epoch", "step"):
        return words.count(value)
    return words.figure(value, 3 if name in ("seconds", "samples_per_second", "memory_mb") else 4)


def data(material: Material) -> Json:
    """Findings by level, split sizes, label counts."""
    levels = []
    for level, title in LEVELS.items():
        found = [f for f in material.findings if f.get("level", "note") == level]
        if found:
            levels.append({"level": level, "title": title, "items": [_finding(f) for f in found]})
    sizes = split_sizes(material)
    total = sum(n for _, n in sizes)
    splits = [
        {
            "name": s,
            "n": n,
            "bar": plots.bar(n / total, f"{words.share(n / total)} of the rows"),
            "share": words.share(n / total),
        }
        for s, n in sizes
        if total
    ]
    return {"levels": levels, "checked": bool(material.events), "splits": splits, "labels": _labels(material)}


def _finding(event: Json) -> Json:
    samples = event.get("samples") or []
    samples = [str(s) for s in samples] if isinstance(samples, list) else [str(samples)]
    shown = [words.cut(s, 160) for s in samples[:5]]
    return {"text": str(event.get("text", "")), "samples": shown, "more": len(samples) - len(shown)}


def _labels(material: Material) -> Json | None:
    """Rows of each class in each split, or in the test alone where the splits hold no labels."""
    known = (material.codec or {}).get("target") or {}
    classes = (material.test or {}).get("classes") or known.get("classes")
    if not classes:
        return None
    frame = material.splits
    if frame is None or not {"split", "target"} <= set(frame.columns):
        frame = material.predictions
        if frame is None or "target" not in frame.columns:
            return None
        frame = frame.with_columns(pl.lit("test").alias("split"))
    counted = frame.group_by(pl.col("split").cast(pl.String), pl.col("target").cast(pl.String)).len()
    number = {(split, target): n for split, target, n in counted.iter_rows()}
    present = [s for s in ("train", "val", "test") if any(key[0] == s for key in number)]
    first = present[0] if present else "test"
    names = sorted(map(str, classes), key=lambda c: -number.get((first, c), 0))
    most = max([number.get((first, c), 0) for c in names] or [0]) or 1
    rows = [
        {
            "name": c,
            "counts": [number.get((s, c), 0) for s in present],
            "bar": plots.bar(number.get((first, c), 0) / most, f"{number.get((first, c), 0):,} in {first}"),
        }
        for c in names
    ]
    return {"splits": present, "first": first, "rows": rows, "long": len(rows) > MOST_LABELS}


def plan(material: Material) -> Json | None:
    """What was decided before training, from what was measured."""
    if material.plan is None:
        return None
    decisions = [d for d in material.plan.get("decisions") or [] if isinstance(d, dict)]
    said = [f"{line[:1].upper()}{line[1:]}." for line in sentences(material.plan)]
    graphs = material.plan.get("compiled")
    if isinstance(graphs, dict):
        said.append("Compiling in the run: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in graphs.items()) + ".")
    return {"decisions": [_decision(d) for d in decisions], "said": said,
            "seconds": finite(material.plan.get("seconds"))}  # fmt: skip


def _decision(one: Json) -> Json:
    candidates = [c for c in one.get("candidates") or [] if isinstance(c, dict)]
    times = [t for c in candidates if (t := finite(c.get("milliseconds"))) is not None]
    longest = max(times, default=0.0) or 1.0
    chosen, rows = flat(one.get("chosen")), []
    for c in candidates:
        value, took = flat(c.get("value")), finite(c.get("milliseconds"))
        row = {
            "value": value,
            "chosen": value == chosen,
            "note": str(c.get("note") or ""),
            "took": words.MISSING,
            "bar": "",
        }
        if took is not None:
            row["took"] = words.figure(took, 3)
            row["bar"] = plots.bar(took / longest, f"{row['took']} ms", "plain")
        rows.append(row)
    return {"what": str(one.get("what")), "chosen": chosen, "why": str(one.get("why") or ""), "rows": rows}


def environment(material: Material) -> Json | None:
    """Device, precision, versions, time, memory, data and code, in groups of pairs."""
    env = material.environment
    if env is None:
        return None
    precision, device = env.get("precision") or {}, env.get("device") or {}
    kept = precision.get("kept_fp32") or []
    groups = [
        (
            "Device",
            [
                ("device", " ".join(str(device[k]) for k in ("type", "name") if device.get(k))),
                ("devices", device.get("count")),
                ("threads", env.get("threads")),
                ("precision", precision.get("mode")),
                ("operations kept in FP32", ", ".join(map(str, kept)) if kept else "none listed"),
                ("platform", env.get("platform")),
            ],
        ),
        (
            "Cost",
            [
                ("total time", _said(env, "total_seconds", words.duration)),
                ("training time", _said(env, "train_seconds", words.duration)),
                ("throughput", _said(env, "samples_per_second", lambda v: f"{words.figure(v, 3)} samples/s")),
                ("peak memory", _said(env, "peak_memory_mb", words.memory)),
                ("parameters", _said(env, "parameters", words.count)),
                ("of them trained", _said(env, "trainable", words.count)),
            ],
        ),
        ("Versions", _pairs(env.get("versions"))),
        (
            "Data and code",
            [
                ("data digest", env.get("data_digest")),
                ("exact resume", _exact(env.get("not_bitwise"))),
                *_pairs(env.get("git"), "git "),
            ],
        ),
    ]
    shown = [(title, [(k, str(v)) for k, v in pairs if v not in (None, "")]) for title, pairs in groups]
    return {"groups": [g for g in shown if g[1]], "packages": _pairs(env.get("packages"))}


def _exact(reasons: Any) -> str | None:
    """Whether an interrupted run ends bitwise as a whole one does, or why not."""
    if not isinstance(reasons, list):
        return None
    return "not bitwise: " + "; ".join(map(str, reasons)) if reasons else "holds"


def _said(env: Json, key: str, say: Any) -> str | None:
    return say(env[key]) if finite(env.get(key)) is not None else None


def _pairs(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    return [(f"{prefix}{k}", _flat(v)) for k, v in value.items()] if isinstance(value, dict) else []


def _flat(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def events(material: Material) -> Json | None:
    """What happened, in order; the last of many."""
    if not material.events:
        return None
    shown = material.events[-MOST_EVENTS:]
    rows = [{k: e.get(k) for k in ("step", "epoch", "kind", "level", "text")} for e in shown]
    return {"rows": rows, "left_out": len(material.events) - len(shown)}
