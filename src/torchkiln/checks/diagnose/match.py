"""Which class a failure is of, and what is said of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from torchkiln.checks import catalogue
from torchkiln.checks.diagnose import facts
from torchkiln.checks.diagnose.failure import Chain, Failure, Frame
from torchkiln.checks.diagnose.log import WRAPPED, Log, from_facts
from torchkiln.checks.diagnose.rule import Context, Rule, Seen, at_hand, rules
from torchkiln.checks.finding import Finding
from torchkiln.checks.lint import run

FOLLOWING = {
    "ChildFailedError", "BrokenPipeError", "EOFError", "SystemExit", "KeyboardInterrupt", "SignalException",
    "CalledProcessError", "ConnectionResetError", "ProcessRaisedException", "ProcessExitedException",
}  # fmt: skip
"""Exceptions that tell of a failure elsewhere, which the log may hold."""
FURTHER = 0.3
"""Of its rule's confidence, what a further possible cause has."""
LAST_LINES = 400


@dataclass
class Diagnosis:
    """What is known of a failure.

    Args:
        findings: Its causes, the likeliest first; empty if it is not known.
        seen: The exception that was looked at, in one line; empty if the log holds none.
        notes: A sentence on each thing about the reading that the person should know.
        code: The exit code of the program that was run.
    """

    findings: list[Finding]
    seen: str = ""
    notes: list[str] = field(default_factory=list)
    code: int = 0


@dataclass
class _Match:
    id: str
    rule: Rule
    seen: Seen | None
    groups: dict[str, str]
    failure: Failure
    place: Frame | None = None

    @property
    def weight(self) -> int:
        return self.seen.weight if self.seen else 0

    @property
    def follows(self) -> bool:
        return self.seen is not None and self.seen.follows


def of_log(log: Log) -> Diagnosis:
    """The diagnosis of all that stands in a log."""
    main = [chain for chain in log.chains if not chain.aside] or log.chains
    context = Context(lines=log.lines)
    found = [(chain, _of_chain(chain.failures, context)) for chain in main]
    chain, match = _chosen(found) or (None, None)
    if chain is not None and (not match.follows if match is not None else _plain(chain)):
        return _diagnosis(match, chain.failures[-1])
    for told in _without_traceback(log, bool(main)):
        return _diagnosis(told, told.failure)
    last = main[-1].failures[-1] if main else log.loose[-1][1] if log.loose else None
    return _diagnosis(match, last)


def of_error(error: BaseException) -> Diagnosis:
    """The diagnosis of an exception that was caught."""
    failures = from_facts(facts.of_error(error))
    return _diagnosis(_of_chain(failures, Context()), failures[-1])


def _chosen(found: list[tuple[Chain, _Match | None]]) -> tuple[Chain, _Match | None] | None:
    """The chain that ended the program: the first among several processes, else the last that is no consequence."""
    own = [(chain, match) for chain, match in found if not _follows(chain, match)]
    if not own:
        known = [pair for pair in found if pair[1] is not None]
        return known[-1] if known else found[-1] if found else None
    if len({chain.stream for chain, _ in found}) > 1:
        return next((pair for pair in own if pair[1] is not None), own[0])
    return own[-1]


def _follows(chain: Chain, match: _Match | None) -> bool:
    return match.follows if match is not None else chain.failures[-1].name in FOLLOWING


def _plain(chain: Chain) -> bool:
    """Whether the chain itself ended the program, so that lines elsewhere say nothing of it."""
    return chain.failures[-1].name not in FOLLOWING and bool(chain.failures[-1].kind)


def _of_chain(failures: list[Failure], context: Context) -> _Match | None:
    """The first cause that is known; of an exception in the handling of another, the later one."""
    fallback = None
    for failure in _order(failures):
        match = _best(failure, Context(failures, context.lines, functools.partial(_linted, failure.place)))
        if match is not None:
            match.place = match.place or next((f.place for f in reversed(failures) if f.place), None)
        if match is not None and not match.follows:
            return match
        fallback = fallback or match
    return fallback


def _order(failures: list[Failure]) -> Iterator[Failure]:
    """A chain falls into parts at each `during`; the last part first, in each the cause first."""
    parts: list[list[Failure]] = []
    for failure in failures:
        if failure.link == "during" or not parts:
            parts.append([])
        if failure.link == "nested":
            parts[-1].insert(0, failure)
        else:
            parts[-1].append(failure)
    for part in reversed(parts):
        yield from part


def _best(failure: Failure, context: Context) -> _Match | None:
    found = []
    for name, rule in rules().items():
        for seen in rule.seen:
            groups = seen.match(failure, context)
            if groups is not None:
                found.append(_Match(name, rule, seen, groups, failure, failure.place))
                break
    return max(found, key=lambda one: one.weight, default=None)


def _without_traceback(log: Log, tracebacks: bool) -> Iterator[_Match]:
    """What single lines tell: exceptions that a logger wrote in one, and the words of libraries and of the system."""
    context = Context(lines=log.lines)
    follows = []
    nobody = None
    for number, failure in reversed(log.loose):
        match = _best(failure, context)
        if match is not None and match.follows:
            follows.append(match)
        elif match is not None and (nobody is None or nobody - number < WRAPPED):
            yield match
        elif not tracebacks and failure.name not in FOLLOWING:
            nobody = nobody or number
    if nobody is not None:
        return
    for line in log.lines[-LAST_LINES:]:
        for name, rule in rules().items():
            for pattern in rule.lines:
                if found := pattern.search(line):
                    yield _Match(name, rule, None, found.groupdict(), Failure("", line.strip()))
    yield from follows
    if not tracebacks:
        for line in reversed(log.lines[-LAST_LINES:]):
            bare = Failure("", line.strip())
            match = _best(bare, context) if 25 < len(line) < 2000 else None
            if match is not None:
                yield match


def _linted(place: Frame | None) -> dict[str, list[int]]:
    """Rule to lines of what lint finds in the file where it happened, if that is here to be read."""
    return _of_file(place.file) if place is not None and place.file.endswith(".py") else {}


@functools.lru_cache(maxsize=4)
def _of_file(file: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in run.lint([file]) if Path(file).is_file() else ():
        found.setdefault(one.rule, []).append(one.line or 1)
    return found


def _diagnosis(match: _Match | None, last: Failure | None) -> Diagnosis:
    shown = match.failure if match is not None else last
    seen = f"{shown.kind}: {shown.flat}"[:300].strip(": ") if shown is not None else ""
    if match is None:
        return Diagnosis([], seen)
    findings = [_finding(match, seen)]
    for further in match.rule.also:
        page = catalogue.page(further)
        findings.append(
            Finding(
                rule=further, state="WARN", title=page.title, message="possible too", why=page.why, fix=page.fix,
                confidence=round(page.confidence * FURTHER, 2), file=findings[0].file, line=findings[0].line,
            )
        )  # fmt: skip
    return Diagnosis(findings, seen)


def _finding(match: _Match, seen: str) -> Finding:
    page, place = catalogue.page(match.id), match.place
    code = f" at `{place.code}`" if place is not None and place.code else ""
    fix = match.rule.mend(match.groups, place) or page.fix
    return Finding(
        rule=match.id, state="FAIL", title=page.title, message=f"{seen}{code}{at_hand(place)}", why=page.why,
        fix=f"{fix}{_before_it_runs(match)}", confidence=page.confidence, file=place.file if place else None,
        line=place.line if place else None,
    )  # fmt: skip


def _before_it_runs(match: _Match) -> str:
    """The rule of lint that would have named it, with the line where it does."""
    if not match.rule.lint:
        return ""
    found = _linted(match.place)
    named = [f"{rule} in line {found[rule][0]}" if rule in found else rule for rule in match.rule.lint]
    return f" `torchkiln lint` finds this before it runs: {', '.join(named)}."
