"""The verbs of the command line that take a model out of its run; `cli` takes them over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchkiln.cli_checks import Json, print_json

deploy = typer.Typer()


@deploy.command(epilog="torchkiln export runs/flowers, or: torchkiln export runs/flowers --format onnx,aoti --zip")
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)],
    formats: Annotated[
        str, typer.Option("--format", metavar="FORMATS", help="Of onnx, pt2, int8, aoti, torchscript.")
    ] = "onnx,pt2,int8",
    out: Annotated[Path | None, typer.Option(metavar="BUNDLE", help="Where to write; RUN/bundle by default.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bundle that is there.")] = False,
    as_zip: Annotated[bool, typer.Option("--zip", help="Make it one file besides.")] = False,
    sign: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign it: an Ed25519 key in a PEM file.")] = None,
    include_rows: Annotated[
        bool, typer.Option("--include-rows", help="Pack validation rows for a proof elsewhere, not made-up ones.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="RUN is a bundle: repeat its proof here, without torch.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a run as a bundle that a server without torch can run; exit code 1 if a file fails its proof."""
    from torchkiln import api
    from torchkiln.report import exported, terminal

    if check:
        _check(run, as_json)
        return
    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    with terminal.display(silent=as_json) as progress:
        found = api.export(run, out, formats=wanted, overwrite=overwrite, as_zip=as_zip, sign=sign,
                           include_rows=include_rows, progress=progress)  # fmt: skip
    print_json(found) if as_json else terminal.show(exported.lines(found))
    if not found["ok"]:
        raise typer.Exit(1)


def _check(bundle: Path, as_json: bool) -> None:
    from torchkiln.bundle import recheck
    from torchkiln.report import terminal

    found = recheck.check(bundle)
    print_json(found) if as_json else terminal.show(recheck.lines(found))
    if not found["ok"]:
        raise typer.Exit(1)


@deploy.command(epilog="torchkiln bench runs/flowers/bundle, or: torchkiln bench BUNDLE --model int8 --json")
def bench(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle.", show_default=False)],
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="onnx or int8; what is served by default.")] = None,
    seconds: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="About how long to measure.")] = 20.0,
    allow_unproven: Annotated[bool, typer.Option("--allow-unproven", help="Also where its proof failed.")] = False,
    as_json: Json = False,
) -> None:
    """Measure a bundle's latency and rows a second here, find the best setting, and keep both in it."""
    from torchkiln.bundle import measure
    from torchkiln.report import terminal

    found = measure.bench(bundle, model=model, seconds=seconds, allow_unproven=allow_unproven)
    print_json(found) if as_json else terminal.show(measure.lines(found))
