"""The report's first screen: what was trained on what, how well it does, and whether a baseline wins."""

from __future__ import annotations

import shlex
from typing import Any, Literal

import numpy as np

from torchkiln.report import plots, words
from torchkiln.report.material import Json, Material
from torchkiln.report.words import finite

Standing = Literal["behind", "even", "ahead"]
MOST_WARNINGS = 3
"""In the first screen; the others are under the data and the events."""


def verdict(material: Material) -> Json:
    """What the template's first section shows."""
    test = material.test
    known: Json = {"facts": _facts(material), **_warnings(material)}
    if test is None or not _metric(test, primary(test)):
        return {**known, **_untested(material)}
    standings = [standing(test, baseline) for baseline in test.get("baselines") or []]
    return {
        **known,
        "status": _status(test, standings),
        "label": _label(test, standings),
        **_said(str((test.get("verdict") or {}).get("text") or _plain_score(test))),
        "resume": None,
        "best_so_far": "",
        "test": test,
        "scores": _score_table(material, test, standings),
        "plot": _plot(test),
        "notes": test.get("notes") or [],
    }


def _status(test: Json, standings: list[Standing | None]) -> str:
    if "ahead" in standings or _broken(test) or _useless(test):
        return "bad"
    return "good" if set(standings) == {"behind"} else "even"


def primary(test: Json) -> str:
    """The metric that decides: the test's own word, or its first."""
    return str(test.get("primary") or next(iter(test.get("metrics") or {}), ""))


def standing(test: Json, baseline: Json) -> Standing | None:
    """Whether a baseline is behind this run, ahead of it, or too near for the test data to say."""
    name = primary(test)
    metric, gap = _metric(test, name), baseline.get("difference") or {}
    value, low, high = (finite(gap.get(k)) for k in ("value", "low", "high"))
    if value is None:
        ours, theirs = finite(metric.get("value")), finite(_metric(baseline, name).get("value"))
        if ours is None or theirs is None:
            return None
        value = ours - theirs
    low, high = (value if low is None else low), (value if high is None else high)
    if not metric.get("higher_is_better", True):
        low, high = -high, -low
    return "behind" if low > 0 else "ahead" if high < 0 else "even"


def _metric(holder: Json, name: str) -> Json:
    found = (holder.get("metrics") or {}).get(name)
    return found if isinstance(found, dict) else {}


def _broken(test: Json) -> bool:
    """Whether the net has no score at all, since its predictions are not finite."""
    return finite(_metric(test, primary(test)).get("value")) is None


def _useless(test: Json) -> bool:
    """Whether the net is no better than a guess that knows nothing."""
    return bool(test.get("baselines")) and (test.get("verdict") or {}).get("beats_trivial") is False


def _label(test: Json, standings: list[Standing | None]) -> str:
    names = [str(b.get("name")) for b in test.get("baselines") or []]
    ahead = [n for n, s in zip(names, standings, strict=True) if s == "ahead"]
    near = [n for n, s in zip(names, standings, strict=True) if s != "behind"]
    if _broken(test):
        return "No score"
    if not names:
        return "No baseline to compare with"
    if ahead:
        return f"A baseline wins: {' and '.join(ahead)}"
    if _useless(test):
        return f"Not shown to beat the trivial baseline: {names[0]}"
    return f"No clear winner against {' and '.join(near)}" if near else "Better than every baseline"


def _plain_score(test: Json) -> str:
    name = primary(test)
    metric = _metric(test, name)
    value, low, high = (metric.get(k) for k in ("value", "low", "high"))
    inside = words.interval(value, low, high)
    where = f" on {words.plural(int(test['n']), 'test sample')}" if finite(test.get("n")) is not None else ""
    return f"{words.measure(name)} is {words.score(value, low, high)}{f' ({inside})' if inside else ''}{where}."


def _said(text: str) -> Json:
    """The first sentence large, the others below it."""
    head, stop, rest = words.bound(text).partition(". ")
    return {"headline": head + stop.strip(), "lede": rest}


def _score_table(material: Material, test: Json, standings: list[Standing | None]) -> Json:
    """Rows of this run and its baselines, a column for each metric, the one that decides first."""
    first = primary(test)
    names = [first, *(n for n in test.get("metrics") or {} if n != first)]
    env = material.environment or {}
    rows = [_score_row(test, test, names, model_name(material), env.get("train_seconds"), "this run")]
    said = {"behind": "behind", "even": "too near to call", "ahead": "wins", None: ""}
    for baseline, where in zip(test.get("baselines") or [], standings, strict=True):
        name = str(baseline.get("name"))
        seconds = baseline.get("seconds") or (env.get("baseline_seconds") or {}).get(name)
        row = _score_row(test, baseline, names, name, seconds, said[where])
        rows.append({**row, "ours": False, "gap": _gap(baseline, _places(test, first))})
    better = ["higher" if _metric(test, n).get("higher_is_better", True) else "lower" for n in names]
    return {"metrics": list(zip(map(words.measure, names), better, strict=True)), "rows": rows}


def _score_row(test: Json, holder: Json, names: list[str], name: str, seconds: Any, standing: str) -> Json:
    cells = [_cell(_metric(holder, n), _places(test, n)) for n in names]
    shown = words.cut(name, 60)
    return {
        "name": shown,
        "ours": True,
        "seconds": seconds,
        "cells": cells,
        "standing": standing,
        "gap": None,
    }


def _places(test: Json, name: str) -> int | None:
    """Decimals that this run's interval can carry, for the baselines' scores too; None: it has none."""
    value, low, high = (finite(_metric(test, name).get(k)) for k in ("value", "low", "high"))
    return None if value is None else words.decimals(value, low, high)


def _cell(metric: Json, places: int | None) -> Json:
    value, low, high = (metric.get(k) for k in ("value", "low", "high"))
    return {
        "value": words.score(value, low, high, places),
        "interval": words.interval(value, low, high, places),
    }


def _gap(baseline: Json, places: int | None) -> Json | None:
    """This run's score less the baseline's."""
    value, low, high = ((baseline.get("difference") or {}).get(k) for k in ("value", "low", "high"))
    if finite(value) is None:
        return None
    return {
        "value": words.signed(value, low, high, places),
        "interval": words.interval(value, low, high, places),
    }


def _plot(test: Json) -> Any:
    name = primary(test)
    scores = []
    others = [(b, str(b.get("name")), False) for b in test.get("baselines") or []]
    for holder, label, ours in [(test, "this run", True), *others]:
        metric = _metric(holder, name)
        value, low, high = (finite(metric.get(k)) for k in ("value", "low", "high"))
        if value is not None:
            scores.append(plots.Score(label, ours, value, low, high, _places(test, name)))
    better = "higher" if _metric(test, name).get("higher_is_better", True) else "lower"
    title = f"{words.measure(name)} of this run and the baselines, with 95 % intervals"
    return plots.intervals("scores", title, scores, f"{words.measure(name)}, {better} is better") if scores else ""


def model_name(material: Material) -> str:
    """What the recipe calls its net."""
    model = material.recipe.get("model") or {}
    if not isinstance(model, dict):
        return str(model)
    return str(model.get("name") or model.get("class_path") or "the net")


def _facts(material: Material) -> list[tuple[str, str]]:
    """Four short answers: what was trained, on what, with which weights, in which time."""
    env, test = material.environment or {}, material.test or {}
    facts = [("Model", _model_fact(material, env)), ("Data", _data_fact(material, test))]
    if test.get("weights"):
        facts.append(("Weights", _weights_fact(material, test)))
    if finite(env.get("total_seconds")) is not None:
        device = env.get("device") or {}
        where = str(device.get("name") or device.get("type") or "")
        facts.append(("Time", words.duration(env["total_seconds"]) + (f" on {where}" if where else "")))
    return facts


def _model_fact(material: Material, env: Json) -> str:
    size = f", {words.short_count(env['parameters'])} parameters" if finite(env.get("parameters")) else ""
    task = str(material.recipe.get("task") or "").replace("_", " ")
    return f"{model_name(material)}{size}{f', for {task}' if task else ''}"


def _data_fact(material: Material, test: Json) -> str:
    data = material.recipe.get("data") or {}
    place = data.get("path") or data.get("train") or data.get("class_path") if isinstance(data, dict) else data
    parts = [words.cut(str(place), 160)] if place else []
    sizes = split_sizes(material)
    if sizes:
        parts.append(", ".join(f"{n:,} {split}" for split, n in sizes))
    if test.get("target"):
        classes = test.get("classes")
        parts.append(f"target {test['target']}")
        if classes:
            parts[-1] += f", {words.plural(len(classes), 'class', 'classes')}"
    return "; ".join(parts) or words.MISSING


def split_sizes(material: Material) -> list[tuple[str, int]]:
    """Rows of each split, train first."""
    if material.splits is None or "split" not in material.splits.columns:
        return []
    counted = dict(material.splits["split"].cast(str).value_counts().iter_rows())
    order = {name: place for place, name in enumerate(("train", "val", "test"))}
    return sorted(((str(k), int(v)) for k, v in counted.items()), key=lambda item: order.get(item[0], 9))


def _weights_fact(material: Material, test: Json) -> str:
    train = material.recipe.get("train") or {}
    monitor = words.measure(str(train.get("monitor") or primary(test)))
    ran = f"; {words.plural(epochs, 'epoch')} ran" if (epochs := epochs_done(material)) else ""
    if test["weights"] != "best":
        return f"those of the last epoch{ran}"
    return f"of epoch {test.get('best_epoch')}, the best by validation {monitor}{ran}"


def epochs_done(material: Material) -> int:
    """Epochs that came to their end."""
    return 0 if material.metrics is None else material.metrics.height


def _warnings(material: Material) -> Json:
    """Events that may change what the score means, the gravest first."""
    grave = [e for e in material.events if e.get("level") in ("stop", "warn")]
    seen, kept = set(), []
    for event in sorted(grave, key=lambda e: e.get("level") != "stop"):
        if event.get("text") not in seen:
            seen.add(event.get("text"))
            kept.append(event)
    shown = [{"level": e["level"], "text": words.cut(str(e.get("text", "")), 220)} for e in kept[:MOST_WARNINGS]]
    return {"warnings": shown, "more_warnings": len(kept) - len(shown)}


def _untested(material: Material) -> Json:
    """Why there is no score, and how to go on."""
    stopped = [e for e in material.events if e.get("level") == "stop"]
    ran, planned = epochs_done(material), (material.recipe.get("train") or {}).get("epochs")
    if not ran:
        done = "it ended before the first epoch did"
    else:
        of = f"{ran:,} of {words.plural(planned, 'epoch')}" if planned else words.plural(ran, "epoch")
        done = f"it ended after {of}"
    if material.stages.get("fit"):
        done = "training ended, the test did not"
    why = "the data check stopped it" if stopped and not ran else done
    return {
        "status": "none",
        "test": None,
        "label": "No verdict",
        "headline": f"This run has no test score: {why}.",
        "lede": "",
        "resume": None if stopped and not ran else f"torchkiln fit --resume {shlex.quote(str(material.path))}",
        "best_so_far": _best_so_far(material),
    }


def _best_so_far(material: Material) -> str:
    metrics = material.metrics
    if metrics is None or "val_loss" not in metrics.columns:
        return ""
    losses = metrics["val_loss"].fill_null(np.nan).to_numpy()
    if not np.isfinite(losses).any():
        return ""
    at = int(np.nanargmin(np.where(np.isfinite(losses), losses, np.nan)))
    epoch = words.count(metrics["epoch"][at]) if "epoch" in metrics.columns else str(at)
    lowest = words.figure(float(losses[at]))
    return f"Lowest validation loss so far: {lowest}, in epoch {epoch}. This is no test score."
