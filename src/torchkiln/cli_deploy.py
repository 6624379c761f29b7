"""The verbs of the command line that take a model out of its run; `cli` takes them over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torchkiln.cli_checks import Json, print_json
from torchkiln.errors import ExportError

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
    licence: Annotated[
        list[str] | None, typer.Option(metavar="WHAT=NAME", help="For the model card: weights=MIT, data=CC-BY-4.0.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="RUN is a bundle: repeat its proof here, without torch.")
    ] = False,
    require_signature: Annotated[
        Path | None, typer.Option(metavar="PEM", help="With --check: the public key that must have signed it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a run as a bundle that a server without torch can run; exit code 1 if a file fails its proof."""
    from torchkiln import api
    from torchkiln.report import exported, terminal

    if check:
        _check(run, require_signature, as_json)
        return
    licences = dict(one.partition("=")[::2] for one in licence or [])
    if not all(map(str.strip, (*licences, *licences.values()))):
        raise ExportError("--licence takes what and its licence: --licence weights=MIT --licence data=CC-BY-4.0")
    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    with terminal.display(silent=as_json) as progress:
        found = api.export(run, out, formats=wanted, overwrite=overwrite, as_zip=as_zip, sign=sign,
                           include_rows=include_rows, licences=licences, progress=progress)  # fmt: skip
    print_json(found) if as_json else terminal.show(exported.lines(found))
    if not found["ok"]:
        raise typer.Exit(1)


def _check(bundle: Path, require_signature: Path | None, as_json: bool) -> None:
    from torchkiln.bundle import recheck
    from torchkiln.report import terminal

    found = recheck.check(bundle, require_signature=require_signature)
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


@deploy.command(epilog="torchkiln serve runs/flowers, or: torchkiln serve models --watch --token-file tokens.txt")
def serve(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="[NAME=]BUNDLE|RUN|DIR...", help="What to serve; a DIR holds name/version/ bundles."),
    ],
    host: Annotated[str, typer.Option(help="Address; any but loopback needs --token-file or --no-auth.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(help="Processes; 0: one a usable core.")] = 0,
    threads: Annotated[int, typer.Option(help="Of the model, in each process.")] = 1,
    versions: Annotated[str, typer.Option(help="latest:N, all, or names with commas.")] = "latest:1",
    watch: Annotated[bool, typer.Option("--watch", help="Take up new bundles as they come.")] = False,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Lines of TOKEN [RIGHTS [RATE]].")] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Everyone who reaches the address may ask.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(metavar="PEM", help="Certificate chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
    access_log: Annotated[str, typer.Option(metavar="FILE", help="- is standard output; none.")] = "-",
    request_log: Annotated[str | None, typer.Option(metavar="FILE", help="Sampled requests and answers.")] = None,
    request_share: Annotated[float, typer.Option(help="Of the requests that go there.")] = 0.01,
    hash_fields: Annotated[str, typer.Option(metavar="FIELDS", help="Hashed there, with commas between.")] = "",
    drain: Annotated[float, typer.Option(metavar="SECONDS", help="From SIGTERM to the end, at most.")] = 20.0,
    allow_unproven: Annotated[bool, typer.Option("--allow-unproven", help="Serve what failed its proof.")] = False,
    require_signature: Annotated[Path | None, typer.Option(metavar="PEM", help="A public key.")] = None,
    model: Annotated[str | None, typer.Option(metavar="FORM", help="onnx or int8, where not as exported.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="Such as deadline_seconds=2; see docs/serving.md")
    ] = None,
) -> None:
    """Answer over HTTP: predictions of bundles, without torch."""
    from torchkiln.serving import start

    hashed = frozenset(word.strip() for word in hash_fields.split(",") if word.strip())
    options = dict(
        host=host, port=port, workers=workers, threads=threads, versions=versions, watch=watch, token_file=token_file,
        no_auth=no_auth, tls_cert=tls_cert, tls_key=tls_key, access_log=None if access_log == "none" else access_log,
        request_log=request_log, request_share=request_share, hash_fields=hashed, drain_seconds=drain,
        allow_unproven=allow_unproven, require_signature=require_signature, form=model, **start.limits(limit or []),
    )  # fmt: skip
    code = start.serve(*paths, said=lambda line: typer.echo(f"serving on {line}", err=True), **options)
    if code:
        raise typer.Exit(code)
