"""The command line: each verb parses, calls the function of that name in `torchkiln.api`, and prints.

Results go to stdout; progress and errors go to stderr. Nothing heavy is imported before a verb needs it.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchkiln.cli_checks import Json, checks, print_json
from torchkiln.cli_deploy import deploy
from torchkiln.errors import KilnError, RecipeError

if TYPE_CHECKING:
    import polars as pl

app = typer.Typer(
    name="torchkiln",
    help="From a folder or a table to a trained, tested and served PyTorch model.",
    epilog="The shortest way: torchkiln fit DATA. Details of a verb: torchkiln VERB --help.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(checks)
app.add_typer(deploy)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.", show_default=False)]
Target = Annotated[str | None, typer.Option(metavar="COLUMN", help="The column to predict.")]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 well, 1 the run failed, 2 the input was wrong.

    Args:
        argv: The words behind `torchkiln`; by default those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    own = words.index("--") if "--" in words else len(words)  # behind it stands somebody else's command
    debug = "--debug" in words[:own] or os.environ.get("TORCHKILN_DEBUG", "0") not in ("", "0")
    words = [word for word in words[:own] if word != "--debug"] + words[own:]
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal's poor encoding is no reason to stop
    try:
        command = typer.main.get_command(app)
        with command.make_context("torchkiln", words) as context:
            command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as done:  # after --help and --version
        return done.exit_code
    except BrokenPipeError:
        return 0  # whoever read our output has had enough
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        return _fail(error, words)
    return 0


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        typer.echo(f"torchkiln {metadata.version('torchkiln')}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")] = False,
) -> None:
    """From a folder or a table to a trained, tested and served PyTorch model."""


@app.command()
def init(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A folder or a file.", show_default=False)],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write the recipe; - prints it.")] = None,
    target: Target = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Look at the data and write a commented recipe for it."""
    from torchkiln import api

    file = out or Path(f"{data.resolve().stem}.yaml")
    text = api.init(data, out=None if str(file) == "-" else file, target=target, overwrite=overwrite)
    if as_json:
        print_json({"recipe": str(file), "text": text})
    elif str(file) == "-":
        typer.echo(text, nl=False)
    else:
        typer.echo(f"{file} is written; look at it, then: torchkiln fit {file}")


@app.command(epilog="torchkiln fit data/flowers, or: torchkiln fit flowers.yaml train.epochs=20 --out runs/long")
def fit(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|DATA KEY=VALUE",
            help="A recipe, or a folder or file of data; then settings such as train.epochs=5.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN", help="The run directory to make.")] = None,
    target: Target = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped.")] = None,
    overwrite: Overwrite = False,
    accept_data_change: Annotated[
        bool, typer.Option("--accept-data-change", help="With --resume: go on though the data has changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train, test on held-out data, and write the report."""
    from torchkiln import api
    from torchkiln.report import terminal

    changed = [w for w in words or [] if not w.startswith("train.devices=")]
    if resume is not None and (changed or out or target or overwrite):
        raise RecipeError(
            f"--resume goes on with a run as it was begun and takes nothing else but train.devices; to change "
            f"something start a new one: torchkiln fit {resume}/recipe.yaml KEY=VALUE"
        )
    source, overrides = (None, words or []) if resume else _source_and_overrides(words or [], "fit", target)
    with terminal.display(silent=as_json) as progress:
        run = api.fit(source, overrides, out=out, resume=resume, overwrite=overwrite, target=target,
                      accept_data_change=accept_data_change, progress=progress)  # fmt: skip
    path = Path(run.path)
    tested = _read_json(path / "test.json")
    if as_json:
        print_json({"run": str(path), "test": tested, "report": str(path / "report.html")})
    else:
        terminal.show([*terminal.score_lines(tested), *terminal.next_lines(path)])


@app.command(epilog="torchkiln profile flowers.yaml train.batch_size=64, or: torchkiln profile runs/flowers")
def profile(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|RECIPE|DATA KEY=VALUE",
            help="A run, a recipe, or a folder or file of data; then settings such as train.batch_size=64.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a trace for Perfetto, .json or .json.gz.")
    ] = None,
    target: Target = None,
    as_json: Json = False,
) -> None:
    """Train a short stretch and say what bounds it: input, compute, memory, launches or logging."""
    from torchkiln import api
    from torchkiln.report import terminal
    from torchkiln.report.profile import lines

    source, overrides = _source_and_overrides(words or [], "profile", target)
    with terminal.display(silent=as_json) as progress:
        found = api.profile(source, overrides, out=out, target=target, progress=progress)
    print_json(found) if as_json else terminal.show(lines(found))


@app.command(epilog="torchkiln plan data/flowers, or: torchkiln plan flowers.yaml train.batch_size=64 --anew")
def plan(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE|DATA KEY=VALUE",
            help="As for fit: a recipe, or a folder or file of data; then settings.",
            show_default=False,
        ),
    ] = None,
    target: Target = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the decisions as JSON.")] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Measure although an earlier run did.")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Decide how a recipe runs on this machine, by measuring it; nothing is trained."""
    from torchkiln import api
    from torchkiln.report import planned, terminal

    source, overrides = _source_and_overrides(words or [], "plan", target)
    with terminal.display(silent=as_json) as progress:
        found = api.plan(source, overrides, target=target, out=out, anew=anew, overwrite=overwrite, progress=progress)
    print_json(found) if as_json else terminal.show(planned.rows(found))


@app.command("test")
def measure(
    run: RunPath,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="[DATA]", help="Other labelled data; else the run's own test split."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a run's best weights, each metric with its 95 % interval."""
    from torchkiln import api
    from torchkiln.report import terminal

    with terminal.display(silent=as_json) as progress:
        tested = api.test(run, data=data, progress=progress)
    if as_json:
        print_json(tested)
    else:
        terminal.show(terminal.score_lines(tested))


@app.command()
def predict(
    run: RunPath,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT...", help="Files, folders, tables.", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a .csv, .parquet or .jsonl file.")] = None,
    as_json: Json = False,
) -> None:
    """Predict for new files, folders or tables."""
    from torchkiln import api
    from torchkiln.report import terminal

    frame = api.predict(run, inputs, out=out)
    if out is not None:
        rows = f"{len(frame):,} {'row' if len(frame) == 1 else 'rows'}"
        print_json({"out": str(out), "rows": len(frame)}) if as_json else typer.echo(f"{out}: {rows}")
    elif as_json:
        print_json({"predictions": _rows(frame)})
    elif sys.stdout.isatty():
        terminal.show_table(frame)
    else:
        typer.echo(frame.write_csv(), nl=False)


@app.command()
def report(run: RunPath, as_json: Json = False) -> None:
    """Write a run's report.html anew."""
    from torchkiln import api

    page = api.report(run)
    print_json({"report": str(page)}) if as_json else typer.echo(str(page))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run directories.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Set runs side by side: metrics, settings that differ, and whether scores differ beyond chance."""
    from torchkiln import api
    from torchkiln.report import terminal
    from torchkiln.report.compare import lines

    compared = api.compare(list(runs))
    print_json(compared) if as_json else terminal.show(lines(compared))


@app.command()
def verify(run: RunPath, as_json: Json = False) -> None:
    """Check every file of a run's checkpoints, and say what can be resumed; exit code 1 if nothing can."""
    from torchkiln import api
    from torchkiln.report import terminal
    from torchkiln.runs.verify import lines

    found = api.verify(run)
    print_json(found) if as_json else terminal.show([("", line) for line in lines(found)])
    if not found["ok"]:
        raise typer.Exit(1)


@app.command()
def schema(
    of: Annotated[str, typer.Argument(metavar="[recipe|findings]", help="Of what.")] = "recipe", as_json: Json = False
) -> None:
    """Print the JSON Schema of recipes, for editors to complete and check them, or that of findings."""
    from torchkiln import api

    print_json(api.schema(of))


def _source_and_overrides(words: Sequence[str], verb: str, target: str | None) -> tuple[Path, list[str]]:
    """The recipe or data, which may stand anywhere among the settings, and the settings, --target's included.

    Raises:
        RecipeError: A word is neither, or there is no source.
    """
    named = [w for w in words if "=" not in w or Path(w).exists()]
    if not named:
        raise RecipeError(f"{verb} needs a recipe or data: torchkiln {verb} RECIPE, or torchkiln {verb} DATA")
    if len(named) > 1:
        raise RecipeError(f"{named[1]!r} is no setting; write key=value{_as_setting(words, named[1])}")
    said = [] if target is None else [f"data.target={json.dumps(target)}"]
    return Path(named[0]), [w for w in words if w not in named] + said


def _as_setting(words: Sequence[str], word: str) -> str:
    """`, such as train.epochs=5`: the setting that `epochs 5`, `epochs: 5` or `epochs` may stand for."""
    from torchkiln.recipe.nearest import key_meant
    from torchkiln.recipe.wanted import known_paths

    at = list(words).index(word)
    value = words[at + 1] if at + 1 < len(words) and "=" not in words[at + 1] else "VALUE"
    key = word.rstrip(":").lstrip("-")
    meant = key if key in known_paths() else key_meant(key.split("."))
    return f": did you mean {meant}={value}?" if meant else ", such as train.epochs=5"


# Output


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text()) if file.is_file() else {}


def _rows(frame: pl.DataFrame) -> Any:
    """A table as JSON's own values, NaN as null."""
    return json.loads(frame.write_json())


# Errors


def _fail(error: BaseException, words: Sequence[str]) -> int:
    """Say in one sentence what went wrong, and return the exit code."""
    code, name, faults = _verdict(error, words)
    if "--json" in words and faults:
        said = {"code": name, "message": str(error) if len(faults) > 1 else faults[0], "faults": faults}
        print_json({"error": said})
    from torchkiln.report import terminal

    if faults:
        terminal.complain(faults, getattr(error, "where", None) or "")
    return code


def _verdict(error: BaseException, words: Sequence[str]) -> tuple[int, str, list[str]]:
    """Exit code, stable code, and a sentence for each fault."""
    if isinstance(error, RecipeError):
        return error.exit_code, error.code, error.faults
    if isinstance(error, KilnError):
        return error.exit_code, error.code, [str(error)]
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return 1, "K000", ["stopped"]
    if isinstance(error, OSError) and error.filename and error.strerror:
        return 2, "K300", [f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"]
    if hasattr(error, "format_message"):
        return 2, "K100", [_usage(error, words)] if error.format_message() else []
    return 1, "K000", [_unexpected(error, words)]


def _usage(error: Any, words: Sequence[str]) -> str:
    """A mistake in the words themselves, such as an option that does not exist."""
    said = error.format_message().partition("(")[0].strip().rstrip(".")
    verb = getattr(getattr(error, "ctx", None), "info_name", None) or "torchkiln"
    command = "torchkiln" if verb == "torchkiln" else f"torchkiln {verb}"
    option = getattr(error, "option_name", None)
    if option and "requires" not in said:
        near = difflib.get_close_matches(option, getattr(error, "possibilities", None) or [], cutoff=0.75)
        hint = f"; did you mean {near[0]}?" if near else ""
        if verb in ("fit", "plan", "profile") and not near:
            word = next((w for w in words if w.startswith(option)), option)
            key, _, value = word.lstrip("-").partition("=")
            rest = [value] if value else list(words[list(words).index(word) + 1 :])
            hint = f"; settings are written key=value{_as_setting([key, *rest], key)}"
        return f"{command} has no option {option}{hint} ({command} --help lists them)"
    if verb == "torchkiln" and words and Path(words[0]).exists():
        return f"{words[0]!r} is no verb: did you mean torchkiln fit {words[0]}?"
    return f"{said[:1].lower()}{said[1:]} ({command} --help shows what there is)"


def _unexpected(error: BaseException, words: Sequence[str]) -> str:
    """An error that nobody foresaw: its kind, its place, and how to see more."""
    frames = traceback.extract_tb(error.__traceback__)
    known = (sysconfig.get_path("stdlib"), str(Path(__file__).parent))
    foreign = [f for f in frames if not f.filename.startswith(known) and "site-packages" not in f.filename]
    at = f" in {foreign[-1].filename}, line {foreign[-1].lineno}" if foreign else ""
    said = " ".join(str(error).split())[:300]
    again = " ".join(["torchkiln", *words, "--debug"])
    return f"unexpected {type(error).__name__}{at}: {said or 'no word of why'} (where it arose: {again})"
