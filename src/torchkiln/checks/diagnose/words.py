"""A diagnosis for a person."""

from __future__ import annotations

from torchkiln.checks.diagnose.match import Diagnosis
from torchkiln.checks.finding import Finding


def text(found: Diagnosis) -> list[str]:
    """Lines for a terminal: the cause with its place and mend, then what else is possible."""
    if not found.findings:
        return [f"not known: {found.seen}" if found.seen else "no failure is seen in it"]
    first, *others = found.findings
    lines = [f"{first.rule} {first.title}", f"    seen: {first.message}"]
    if first.file:
        lines.append(f"    where: {first.file}" + (f":{first.line}" if first.line else ""))
    lines += [f"    why: {first.why}", f"    fix: {first.fix}"]
    if others:
        lines.append("possible too:")
        lines += [f"    {one.rule} {one.title}: {one.fix}" for one in others]
    return [*lines, f"torchkiln rules {first.rule} says more"]


def sentence(found: Finding) -> str:
    """Cause and mend in a phrase, for an error's sentence."""
    title = (
        found.title[:1].lower() + found.title[1:]
        if found.title[1:2].islower() or found.title[1:2] == " "
        else found.title
    )
    return f"{title} ({found.rule}): {(found.fix or '').rstrip('.')}"
