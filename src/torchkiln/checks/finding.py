"""What a check found: one shape for lint, guard, diagnose and ready, and its JSON Schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

TIERS = {
    "E": "certain bug",
    "W": "likely bug",
    "D": "deprecated or unsafe",
    "P": "performance",
    "S": "style and reproducibility",
}
TRIED = {"R": "silent error while training"}
"""Kinds of rules that give a state, by the letter of their ids."""
STATES = ("PASS", "WARN", "FAIL")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was found; what does not apply is None.

    Args:
        rule: The rule's id, such as E101.
        title: The rule in a few words.
        message: What was seen here.
        why: Why it matters.
        fix: How to mend it.
        confidence: How sure the check is, 0 to 1.
        tier: Of lint: E, W, D, P or S.
        state: Of what was tried: PASS, WARN or FAIL.
        file: Where, as the person named it; of a notebook with the cell behind a colon.
        line: In the file, from 1; of a notebook in the cell.
        step: The training step, from 0.
    """

    rule: str
    title: str
    message: str
    why: str | None = None
    fix: str | None = None
    confidence: float | None = None
    tier: str | None = None
    state: str | None = None
    file: str | None = None
    line: int | None = None
    step: int | None = None

    def as_json(self) -> dict[str, Any]:
        """All fields, absent ones as None."""
        found = asdict(self)
        return {name: found[name] for name in ORDER}


ORDER = ("rule", "tier", "state", "title", "message", "why", "fix", "confidence", "file", "line", "step")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a list of findings."""
    text: dict[str, Any] = {"type": "string"}
    maybe: dict[str, Any] = {"type": ["string", "null"]}
    fields: dict[str, Any] = {
        "rule": {**text, "pattern": "^[A-Z][0-9]{3}$"},
        "tier": {"enum": [*TIERS, None]},
        "state": {"enum": [*STATES, None]},
        "title": text,
        "message": text,
        "why": maybe,
        "fix": maybe,
        "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "file": maybe,
        "line": {"type": ["integer", "null"], "minimum": 1},
        "step": {"type": ["integer", "null"], "minimum": 0},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Findings of torchkiln",
        "type": "array",
        "items": {
            "type": "object",
            "properties": fields,
            "required": list(fields),
            "additionalProperties": False,
        },
    }
