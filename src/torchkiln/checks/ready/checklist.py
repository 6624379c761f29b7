"""`torchkiln ready`: every item of the production checklist, with its evidence or the command that makes it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchkiln.checks import catalogue
from torchkiln.checks.finding import Finding
from torchkiln.checks.ready.material import NOTES, Answer, Material
from torchkiln.errors import RecipeError, RunError
from torchkiln.registry import did_you_mean

STATES = {"pass": "PASS", "fail": "FAIL", "waived": "WARN", "not applicable": None}
"""An item's state as findings have it."""


@dataclass(frozen=True)
class Line:
    """One line of the checklist.

    Args:
        rule: The item's id.
        title: What is asked.
        state: pass, fail, waived or not applicable.
        evidence: What was found; of a waived item the reason, and what was found.
        command: What makes the evidence, of an item that fails.
    """

    rule: str
    title: str
    state: str
    evidence: str
    command: str | None

    def finding(self) -> Finding:
        """The line as all checks give it."""
        page = catalogue.page(self.rule)
        evidence = self.evidence if self.state in ("pass", "fail") else f"{self.state}: {self.evidence}"
        fix = self.command or (page.fix if self.state == "fail" else None)
        return Finding(rule=self.rule, state=STATES[self.state], title=self.title, message=evidence, why=page.why,
                       fix=fix, confidence=page.confidence)  # fmt: skip


def check(
    run: str | Path, *, waive: Mapping[str, str] | None = None, rollback: str | Path | None = None,
    resumed: str | Path | None = None,
) -> list[Line]:  # fmt: skip
    """Look at a run; what is waived, and the two paths, are kept in it.

    Args:
        run: The run directory.
        waive: Item to the reason for which it need not hold; an empty reason takes a waiver back.
        rollback: The run or bundle to go back to.
        resumed: A copy of the run that was interrupted and resumed, to be compared with it.

    Raises:
        RecipeError: There is no such item, or a reason is missing.
        RunError: A path is no run.
    """
    material = Material(run)
    _note(material, waive or {}, rollback, resumed)
    waived = material.notes.get("waived", {})
    return [_line(page, _answer(page, material), waived.get(page.id)) for page in items()]


def items() -> list[catalogue.Page]:
    """The pages of the checklist."""
    return [page for page in catalogue.pages().values() if page.wing == "ready"]


def failing(lines: Iterable[Line], words: Sequence[str]) -> list[Line]:
    """The lines that fail among the items that ids or beginnings of ids name.

    Raises:
        RecipeError: A word names none.
    """
    for word in words:
        _named(word)
    return [one for one in lines if one.state == "fail" and one.rule.startswith(tuple(w.upper() for w in words))]


def _line(page: catalogue.Page, answer: Answer, reason: str | None) -> Line:
    if reason and answer.state == "fail":
        return Line(page.id, page.title, "waived", f"{reason} ({answer.evidence})", None)
    return Line(page.id, page.title, answer.state, answer.evidence, answer.command)


def _answer(page: catalogue.Page, material: Material) -> Answer:
    try:
        answer = importlib.import_module(page.module).check(material)
    except RunError as error:  # one damaged file is no reason to leave out the rest
        return Answer("fail", str(error), f"torchkiln verify {material.path}")
    assert isinstance(answer, Answer)
    return answer


def _note(
    material: Material, waive: Mapping[str, str], rollback: str | Path | None, resumed: str | Path | None
) -> None:
    notes: dict[str, Any] = dict(material.notes)
    waived = dict(notes.get("waived", {}))
    for word, reason in waive.items():
        (item,) = _named(word, one=True)
        waived[item] = reason.strip()
    if waived:
        notes["waived"] = {item: reason for item, reason in waived.items() if reason}
    for name, path in (("rollback", rollback), ("resumed", resumed)):
        if path is not None:
            notes[name] = str(Path(path).resolve())
    if notes != material.notes:
        material.directory.write_json(NOTES, notes)
        material.notes = notes


def _named(word: str, one: bool = False) -> list[str]:
    """The items that begin with a word.

    Raises:
        RecipeError: There is none, or more than the one that is wanted.
    """
    known = [page.id for page in items()]
    found = [item for item in known if word and item.startswith(word.upper())]
    if not found or (one and word.upper() not in known):
        raise RecipeError(f"there is no item {word!r} in the checklist{did_you_mean(word.upper(), known)}; `torchkiln "
                          "ready RUN` lists them")  # fmt: skip
    return found
