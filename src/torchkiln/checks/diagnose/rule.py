"""What a rule of diagnose consists of, and the ways in which one may recognise a failure."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torchkiln.checks import catalogue
from torchkiln.checks.diagnose.failure import Failure, Frame, said, words


@dataclass(frozen=True)
class Context:
    """What surrounds a failure.

    Args:
        before: The failures before it in its chain.
        lines: The log.
        lint: Gives what lint finds in the file where it happened: rule to lines.
    """

    before: Sequence[Failure] = ()
    lines: Sequence[str] = ()
    lint: Callable[[], dict[str, list[int]]] = dict


class Seen:
    """One way in which a failure shows itself: all that is given must hold.

    Args:
        text: A pattern of the message in one line; its named groups may stand in the rule's mend.
        kind: A pattern of the exception's class, which a log without one is spared.
        frame: A pattern of the frames, a line each: `file:function: code`.
        no_frame: A pattern that no frame may match.
        when: What is asked beyond patterns.
        weight: Which of several rules is believed.
        follows: Whether it tells of a failure elsewhere, which is then the one to name.
    """

    def __init__(
        self, text: str = "", *, kind: str = "", frame: str = "", no_frame: str = "",
        when: Callable[[Failure, Context], bool] | None = None, weight: int = 10, follows: bool = False,
    ) -> None:  # fmt: skip
        self.text, self.kind = re.compile(text), re.compile(kind)
        self.frame = re.compile(frame, re.MULTILINE) if frame else None
        self.no_frame = re.compile(no_frame, re.MULTILINE) if no_frame else None
        self.when, self.weight, self.follows = when, weight, follows

    def match(self, failure: Failure, context: Context) -> dict[str, str] | None:
        """The groups of the text if it is so."""
        by_kind = self.text.pattern in ("", "^$")
        if not self.kind.search(failure.kind) if failure.kind else by_kind:
            return None
        found = self.text.search(failure.flat)
        if found is None:
            return None
        if self.frame is not None and not self.frame.search(failure.where):
            return None
        if self.no_frame is not None and self.no_frame.search(failure.where):
            return None
        if self.when is not None and not self.when(failure, context):
            return None
        return {name: value for name, value in found.groupdict().items() if value is not None}


class Rule:
    """How a class of failures is recognised and mended.

    Args:
        seen: The ways in which it shows itself.
        fix: The mend in the person's own names; used where all of its fields are known, else the page's.
        lint: Rules of lint that find its cause before the program runs.
        also: Other rules whose causes are possible too.
        lines: Patterns of lines of a log in which no exception stands.
    """

    def __init__(
        self, *seen: Seen, fix: str = "", lint: Sequence[str] = (), also: Sequence[str] = (),
        lines: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.seen, self.fix, self.lint, self.also = seen, fix, tuple(lint), tuple(also)
        self.lines = [re.compile(one) for one in lines]

    def mend(self, groups: dict[str, str], place: Frame | None) -> str | None:
        """The mend in the person's own names, if what it names is known."""
        try:
            return self.fix.format(**{**words(place), **groups}) if self.fix else None
        except KeyError:
            return None


@functools.cache
def rules() -> dict[str, Rule]:
    """All rules of diagnose by id."""
    found = {}
    for page in catalogue.pages().values():
        if page.wing == "diagnose":
            rule = importlib.import_module(page.module).RULE
            assert isinstance(rule, Rule)
            found[page.id] = rule
    return found


def at_hand(place: Frame | None) -> str:
    """A sentence on the tensors at the line, if they are known."""
    known = said(place)
    return f"; at hand: {known}" if known else ""
