"""An export in words: each file with its size, its proof, its speed on this machine and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkiln.report import words

Json = dict[str, Any]
COLUMNS = ("file", "size", "proof", "batch 1", "batch 32", "verdict")


def lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Style and text of each line of an export's table, for a terminal.

    Args:
        found: `table`, as `export.json` holds it; and `said`, what came of INT8.
    """
    rows = [COLUMNS, *(_cells(row) for row in found.get("table") or [])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    made = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    said: list[tuple[str, str]] = [("dim", made[0])]
    for row, line in zip(found.get("table") or [], made[1:], strict=True):
        said.append(("bold" if row.get("verdict") == "proven" else "bold red", line))
        said += [("", f"  {why}") for why in row.get("why") or []]
    if found.get("said"):
        said.append(("dim", str(found["said"])))
    return said


def section(evidence: Mapping[str, Any] | None) -> Json | None:
    """The chapter of the report; None where nothing was exported.

    Args:
        evidence: The content of export.json.
    """
    if not evidence or not evidence.get("table"):
        return None
    return {
        "columns": COLUMNS,
        "rows": [
            {
                "cells": _cells(row),
                "good": row.get("verdict") == "proven",
                "why": [str(w) for w in row.get("why") or []],
            }
            for row in evidence["table"]
        ],
        "metrics": _metrics(evidence.get("metrics") or {}),
        "n": words.finite(evidence.get("rows")),
        "said": str(evidence.get("said") or ""),
        "eager": _milliseconds((evidence.get("cpu_ms") or {}).get("eager") or {}),
    }


def section(evidence: Mapping[str, Any] | None) -> Json | None:
    """The chapter of the report; None where nothing was exported.

    Args:
        evidence: The content of export.json.
    """
    if not evidence or not evidence.get("table"):
        return None
    rows, eager = evidence["table"], (evidence.get("cpu_ms") or {}).get("eager") or {}
    return {
        "columns": _HEAD,
        "rows": [{"cells": _cells(row), "good": row["verdict"] == "proven", "why": row["why"]} for row in rows],
        "metrics": _metrics(evidence.get("metrics") or {}),
        "n": words.finite(evidence.get("rows")),
        "eager": " and ".join(f"{eager[size]:.2f} ms" for size in ("1", "32") if size in eager),
        "said": str(evidence.get("said") or ""),
    }


def _metrics(metrics: Mapping[str, Any]) -> Json | None:
    """Each metric of the net and of its files, with intervals: a row a side."""
    if not metrics:
        return None
    names = list(next(iter(metrics.values())))
    sides = [
        ("the trained net" if side == "reference" else side, [_score(found.get(name) or {}) for name in names])
        for side, found in metrics.items()
    ]
    return {"names": [words.measure(name) for name in names], "sides": sides}


def _score(one: Mapping[str, Any]) -> str:
    value, low, high = (one.get(k) for k in ("value", "low", "high"))
    return f"{words.score(value, low, high)} {words.interval(value, low, high)}".strip()


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    times = row.get("cpu_ms") or {}
    size = words.finite(row.get("bytes"))
    return (
        str(row.get("file")),
        words.memory(None if size is None else size / 1e6),
        _proof(row),
        *(_milliseconds(times).get(n, words.MISSING) for n in ("1", "32")),
        str(row.get("verdict")),
    )


def _proof(row: Mapping[str, Any]) -> str:
    """The figure that its gate looks at: how far the numbers are, or how many answers agree."""
    if row.get("form") == "int8":
        return f"{words.share(row.get('agreement'))} agree"
    far = words.finite(row.get("over_std"))
    return words.MISSING if far is None else f"{far:.1e} of std"


def _milliseconds(times: Mapping[str, Any]) -> dict[str, str]:
    return {n: f"{words.figure(ms, 3)} ms" for n, ms in times.items() if words.finite(ms) is not None}


def _metrics(metrics: Mapping[str, Any]) -> Json | None:
    """Each metric of the net and of its files, with intervals: a row a side."""
    if not metrics:
        return None
    names = list(next(iter(metrics.values())))
    rows = [
        ("the trained net" if side == "reference" else side, [_score(found.get(name) or {}) for name in names])
        for side, found in metrics.items()
    ]
    return {"names": [words.measure(name) for name in names], "rows": rows}


def _score(one: Mapping[str, Any]) -> str:
    value, low, high = (one.get(k) for k in ("value", "low", "high"))
    return f"{words.score(value, low, high)} {words.interval(value, low, high)}".strip()
