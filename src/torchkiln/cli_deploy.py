"""The verbs of the command line that take a model out of its run; `cli` takes them over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchkiln.cli_checks import Json, print_json

deploy = typer.Typer()


@deploy.command(epilog="torchkiln export runs/flowers, or: torchkiln export runs/flowers --format onnx,int8 --zip")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    formats: Annotated[
        str, typer.Option("--format", metavar="FORMATS", help="Of onnx, pt2, with commas between.")
    ] = "onnx,pt2",
    out: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Where to write; RUN/bundle by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a run as a bundle that a server without torch can run; exit code 1 if a file fails its proof."""
    from torchkiln import api
    from torchkiln.report import terminal

    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    with terminal.display(silent=as_json) as progress:
        found = api.export(run, out, formats=wanted, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(found)
    else:
        terminal.show([("", f"{row['file']:20}{row['bytes']:>12,} bytes") for row in found["files"]])
        terminal.show([("dim", f"the bundle: {found['bundle']}")])
    if not found["ok"]:
        raise typer.Exit(1)
