"""What people ask of the checks, in Python: `torchkiln.lint`, the catalogue of rules, the schema of findings.

Nothing of the checks is imported before it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from torchkiln.errors import RecipeError
from torchkiln.registry import did_you_mean

if TYPE_CHECKING:
    from torchkiln.checks.catalogue import Page
    from torchkiln.checks.diagnose.match import Diagnosis
    from torchkiln.checks.lint.run import Report
    from torchkiln.checks.ready.checklist import Line


def lint(
    paths: str | Path | Sequence[str | Path],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    strict: bool = False,
    baseline: str | Path | None = None,
    fix: bool = False,
    unsafe_fixes: bool = False,
) -> Report:
    """Look for the anti-patterns of PyTorch code; nothing that is read is imported or executed.

    Args:
        paths: Files and folders: Python, notebooks, scripts of a shell and YAML.
        select: Rules, or beginnings of their ids; with those of pyproject.toml's `[tool.torchkiln.lint]` if empty.
        ignore: Rules to leave out.
        strict: Apply the rules of style and reproducibility too.
        baseline: A file of findings that are known.
        fix: Mend what can be mended safely, in the files.
        unsafe_fixes: Apply mends that may change what a program does too.

    Returns:
        The findings, a list; what could not be read is in its `faults`.
    """
    from torchkiln.checks.lint import run, settings
    from torchkiln.checks.lint.fix import mend

    given = [paths] if isinstance(paths, str | Path) else list(paths)
    wanted = settings.with_words(
        settings.from_project(given), select=tuple(select), ignore=tuple(ignore), strict=strict,
        baseline=Path(baseline) if baseline else None,
    )  # fmt: skip
    found = run.lint(given, wanted)
    if fix or unsafe_fixes:
        mended = mend(found.read, wanted.rules(), unsafe_fixes)
        found = run.lint(given, wanted)
        found.notes.append(f"{mended.counts.total()} mended in {len(mended.files)} files")
    return found


def diagnose(
    log: str | Path | BaseException | None = None, *, command: Sequence[str] = (), stdout: IO[Any] | None = None
) -> Diagnosis:
    """Name the causes of a failure and their mends.

    Args:
        log: A log, which is only read (`-` is stdin); or an exception that was caught.
        command: A program to run in place of a log; how it ends is diagnosed.
        stdout: Where the program's stdout goes; None leaves it where ours goes.

    Returns:
        The likeliest cause first in `findings`, none where it is not known; a program's exit code is in `code`.

    Raises:
        DataError: The log is none, or there is no such command.
    """
    from torchkiln.checks.diagnose import command as running
    from torchkiln.checks.diagnose import match

    if isinstance(log, BaseException):
        return match.of_error(log)
    return running.of_command(command, stdout) if log is None else running.of_file(log)


def ready(
    run: str | Path, *, waive: Mapping[str, str] | None = None, rollback: str | Path | None = None,
    resumed: str | Path | None = None,
) -> list[Line]:  # fmt: skip
    """The production checklist of a run, each item with its evidence or the command that makes it.

    Args:
        run: The run directory; the three below are kept in its ready.json.
        waive: Item to the reason for which it need not hold; an empty reason takes a waiver back.
        rollback: The run or bundle to go back to.
        resumed: A copy of the run that was interrupted and resumed, to be compared with it.

    Raises:
        RecipeError: There is no such item.
        RunError: It is no run.
    """
    from torchkiln.checks.ready import checklist

    return checklist.check(run, waive=waive, rollback=rollback, resumed=resumed)


def rules() -> list[dict[str, Any]]:
    """The catalogue: of each rule its `id`, `tier`, `title`, `why`, `fix`, `confidence` and whole `page`."""
    from torchkiln.checks import catalogue

    return [_rule(page) for page in catalogue.pages().values()]


def rule(name: str) -> dict[str, Any]:
    """One rule, as `rules` gives them."""
    from torchkiln.checks import catalogue

    return _rule(catalogue.page(name))


def _rule(page: Page) -> dict[str, Any]:
    return {"id": page.id, "tier": page.tier, "wing": page.wing, "title": page.title, "why": page.why, "fix": page.fix,
            "confidence": page.confidence, "page": page.markdown()}  # fmt: skip


def schema(of: str) -> dict[str, Any]:
    """The JSON Schema of the `findings` of all checks.

    Raises:
        RecipeError: There is no schema of that name.
    """
    from torchkiln.checks import finding

    if of != "findings":
        raise RecipeError(f"there is no schema {of!r}{did_you_mean(of, ['recipe', 'findings'])}")
    return finding.json_schema()
