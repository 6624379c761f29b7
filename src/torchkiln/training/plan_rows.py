"""The rows of a plan."""

from __future__ import annotations

from typing import Any

SAID = "the recipe says so"
"""The reason of what was not left open."""


def decision(what: str, chosen: Any, why: str, candidates: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A row of plan.json.

    Args:
        what: The recipe's key.
        chosen: Its value.
        why: The reason, for people.
        candidates: What was measured: `value`, `milliseconds` and `note` of each.
    """
    return {"what": what, "chosen": chosen, "why": why, "candidates": candidates or []}
