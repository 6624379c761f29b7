"""The verbs of the command line that check code and runs; `cli` takes them over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

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
