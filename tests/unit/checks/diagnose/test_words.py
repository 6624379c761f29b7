from __future__ import annotations

from torchkiln.checks.diagnose.match import Diagnosis
from torchkiln.checks.diagnose.words import sentence, text
from torchkiln.checks.finding import Finding

FIRST = Finding(rule="X101", title="A step needs more", message="m", why="w", fix="Halve it.", file="t.py", line=3)
OTHER = Finding(rule="X102", title="CUDA is", message="m", why="w", fix="Set it.")


def test_a_diagnosis_for_a_person() -> None:
    lines = text(Diagnosis([FIRST, OTHER]))
    assert lines[0] == "X101 A step needs more"
    assert "    where: t.py:3" in lines and "    fix: Halve it." in lines
    assert lines[-3:] == ["possible too:", "    X102 CUDA is: Set it.", "torchkiln rules X101 says more"]


def test_what_is_not_known_is_said() -> None:
    assert text(Diagnosis([], "KeyError: 'a'")) == ["not known: KeyError: 'a'"]
    assert text(Diagnosis([])) == ["no failure is seen in it"]


def test_a_phrase_for_an_error() -> None:
    assert sentence(FIRST) == "a step needs more (X101): Halve it"
    assert sentence(OTHER) == "CUDA is (X102): Set it"
