"""An export on the terminal and in the report: a line a file, and what is to be said of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkiln.report import words

Json = dict[str, Any]
Line = tuple[str, str]
"""Style and text, as `terminal.show` takes them."""
_HEAD = ("file", "size", "max diff / std", "agree", "ms b1", "ms b32", "verdict")
_STYLES = {"proven": "green", "void": "yellow", "unproven": "red"}
LEGACY = ("torchscript", "TorchScript is legacy: torch itself warns of it; take ONNX or .pt2 where you can")


def lines(found: Mapping[str, Any]) -> list[Line]:
    """What `torchkiln.export` found, for the terminal."""
    rows = [_cells(row) for row in found["table"]]
    widths = [max(len(cells[i]) for cells in (_HEAD, *rows)) for i in range(len(_HEAD))]
    out = [("bold", _row(_HEAD, widths))]
    for row, cells in zip(found["table"], rows, strict=True):
        out.append((_STYLES.get(row["verdict"], ""), _row(cells, widths)))
        out += [("dim", f"  {why}") for why in row["why"]]
    if found["said"]:
        out.append(("", found["said"]))
    if any(row["form"] == LEGACY[0] for row in found["table"]):
        out.append(("yellow", LEGACY[1]))
    if test := found["test"]:
        out.append(("", f"test split, {test['rows']:,} rows: {test['metric']} {test['file']:.4f} by the "
                        f"{test['form']} file, {test['run']:.4f} by the run"))  # fmt: skip
    return [*out, ("dim", f"the bundle: {found['bundle']}")]


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
    far = row["over_std"]
    return (
        row["file"],
        _size(row["bytes"]),
        "-" if far is None else f"{far:.1e}",
        f"{row['agreement']:.4f}",
        *(f"{row['cpu_ms'][size]:.2f}" for size in ("1", "32")),
        row["verdict"],
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *rest, last = zip(cells, widths, strict=True)
    return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest), last[0]])
