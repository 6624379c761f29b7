"""A failure as it was seen, in a log or as an exception: what rules are matched against."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torchkiln.checks.diagnose import facts

SHORT = {"KeyError", "NameError", "ZeroDivisionError", "FileNotFoundError", "UnboundLocalError", "ModuleNotFoundError",
         "ImportError", "AttributeError", "IndexError"}  # fmt: skip
"""Exceptions whose message has one line; what follows it in a log is somebody else's."""
LONGEST = 6000
"""Characters of a message that are looked at."""


@dataclass(frozen=True)
class Frame:
    """One line of a traceback.

    Args:
        file: As the traceback names it.
        line: From 1, if it is known.
        function: Its name.
        code: The line of code, if it is known.
        values: What was at hand: a name in the code to what `facts.described` says of it.
    """

    file: str
    line: int | None
    function: str
    code: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether it is the person's own code."""
        return facts.is_own(self.file)


@dataclass
class Failure:
    """One exception.

    Args:
        kind: Its class, with the module where the traceback says it; empty if it is unknown.
        text: Its message.
        frames: From the outermost call to where it was raised.
        link: How it follows from the failure before it in its chain: cause, during, nested (its text came inside the
            other's) or None.
    """

    kind: str
    text: str
    frames: Sequence[Frame] = ()
    link: str | None = None

    @property
    def name(self) -> str:
        """The class without its module."""
        return self.kind.rpartition(".")[2]

    @cached_property
    def flat(self) -> str:
        """The message in one line, as terminals and log writers break it anywhere; of Python's own errors the first."""
        text = self.text.partition("\n")[0] if self.name in SHORT else self.text
        return " ".join(text[:LONGEST].split())

    @cached_property
    def where(self) -> str:
        """All frames in one text, a line each: `file:function: code`, with forward slashes."""
        return "\n".join(f"{f.file}:{f.function}: {f.code}".replace("\\", "/") for f in self.frames)

    @property
    def place(self) -> Frame | None:
        """The innermost line of the person's own code."""
        return next((f for f in reversed(self.frames) if f.own), None)


@dataclass
class Chain:
    """Exceptions that followed from one another, in the order of the log.

    Args:
        failures: The parts.
        stream: Which process wrote it, as far as the log says.
        aside: Whether it came from a thread or from cleaning up, and so ended nothing.
    """

    failures: list[Failure]
    stream: str = ""
    aside: bool = False


def words(frame: Frame | None) -> dict[str, str]:
    """Names for a mend, as far as they are known.

    Returns:
        `code` (the failing line), `function`, `called` (what the line calls), `given` and `second` (its arguments),
        `owner` (what stands before the last dot of `called`), `layer` (the layer that failed, else `called`).
    """
    if frame is None or not frame.code:
        return {}
    found = {"code": frame.code, "function": frame.function}
    call = _call(frame.code)
    if call is not None:
        found["called"] = ast.unparse(call.func)
        if call.args:
            found["given"] = ast.unparse(call.args[0])
        if len(call.args) > 1:
            found["second"] = ast.unparse(call.args[1])
        if isinstance(call.func, ast.Attribute):
            found["owner"] = ast.unparse(call.func.value)
    inner = next((name for name, value in frame.values.items() if value.get("inner")), found.get("called"))
    return {**found, "layer": inner} if inner else found


def _call(code: str) -> ast.Call | None:
    for text in (code, f"{code} pass", f"{code.rstrip(':')}", code.partition("return ")[2]):
        try:
            calls = [n for n in ast.walk(ast.parse(text.strip())) if isinstance(n, ast.Call)]
        except (SyntaxError, ValueError):
            continue
        if calls:
            return calls[0]
    return None


def said(frame: Frame | None) -> str:
    """What was at hand, for a person: `x float32[4, 9] on cpu, self.fc Linear(...) on cpu`."""
    if frame is None:
        return ""
    return ", ".join(f"{name} {_said(value)}" for name, value in frame.values.items() if "()" not in _said(value))


def _said(value: Mapping[str, Any]) -> str:
    on = f" on {value['device']}" if value.get("device") else ""
    match value["is"]:
        case "module":
            return f"{value['said']}{on}"
        case "list":
            return f"{value['length']} tensors"
        case _:
            return f"{value['dtype']}{value['shape']}{on}"
