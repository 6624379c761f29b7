"""Lint: files in, findings out."""

from __future__ import annotations

import gc
import hashlib
import importlib
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torchkiln.checks import catalogue
from torchkiln.checks.finding import Finding
from torchkiln.checks.lint.files import Read, Text, read
from torchkiln.checks.lint.settings import Settings
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import Found, View
from torchkiln.errors import RecipeError

IGNORE = re.compile(r"#\s*torchkiln:\s*ignore\[([A-Za-z0-9, ]+)\]\s*(.*)")
IN_TEXT = "D205"


class Report(list[Finding]):
    """The findings, by file and line, and what else there is to say.

    Args:
        findings: What was found.
        read: What was looked at.
    """

    def __init__(self, findings: Iterable[Finding], read: Read) -> None:
        super().__init__(findings)
        self.read = read
        self.faults = list(read.faults)
        """One sentence for each thing that could not be read."""
        self.notes: list[str] = []
        """What a person should know beside the findings."""

    def line(self, finding: Finding) -> str:
        """The line of a finding, as it is written."""
        return _Lines(self.read).of(finding)


def lint(paths: Sequence[str | Path], settings: Settings | None = None) -> Report:
    """Look at files and folders.

    Args:
        paths: Files and folders.
        settings: What to look for; the defaults if None.
    """
    settings = settings or Settings()
    with _no_collecting(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ast.parse says of odd escapes is another linter's work
        done = read(paths, settings.exclude)
        report = Report([], done)
        raw = look(done.sources, done.texts, settings.rules())
    shown = _Lines(done)
    kept = []
    for finding in [one for _, one in located(raw, done)]:
        if finding.rule in settings.left_out(str(finding.file)) or _ignored(finding, shown, report.notes):
            continue
        kept.append(finding)
    if settings.baseline is not None:
        kept = _new(kept, shown, settings.baseline)
    report[:] = kept
    return report


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Trees are kept to the end: looking for garbage among them costs a third of the time and finds none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


Raw = tuple[str, Found]


def look(sources: Sequence[Source], texts: Sequence[Text], rules: set[str]) -> list[Raw]:
    """What the rules find: (rule, what), each place once."""
    view = View(sources)
    found: dict[tuple[str, str, int], Raw] = {}
    for rule, page in catalogue.pages().items():
        if rule not in rules or page.wing != "lint":
            continue
        module = importlib.import_module(page.module)
        for one in module.check(view):
            found.setdefault((rule, one.source.name, _line(one)), (rule, one))
        if rule == IN_TEXT:
            for text in texts:
                place = Source(text.name, "")
                for line, message, edits in module.in_text(text.text):
                    found[rule, text.name, line] = (rule, Found(None, place, message, edits, True, line))
    return sorted(found.values(), key=lambda r: (r[1].source.name, _line(r[1]), r[0]))


def _line(found: Found) -> int:
    return found.line or int(getattr(found.node, "lineno", 1))


def located(raw: Iterable[Raw], done: Read) -> list[tuple[Found, Finding]]:
    """Findings as they are shown, beside what they were made from."""
    made = []
    for rule, found in raw:
        page = catalogue.pages()[rule]
        file, line = found.source.name, _line(found)
        if file in done.cells:
            cell, line = done.cells[file][line - 1]
            file = f"{file}:cell{cell}"
        finding = Finding(
            rule=rule, tier=page.tier, title=page.title, message=found.message, why=page.why, fix=page.fix,
            confidence=page.confidence, file=file, line=line,
        )  # fmt: skip
        made.append((found, finding))
    return made


# What is known and allowed


class _Lines:
    """The text behind findings."""

    def __init__(self, done: Read) -> None:
        self._lines = {s.name: s.lines for s in done.sources} | {t.name: t.text.splitlines() for t in done.texts}
        self._cells = {
            f"{name}:cell{cell}": [
                line for line, place in zip(self._lines[name], places, strict=False) if place[0] == cell
            ]
            for name, places in done.cells.items()
            for cell in {c for c, _ in places}
        }

    def of(self, finding: Finding, before: int = 0) -> str:
        """The line of a finding, or one some lines before it; "" where there is none."""
        lines = self._cells.get(str(finding.file)) or self._lines.get(str(finding.file), [])
        place = (finding.line or 1) - 1 - before
        return lines[place] if 0 <= place < len(lines) else ""


def _ignored(finding: Finding, shown: _Lines, notes: list[str]) -> bool:
    """Whether a comment in the line, or alone in the line above, says to leave it."""
    above = shown.of(finding, 1)
    for line in (shown.of(finding), above if above.lstrip().startswith("#") else ""):
        said = IGNORE.search(line)
        if said and finding.rule in {word.strip().upper() for word in said[1].split(",")}:
            if not said[2].strip():
                notes.append(f"{finding.file}:{finding.line}: ignore[{finding.rule}] gives no reason")
            return True
    return False


def fingerprints(findings: Sequence[Finding], report: Report | None = None, shown: _Lines | None = None) -> list[str]:
    """One stable word for each finding, which moves with its line: rule, file, the line's text, the how-manieth."""
    shown = shown or _Lines(report.read if report else Read())
    counted: Counter[str] = Counter()
    found = []
    for one in findings:
        key = f"{one.rule}|{Path(str(one.file)).as_posix()}|{shown.of(one).strip()}"
        found.append(hashlib.sha256(f"{key}|{counted[key]}".encode()).hexdigest()[:20])
        counted[key] += 1
    return found


def _new(findings: list[Finding], shown: _Lines, baseline: Path) -> list[Finding]:
    """The findings that a baseline does not know.

    Raises:
        RecipeError: The file is no baseline.
    """
    try:
        known = set(json.loads(baseline.read_text(encoding="utf-8"))["known"])
    except FileNotFoundError:
        raise RecipeError(f"{baseline} does not exist; --write-baseline {baseline} makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeError(f"{baseline} is no baseline; --write-baseline writes one") from error
    return [f for f, word in zip(findings, fingerprints(findings, shown=shown), strict=True) if word not in known]


def write_baseline(report: Report, file: Path) -> None:
    """Write down what is found now, so that later runs name what is new."""
    file.write_text(json.dumps({"known": sorted(fingerprints(report, report))}, indent=1) + "\n", encoding="utf-8")
