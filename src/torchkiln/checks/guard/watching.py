"""Guard within a program: `with torchkiln.guard():` around a loop, and what a trainer's callback turns on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from torchkiln.checks.finding import Finding
from torchkiln.checks.guard.launch import lines
from torchkiln.checks.guard.patches import Patches
from torchkiln.checks.guard.watch import Watch


class Guard:
    """Watches what is trained while it is entered.

    Args:
        json: A file for the findings, written at the end.
        quiet: Print nothing.

    Attributes:
        findings: What was found so far.
    """

    def __init__(self, *, json: str | Path | None = None, quiet: bool = False) -> None:
        self.findings: list[Finding] = []
        self._file, self._quiet = Path(json) if json else None, quiet
        self._patches: Patches | None = None

    def __enter__(self) -> Guard:
        self._patches = Patches(Watch(self._tell))
        self._patches.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._patches is None:
            return
        self._patches.__exit__()
        self._patches = None
        if self._file is not None:
            self._file.write_text(json.dumps([f.as_json() for f in self.findings], ensure_ascii=False) + "\n")

    def __call__(self, function: Any) -> Any:
        """As a decorator: watch each call of a function."""
        import functools

        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return watched

    def _tell(self, finding: Finding) -> None:
        self.findings.append(finding)
        if not self._quiet:
            print("\n".join(f"torchkiln guard: {line}" for line in lines(finding)), file=sys.stderr)  # noqa: T201
