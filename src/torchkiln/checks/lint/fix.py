"""Mends: pieces of text put in place of others, kept only where the file still parses and the finding is gone.

The positions come from `ast`, and nothing but the piece is written: comments and layout stay as they are.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torchkiln.checks.lint.files import Read, Text
from torchkiln.checks.lint.project import Project
from torchkiln.checks.lint.run import Raw, look
from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import Edit, Found

ROUNDS = 4


@dataclass
class Mended:
    """What was mended.

    Args:
        counts: Rule to how many findings are gone.
        files: Names of the files that were written.
        refused: Findings whose mend did not hold.
    """

    counts: Counter[str] = field(default_factory=Counter)
    files: list[str] = field(default_factory=list)
    refused: int = 0


def mend(done: Read, rules: set[str], unsafe: bool = False) -> Mended:
    """Mend what can be, write the files, and bring `done` up to date.

    Args:
        done: What was read.
        rules: The rules whose findings are mended.
        unsafe: Apply mends that may change what the program does.
    """
    mended = Mended()
    for name in [*done.paths, *(t.name for t in done.texts)]:
        text = _mend_file(name, done, rules, unsafe, mended)
        path = done.paths.get(name) or next(t.path for t in done.texts if t.name == name)
        if text is not None:
            # Bytes, so that the ends of lines are those that the file had.
            ends = "\r\n" if b"\r\n" in path.read_bytes() else "\n"
            path.write_bytes(text.replace("\n", ends).encode("utf-8"))
            mended.files.append(name)
    return mended


def _mend_file(name: str, done: Read, rules: set[str], unsafe: bool, mended: Mended) -> str | None:
    """A file's new text; None where nothing changed."""
    begun = _text(name, done)
    refused: set[tuple[str, str]] = set()
    for _ in range(ROUNDS):
        found = [r for r in _look(name, done, rules) if r[1].edits and (r[1].safe or unsafe)]
        changed = False
        for rule in sorted({r for r, _ in found}):
            changed |= _mend_rule(rule, [f for r, f in found if r == rule], name, done, rules, mended, refused)
            if changed:
                break
        if not changed:
            break
    mended.refused += len(refused)
    text = _text(name, done)
    return text if text != begun else None


def _mend_rule(
    rule: str,
    found: Sequence[Found],
    name: str,
    done: Read,
    rules: set[str],
    mended: Mended,
    refused: set[tuple[str, str]],
) -> bool:
    """Mend all findings of one rule in a file at once, or one at a time where that does not hold."""
    for group in (found, *([one] for one in found)):
        before = _look(name, done, rules)
        old = _text(name, done)
        new = applied(old, [e for f in group for e in f.edits])
        if new is None or new == old or (rule, new) in refused:
            continue
        if not _set(name, done, new):
            refused.add((rule, new))
            continue
        after = _look(name, done, rules)
        if _count(after, rule) <= _count(before, rule) - len(group) and not _worse(before, after):
            mended.counts[rule] += len(group)
            return True
        _set(name, done, old)
        refused.add((rule, new))
    return False


def _worse(before: Iterable[Raw], after: Iterable[Raw]) -> bool:
    """Whether a mend made a certain or likely bug that was not there."""
    a = Counter(r for r, _ in before if r[0] in "EW")
    b = Counter(r for r, _ in after if r[0] in "EW")
    return bool(b - a)


def _count(found: Iterable[Raw], rule: str) -> int:
    return sum(r == rule for r, _ in found)


def _look(name: str, done: Read, rules: set[str]) -> list[Raw]:
    """The findings in a file, seen with the files that belong to it."""
    texts = [t for t in done.texts if t.name == name]
    source = next((s for s in done.sources if s.name == name), None)
    near = Project(done.sources).related(source) if source is not None else []
    return [r for r in look(near, texts, rules) if r[1].source.name == name]


def _text(name: str, done: Read) -> str:
    found = {t.name: t.text for t in done.texts} | {s.name: s.text for s in done.sources}
    return found[name]


def _set(name: str, done: Read, text: str) -> bool:
    """Put a new text in place; False where it is no Python."""
    for place, other in enumerate(done.texts):
        if other.name == name:
            done.texts[place] = Text(name, other.path, text)
            return True
    for place, source in enumerate(done.sources):
        if source.name == name:
            try:
                done.sources[place] = Source(name, text, source.module)
            except SyntaxError:
                return False
            return True
    return False


def applied(text: str, edits: Sequence[Edit]) -> str | None:
    """A text with its edits made; None where two of them overlap."""
    raw = text.encode("utf-8")
    starts = [0]
    for line in raw.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = sorted({(_offset(starts, e.start), _offset(starts, e.end), e.text) for e in edits})
    if any(a[1] > b[0] for a, b in itertools.pairwise(spans)):
        return None
    for start, end, new in reversed(spans):
        raw = raw[:start] + new.encode("utf-8") + raw[end:]
    return raw.decode("utf-8")


def _offset(starts: Sequence[int], place: tuple[int, int]) -> int:
    line, column = place
    return starts[min(line - 1, len(starts) - 1)] + column
