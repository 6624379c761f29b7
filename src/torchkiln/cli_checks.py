"""The verbs of the command line that check code and runs; `cli` takes them over."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from torchkiln.errors import RecipeError

checks = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value and nothing else.")]


@checks.command(epilog="torchkiln lint src train.py --fail-on E,W, or: torchkiln lint . --format sarif > lint.sarif")
def lint(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.", show_default=False)],
    select: Annotated[str, typer.Option(metavar="RULES", help="Apply these alone: E,W113.")] = "",
    ignore: Annotated[str, typer.Option(metavar="RULES", help="Leave these out.")] = "",
    fail_on: Annotated[str, typer.Option(metavar="TIERS", help="Exit with 1 if one is found; E by default.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Style and reproducibility too.")] = False,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="text, json, sarif or github.")] = "text",
    baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Leave out what this file knows.")] = None,
    write_baseline: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what is found as known.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely.")] = False,
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Mend what may change the program too.")] = False,
    as_json: Json = False,
) -> None:
    """Look for the anti-patterns of PyTorch code; exit code 1 if a certain bug is found."""
    from torchkiln import api
    from torchkiln.checks.lint import output

    code = output.command(
        lambda: api.lint(paths, select=_list(select), ignore=_list(ignore), strict=strict, baseline=baseline, fix=fix,
                         unsafe_fixes=unsafe_fixes),
        form="json" if as_json else form, fail_on=fail_on, known=write_baseline, paths=paths,
    )  # fmt: skip
    if code:
        raise typer.Exit(code)


def _list(words: str) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()]


class _Commanded(TyperCommand):
    """Keeps the words behind `--`, a program's command, as they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        ctx.meta["command"] = args[at + 1 :] if at < len(args) else None
        return super().parse_args(ctx, args[:at])


@checks.command(
    cls=_Commanded,
    epilog="torchkiln diagnose train.log, or: torchkiln diagnose -- python train.py",
)
def diagnose(
    context: typer.Context,
    log: Annotated[
        Path | None, typer.Argument(metavar="[LOG | -- COMMAND...]", help="A log, - for stdin; or a command to run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Name the cause of a failure and its mend, from a log or by running a program; its exit code is kept."""
    from torchkiln import api
    from torchkiln.checks.diagnose import words

    command = context.meta["command"]
    if (log is None) == (not command):
        raise RecipeError("diagnose takes a log or a command: torchkiln diagnose train.log, or torchkiln diagnose -- "
                          "python train.py")  # fmt: skip
    found = api.diagnose(log, command=command, stdout=sys.stderr if as_json else None)
    for note in found.notes:
        typer.echo(note, err=True)
    if as_json:
        print_json([one.as_json() for one in found.findings])
    elif log is not None or found.code:
        typer.echo("\n".join(words.text(found)), err=log is None)
    if found.code:
        raise typer.Exit(found.code)


@checks.command(epilog="torchkiln ready runs/flowers --fail-on C103,C105 --waive C117='data is our own'")
def ready(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    fail_on: Annotated[
        str, typer.Option(metavar="ITEMS", help="Exit with 1 if one of these fails: C for all, or C103,C105.")
    ] = "",
    waive: Annotated[
        list[str] | None, typer.Option(metavar="ITEM=REASON", help="Let an item be; the reason is kept in the run.")
    ] = None,
    rollback: Annotated[Path | None, typer.Option(metavar="RUN|BUNDLE", help="The version to go back to.")] = None,
    resumed: Annotated[Path | None, typer.Option(metavar="RUN", help="A resumed copy, to be compared.")] = None,
    as_json: Json = False,
) -> None:
    """The production checklist of a run: each item with its evidence, or the command that makes it."""
    from torchkiln import api
    from torchkiln.checks.ready import checklist, words

    reasons = dict(one.partition("=")[::2] for one in waive or [])
    if any("=" not in one for one in waive or []):
        raise RecipeError("--waive takes an item and a reason: --waive C117='the data is our own'")
    lines = api.ready(run, waive=reasons, rollback=rollback, resumed=resumed)
    failing = checklist.failing(lines, _list(fail_on)) if fail_on else []
    if as_json:
        print_json([one.finding().as_json() for one in lines])
    else:
        typer.echo("\n".join(words.text(lines)))
    if failing:
        raise typer.Exit(1)


class _JsonAlone(TyperCommand):
    """Takes `--json` without a file as one that is printed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ours = args[: args.index("--")] if "--" in args else args
        for place, word in enumerate(ours):
            if word == "--json" and ([*args, "--"][place + 1]).startswith("-"):
                args = [*args[: place + 1], "-", *args[place + 1 :]]
            elif not word.startswith("-") and ours[place - 1 : place] != ["--json"]:
                break
        return super().parse_args(ctx, args)


@checks.command(
    cls=_JsonAlone,
    epilog="torchkiln guard -- python train.py, or: torchkiln guard --json found.json --strict -- torchrun train.py",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def guard(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="As in a shell.", show_default=False)],
    json_to: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="[FILE]", help="Write what is found as JSON; without FILE print it, and nothing else."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where something is wrong for certain.")] = False,
) -> None:
    """Run a training program and watch it for silent errors; the exit code is the program's own."""
    from torchkiln.checks.guard import launch

    code = launch.command_line(command, json_to=json_to, strict=strict)
    if code:
        raise typer.Exit(code)


@checks.command()
def rules(
    rule: Annotated[str | None, typer.Argument(metavar="[ID]", help="One rule's page.")] = None, as_json: Json = False
) -> None:
    """List the rules of all checks, or print the page of one."""
    from torchkiln import api

    if rule is not None:
        found = api.rule(rule)
        print_json(found) if as_json else typer.echo(found["page"], nl=False)
    elif as_json:
        print_json(api.rules())
    else:
        for one in api.rules():
            typer.echo(f"{one['id']}  {one['title']}")


def print_json(data: Any) -> None:
    """One JSON value on stdout."""
    typer.echo(json.dumps(data, indent=1, ensure_ascii=False, default=str))
