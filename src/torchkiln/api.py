"""What Python users call; the command line's verbs are these functions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchkiln.errors import DataError, InputError, MissingExtra, RecipeError, RunError, RunFailed
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import did_you_mean, nearest
from torchkiln.runs.directory import CHILD, FULL_DISK, RECIPE, Place, RunDirectory, next_name
from torchkiln.runs.progress import Progress

if TYPE_CHECKING:
    import polars as pl

    from torchkiln.checks.catalogue import Page
    from torchkiln.checks.lint.run import Report


class Run:
    """A run that was made: its directory, and what can be done with it.

    Args:
        path: The run directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.directory = RunDirectory.open(path)
        self.path = self.directory.path

    @property
    def scores(self) -> dict[str, Any]:
        """The content of test.json: held-out metrics with intervals, and the baselines beside them."""
        found: dict[str, Any] = self.directory.read_json("test.json", {})
        return found

    @property
    def report(self) -> Path:
        """The report, an HTML file."""
        return self.path / "report.html"

    def test(self, data: str | Path | None = None) -> dict[str, Any]:
        """As `torchkiln.test`."""
        return test(self.path, data)

    def predict(self, inputs: Any) -> pl.DataFrame:
        """As `torchkiln.predict`."""
        return predict(self.path, inputs)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def init(data: str | Path, out: str | Path | None = None, *, target: str | None = None, overwrite: bool = False) -> str:
    """Look at data and propose a commented recipe for it.

    Args:
        data: A folder or file.
        out: Where to write the recipe; None only returns it.
        target: The column to predict, where it cannot be told.
        overwrite: Replace a file that exists.

    Returns:
        The recipe's text.
    """
    if out is None:
        return _proposal(data, str(data), target)
    file = Path(out)
    if file.exists() and not overwrite:
        raise RunError(f"{file} exists; choose another with --out or replace it with --overwrite")
    # a recipe's paths start at its own folder
    text = _proposal(data, os.path.relpath(data, file.resolve().parent), target)
    file.write_text(text)
    return text


def fit(
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    overwrite: bool = False,
    target: str | None = None,
    accept_data_change: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train, test on held-out data, and write the report.

    Args:
        recipe: A recipe's file, a mapping, or a folder or file of data (which is `init` and `fit` in one).
        overrides: `{"train.epochs": 5}` or `["train.epochs=5"]`; with `resume` none but `train.devices`.
        model: The person's own `nn.Module` or `LightningModule`, in place of a recipe's.
        loss: With `model`: a name of the recipe, a module or a function of (output, target).
        optimizer: With `model`: a name, a mapping as in a recipe, or a function of parameter groups.
        data: With `model`: (train, val, test) datasets or loaders, or a `LightningDataModule`.
        out: The run directory; None: `runs/` and a name.
        resume: A run directory to go on with, in place of all else.
        overwrite: Replace a run that is in `out`.
        target: With data in place of a recipe: the column to predict.
        accept_data_change: With `resume`: go on though the data is not what it was, which ends the promise of equal
            bits.
        progress: Who shows what happens.

    Raises:
        InputError: What was given is wrong; nothing was trained.
        RunFailed: Training could not go on; the run directory stays, and says how to resume.
    """
    progress = progress or Progress()
    if model is not None and data is None:
        raise DataError("data: give datasets, loaders or a LightningDataModule beside the model")
    if resume is not None and (recipe is not None or not _devices_alone(overrides) or out is not None):
        raise RecipeError("resume goes on with a run as it is; begin a new one to change its recipe, settings or place")
    if accept_data_change and resume is None:
        raise RecipeError("--accept-data-change is about a run that goes on: torchkiln fit --resume RUN "
                          "--accept-data-change")  # fmt: skip
    if recipe is None and model is None and resume is None:
        raise RecipeError("give a recipe, data, or model and data")
    # All that can be told without torch comes first: a slip of the pen is answered at once.
    directory = RunDirectory.open(resume) if resume is not None else None
    if directory is not None:
        loaded = recipes.load(directory.path / RECIPE, overrides, check_paths=False)
    elif model is not None:
        written = recipe if isinstance(recipe, Mapping) else {}
        loaded = recipes.load({"task": "custom", "data": {}, **written}, overrides, check_paths=False)
    else:
        loaded = _load(recipe, overrides, target)
    stem = recipe if isinstance(recipe, str | Path) else type(model).__name__ if model is not None else loaded.task
    place = Place(Path(out) if out is not None else next_name(stem, Path("runs")), overwrite)
    if directory is None and CHILD not in os.environ:
        RunDirectory.check_free(place.path, overwrite)
    with _training_extra(), _full_disk(directory.path if directory else place.path):
        from torchkiln.stages import from_parts, from_recipe
        from torchkiln.stages.going_on import Wish

        parts = None if model is None else from_parts.Parts(model, loss, optimizer, data)
        if parts is None and loaded.data.class_path:
            parts = from_parts.from_recipe(loaded)
        if directory is not None:
            wish = Wish(loaded.train.devices if overrides else None, accept_data_change)
            if loaded.task == "custom":
                return Run(from_parts.resume(directory, parts, wish, progress))
            return Run(from_recipe.resume(directory, wish, progress))
        if parts is not None:
            return Run(from_parts.start(parts, loaded, place, progress))
        return Run(from_recipe.start(loaded, place, progress))


def test(  # a verb of ours and no test of pytest's
    run: str | Path | Run,
    data: str | Path | None = None,  # noqa: PT028
    *,
    progress: Progress | None = None,  # noqa: PT028
) -> dict[str, Any]:
    """Held-out metrics of a run's best weights with 95 % intervals, baselines beside them.

    Args:
        run: The run, or its directory.
        data: Labelled data of the same form; None: the run's own test split, which rewrites test.json.
    """
    with _training_extra():
        from torchkiln.stages import use

        return use.test(_open(run), data, progress or Progress())


def predict(
    run: str | Path | Run, inputs: str | Path | Sequence[str | Path] | Any, out: str | Path | None = None
) -> pl.DataFrame:
    """Predictions for new inputs.

    Args:
        run: The run, or its directory.
        inputs: Files or folders: pictures, tables; texts as a file; or a polars data frame.
        out: A .csv, .parquet or .jsonl file to write as well.

    Returns:
        One row an input: `key`, `prediction`, and for classes `confidence` and `p_CLASS` each.
    """
    if out is not None:
        _writer_suffix(Path(out))
    with _training_extra():
        from torchkiln.stages import use

        table = use.predict(_open(run), inputs)
    if out is not None:
        _write_table(table, Path(out))
    return table


def report(run: str | Path | Run) -> Path:
    """Write a run's report anew from its files, and say where it is."""
    from torchkiln.report import page

    return page.write(_open(run).path)


def compare(runs: Sequence[str | Path | Run]) -> dict[str, Any]:
    """Metrics of runs side by side, settings that differ, and whether the scores truly differ."""
    from torchkiln.report import compare as comparing

    if len(runs) < 2:
        raise RunError("compare needs at least two runs")
    return comparing.compare([_open(run).path for run in runs])


def verify(run: str | Path | Run) -> dict[str, Any]:
    """Check every file of a run's checkpoints.

    Returns:
        `ok`, `text`, `checkpoints` (each with its `fault`, if any), `resume_from` (a step), `complete` and `best`.
    """
    from torchkiln.runs.verify import verify as verify_run

    return verify_run(_open(run))


def schema(of: str = "recipe") -> dict[str, Any]:
    """The JSON Schema of a `recipe`, or of the `findings` of lint.

    Raises:
        RecipeError: There is no schema of that name.
    """
    if of == "findings":
        from torchkiln.checks import finding

        return finding.json_schema()
    if of != "recipe":
        raise RecipeError(f"there is no schema {of!r}{did_you_mean(of, ['recipe', 'findings'])}")
    return recipes.json_schema()


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


def _open(run: str | Path | Run) -> RunDirectory:
    return run.directory if isinstance(run, Run) else RunDirectory.open(run)


def _load(recipe: Any, overrides: Any, target: str | None) -> Recipe:
    """A recipe, or the one proposed for the data that was given in its place."""
    if not isinstance(recipe, str | Path):
        return recipes.load(recipe, overrides)
    path = Path(recipe)
    if path.suffix.lower() in (".yaml", ".yml") and not path.is_dir():
        return recipes.load(path, overrides)
    if path.is_dir() and (path / RECIPE).is_file():
        raise RecipeError(f"{path} is a run directory; repeat it by {path / RECIPE}, or go on by --resume {path}")
    if not path.exists():
        raise RecipeError(_not_there(path, "a recipe (.yaml), or a folder or file of data"))
    return recipes.loads(_proposal(path, str(path), target or _target_of(overrides)), overrides)


def _devices_alone(overrides: Mapping[str, Any] | Sequence[str]) -> bool:
    """Whether nothing but the number of processes is to change."""
    return all(str(o).partition("=")[0] == "train.devices" for o in overrides)


def _target_of(overrides: Mapping[str, Any] | Sequence[str]) -> str | None:
    """What the overrides say of `data.target`, so that it need not be guessed."""
    if isinstance(overrides, Mapping):
        found = overrides.get("data.target")
        return None if found is None else str(found)
    said = [o.partition("=")[2] for o in overrides if o.startswith("data.target=")]
    return said[-1] if said else None


def _proposal(data: str | Path, written: str, target: str | None) -> str:
    """A recipe for `data`, which it names as `written`."""
    from torchkiln.data import facts, sources
    from torchkiln.recipe.propose import propose

    path = Path(data)
    if not path.exists():
        raise DataError(_not_there(path, "a folder or a file of data"))
    return propose(facts.gather(sources.look(path), written), target)


def _writer_suffix(file: Path) -> str:
    """The file's suffix, if predictions can be written so."""
    suffix = file.suffix.lower()
    if suffix not in (".csv", ".parquet", ".jsonl"):
        raise InputError(f"{file}: predictions are written as .csv, .parquet or .jsonl")
    return suffix


def _not_there(path: Path, wanted: str) -> str:
    near = nearest(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else None
    return f"{path} does not exist; " + (f"did you mean {path.with_name(near)}?" if near else f"give {wanted}")


def _write_table(table: pl.DataFrame, file: Path) -> None:
    match _writer_suffix(file):
        case ".csv":
            table.write_csv(file)
        case ".parquet":
            table.write_parquet(file)
        case _:
            table.write_ndjson(file)


@contextmanager
def _training_extra() -> Iterator[None]:
    """A missing torch or Lightning is answered with the extra that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        brings = {"torch": "train", "torchvision": "train", "lightning": "train", "sklearn": "train",
                  "psutil": "train", "safetensors": "train", "tokenizers": "train", "transformers": "text",
                  "timm": "timm"}  # fmt: skip
        name = (error.name or "").partition(".")[0]
        if name not in brings:
            raise
        raise MissingExtra(name, brings[name]) from error


@contextmanager
def _full_disk(run: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        where = f" at {error.filename}" if error.filename else ""
        onward = f"torchkiln fit --resume {run}" if (run / RECIPE).is_file() else "start again"
        raise RunFailed(f"the disk is full{where}; make room, then: {onward}") from error
