"""Where in the person's own code something happened, read from the frames; nothing is kept of them."""

from __future__ import annotations

import linecache
import re
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NamedTuple

OURS = str(Path(__file__).parents[2])
OTHERS = tuple({OURS, *(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))})
HELD_OUT = re.compile(
    r"(?<![a-z])(val|valid|validate|validation|validating|eval|evaluate|evaluation|test|testing|dev|holdout|heldout)"
    r"(?![a-z])"
)
"""Words that people give to what is held out, in names cut at underscores."""

TRAINS = re.compile(r"(?<![a-z])(train|training|fit|main|run)(?![a-z])")


class Place(NamedTuple):
    """A line of the person's code."""

    file: str
    line: int
    function: str


def frames() -> Iterator[FrameType]:
    """The frames of the person's own code, innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not _is_foreign(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def here() -> Place | None:
    """The innermost line of the person's own code that is running."""
    for frame in frames():
        return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
    return None


def speaks_of_held_out_data() -> bool:
    """Whether the functions that run, or the innermost line, are named for an evaluation."""
    for number, frame in enumerate(frames()):
        code = frame.f_code
        words = code.co_name.lower().replace("_", " ")
        if Path(code.co_filename).name.startswith("test_"):
            break  # the tests of a program, which are all named so
        if HELD_OUT.search(words) and not TRAINS.search(words):
            return True
        if number == 0:
            text = linecache.getline(code.co_filename, frame.f_lineno, frame.f_globals).lower()
            if HELD_OUT.search(re.sub(r"\.(eval|train)\(", " ", text).replace("_", " ")):
                return True
    return False


def _is_foreign(file: str) -> bool:
    return file.startswith("<frozen") or file.startswith(OTHERS) or file.endswith("torchkiln/__main__.py")
