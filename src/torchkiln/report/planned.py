"""A plan in words: what was decided, by which figures, and what the run will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkiln.report import words


def sentences(plan: Mapping[str, Any]) -> list[str]:
    """When a plan was measured, and what the run will take.

    Args:
        plan: The content of plan.json.
    """
    said = []
    measured, estimates = plan.get("measured") or {}, plan.get("estimates") or {}
    if measured:
        load = words.finite(measured.get("load"))
        at = "" if load is None else f", at a load of {load:g}"
        now = f"measured in {words.duration(plan.get('seconds'))}{at}"
        then = f"measured by an earlier run, {measured.get('at')}{at}; torchkiln plan --anew measures again"
        said.append(then if measured.get("cached") else now)
    if estimates:
        step = words.finite(estimates.get("step_seconds")) or 0.0
        time = words.duration(estimates.get("train_seconds"))
        said.append(f"{words.count(estimates.get('steps'))} steps of {words.figure(1e3 * step, 3)} ms, about {time} of "
                    f"training; {_size(estimates, 'peak_memory')} of memory at the peak; {_size(estimates, 'disk')} of "
                    "checkpoints")  # fmt: skip
    return said


def rows(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Style and text of each line of a plan's table: a decision, its candidates with their times, its reason."""
    lines: list[tuple[str, str]] = []
    decisions = plan.get("decisions") or []
    width = max((len(str(d.get("what"))) for d in decisions), default=0)
    for decided in decisions:
        lines.append(("bold", f"{decided.get('what'):<{width}}  {flat(decided.get('chosen'))}"))
        for one in decided.get("candidates") or []:
            took = words.finite(one.get("milliseconds"))
            time = f"{words.figure(took, 3):>9} ms" if took is not None else " " * 12
            lines.append(("", f"  {flat(one.get('value')):<{width}}{time}  {one.get('note') or ''}"))
        lines.append(("dim", f"  {decided.get('why')}"))
    return [*lines, *(("bold", line) for line in sentences(plan))]


def flat(value: Any) -> str:
    """A choice in words."""
    if value is None:
        return "whole"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _size(estimates: Mapping[str, Any], what: str) -> str:
    found = words.finite(estimates.get(f"{what}_bytes"))
    return words.memory(None if found is None else found / 1e6)
