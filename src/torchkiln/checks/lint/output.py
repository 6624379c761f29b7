"""Findings for people, for GitHub, and as SARIF 2.1.0."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from torchkiln.checks import catalogue
from torchkiln.checks.finding import TIERS, Finding
from torchkiln.checks.lint.run import Report, fingerprints, write_baseline
from torchkiln.checks.lint.settings import from_project, tiers
from torchkiln.errors import RecipeError
from torchkiln.registry import did_you_mean

LEVELS = {"E": "error", "W": "warning"}
FORMATS = ("text", "json", "sarif", "github")


def command(
    looking: Callable[[], Report], *, form: str, fail_on: str, known: Path | None, paths: Sequence[str | Path]
) -> int:
    """Print what looking finds, and give the exit code: 1 for findings, 2 where something could not be read.

    Args:
        looking: Gives the findings.
        form: One of FORMATS.
        fail_on: Tiers that give 1; those of the project's settings if empty.
        known: A baseline to write in place of printing.
        paths: What is looked at.
    """
    if form not in FORMATS:
        raise RecipeError(f"there is no format {form!r}{did_you_mean(form, FORMATS)}")
    failing = tiers(fail_on) if fail_on else from_project(paths).fail_on
    report = looking()
    if known is not None:
        write_baseline(report, known)
        report.notes.append(f"{known} knows {len(report)} findings")
        report[:] = []
    print("\n".join(printed(report, form)))  # noqa: T201
    for line in (*report.notes, *report.faults):
        print(line, file=sys.stderr)  # noqa: T201
    if any(str(one.tier) in failing for one in report):
        return 1
    return 2 if report.faults else 0


def printed(report: Report, form: str) -> list[str]:
    """The lines of a format."""
    match form:
        case "json":
            return [json.dumps([one.as_json() for one in report], indent=1)]
        case "sarif":
            return [json.dumps(sarif(report, metadata.version("torchkiln")), indent=1)]
        case "github":
            return github(report)
        case _:
            return text(report)


def text(report: Report) -> list[str]:
    """Lines for a person: where, what, the line itself and the mend."""
    lines = []
    for one in report:
        lines.append(f"{one.file}:{one.line}: {one.rule} {one.title}: {one.message}")
        code = report.line(one).strip()
        if code:
            lines.append(f"    {one.line} | {code}")
        lines.append(f"    fix: {one.fix}")
    return [*lines, summary(report)]


def summary(report: Report) -> str:
    """The last line: how many of which tier."""
    files = len(report.read.sources) + len(report.read.texts)
    looked = f"{files:,} {'file' if files == 1 else 'files'}"
    if not report:
        return f"{looked}: nothing found"
    counts = Counter(str(one.tier) for one in report)
    parts = [f"{counts[tier]} {tier} ({name})" for tier, name in TIERS.items() if counts[tier]]
    return f"{looked}: {', '.join(parts)}; torchkiln rules ID says more of a rule"


def github(report: Report) -> list[str]:
    """Annotations, one line each."""
    kinds = {"E": "error", "W": "warning"}
    return [
        f"::{kinds.get(str(one.tier), 'notice')} file={_escaped(_file(one), True)},line={one.line},"
        f"title={_escaped(f'{one.rule} {one.title}', True)}::{_escaped(f'{one.message}. {one.fix}')}"
        for one in report
    ]


def _escaped(said: str, inside: bool = False) -> str:
    said = said.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return said.replace(":", "%3A").replace(",", "%2C") if inside else said


def sarif(report: Report, version: str) -> dict[str, Any]:
    """The whole log of one run.

    Args:
        report: What was found.
        version: Ours.
    """
    used = sorted({one.rule for one in report})
    places = {rule: number for number, rule in enumerate(used)}
    prints = fingerprints(report, report)
    driver = {
        "name": "torchkiln",
        "version": version,
        "rules": [_rule(catalogue.page(rule)) for rule in used],
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "utf16CodeUnits",
                "results": [_result(one, places, word) for one, word in zip(report, prints, strict=True)],
            }
        ],
    }


def _rule(page: catalogue.Page) -> dict[str, Any]:
    return {
        "id": page.id,
        "shortDescription": {"text": page.title},
        "fullDescription": {"text": page.why},
        "help": {"text": page.fix, "markdown": page.markdown()},
        "defaultConfiguration": {"level": LEVELS.get(page.tier, "note")},
        "properties": {"tier": page.tier, "confidence": page.confidence},
    }


def _result(one: Finding, places: dict[str, int], word: str) -> dict[str, Any]:
    region = {"startLine": one.line or 1}
    location = {"artifactLocation": {"uri": _file(one)}, "region": region}
    return {
        "ruleId": one.rule,
        "ruleIndex": places[one.rule],
        "level": LEVELS.get(str(one.tier), "note"),
        "message": {"text": f"{one.title}: {one.message}. {one.fix}"},
        "locations": [{"physicalLocation": location}],
        "partialFingerprints": {"torchkiln/v1": word},
    }


def _file(one: Finding) -> str:
    """A path with forward slashes, relative to the working directory where it lies in it."""
    path = Path(str(one.file))
    here = Path.cwd()
    return (path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path).as_posix()
