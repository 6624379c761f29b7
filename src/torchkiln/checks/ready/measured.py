"""What several items ask: whether the plan measured a decision, and what lint finds in a run's own code."""

from __future__ import annotations

from torchkiln.checks.finding import Finding
from torchkiln.checks.lint import run as lint
from torchkiln.checks.lint.settings import Settings
from torchkiln.checks.ready.material import Answer, Material, failed, passed, spared

SAID = "the recipe says so"
"""What a plan writes of a decision that was not its own."""
LEFT_OUT = ("not measured", "were left of")
"""What it writes where its time was over."""


def measured(run: Material, what: str) -> Answer:
    """Whether a decision of the plan was measured.

    Args:
        run: The run.
        what: Such as train.compile.
    """
    decided = run.plan.get(what)
    if decided is None:
        return failed(f"the plan says nothing of {what}", f"torchkiln plan {run.path}/recipe.yaml {what}=auto")
    why = str(decided.get("why"))
    said = f"{decided.get('chosen')}: {why}"
    if SAID in why:
        return failed(f"{said}, and nothing was measured", f"torchkiln plan {run.path}/recipe.yaml {what}=auto")
    if any(words in why for words in LEFT_OUT):
        return failed(said, f"torchkiln plan {run.path}/recipe.yaml {what}=auto train.plan_seconds=300 --anew")
    timed = [c for c in decided.get("candidates") or [] if c.get("milliseconds") is not None]
    return passed(said) if timed else spared(said)


def linted(run: Material, select: tuple[str, ...]) -> tuple[list[Finding], list[str]]:
    """What lint finds in the files of the recipe's class paths, and those whose file is not here.

    Args:
        run: The run.
        select: Beginnings of rules' ids.
    """
    files = [file for file in run.own_files.values() if file is not None]
    missing = [name for name, file in run.own_files.items() if file is None]
    return (list(lint.lint(files, Settings(select=select))) if files else []), missing
