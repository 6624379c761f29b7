"""The checklist for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torchkiln.checks.ready.checklist import Line


def text(lines: Sequence[Line]) -> list[str]:
    """A line an item, the command below those that fail, and the count."""
    said = []
    for one in lines:
        said.append(f"{one.state.upper():14} {one.rule} {one.title}: {one.evidence}")
        if one.command:
            said.append(f"{'':14} make it: {one.command}")
    counts = Counter(one.state for one in lines)
    states = ("pass", "fail", "waived", "not applicable")
    return [*said, ", ".join(f"{counts[state]} {state}" for state in states if counts[state])]
