"""What Python users call; the command line's verbs are these functions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchkiln.checks import asking
from torchkiln.errors import RecipeError, RunError
from torchkiln.recipe import load as recipes
from torchkiln.recipe.schema import Recipe
from torchkiln.runs.directory import CHILD, RECIPE, Place, RunDirectory, next_name
from torchkiln.runs.progress import Progress
from torchkiln.stages import given, outputs
from torchkiln.stages.on_demand import full_disk, training_extra

if TYPE_CHECKING:
    import polars as pl

    from torchkiln.stages import from_parts

lint, rule, rules, diagnose, ready = asking.lint, asking.rule, asking.rules, asking.diagnose, asking.ready


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

    def export(self, out: str | Path | None = None, **wish: Any) -> dict[str, Any]:
        """As `torchkiln.export`."""
        return export(self.path, out, **wish)

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
        return given.proposal(data, str(data), target)
    file = Path(out)
    if file.exists() and not overwrite:
        raise RunError(f"{file} exists; choose another with --out or replace it with --overwrite")
    # a recipe's paths start at its own folder
    text = given.proposal(data, os.path.relpath(data, file.resolve().parent), target)
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
    if resume is not None and (recipe is not None or not given.devices_alone(overrides) or out is not None):
        raise RecipeError("resume goes on with a run as it is; begin a new one to change its recipe, settings or place")
    if accept_data_change and resume is None:
        raise RecipeError("--accept-data-change is about a run that goes on: torchkiln fit --resume RUN "
                          "--accept-data-change")  # fmt: skip
    if resume is None or model is not None:
        given.check(recipe, model, data)
    # All that can be told without torch comes first: a slip of the pen is answered at once.
    directory = RunDirectory.open(resume) if resume is not None else None
    if directory is not None:
        loaded = recipes.load(directory.path / RECIPE, overrides, check_paths=False)
    else:
        loaded = given.recipe_of(recipe, overrides, model, target)
    stem = recipe if isinstance(recipe, str | Path) else type(model).__name__ if model is not None else loaded.task
    place = Place(Path(out) if out is not None else next_name(stem, Path("runs")), overwrite)
    if directory is None and CHILD not in os.environ:
        RunDirectory.check_free(place.path, overwrite)
    with training_extra(), full_disk(directory.path if directory else place.path):
        from torchkiln.stages import from_parts, from_recipe
        from torchkiln.stages.going_on import Wish

        parts = _parts(loaded, model, loss, optimizer, data)
        if directory is not None:
            wish = Wish(loaded.train.devices if overrides else None, accept_data_change)
            if loaded.task == "custom":
                return Run(from_parts.resume(directory, parts, wish, progress))
            return Run(from_recipe.resume(directory, wish, progress))
        if parts is not None:
            return Run(from_parts.start(parts, loaded, place, progress))
        return Run(from_recipe.start(loaded, place, progress))


def plan(
    recipe: str | Path | Mapping[str, Any] | Recipe | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    data: Any = None,
    target: str | None = None,
    out: str | Path | None = None,
    anew: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Decide how a recipe, or a person's own net, runs on this machine, by measuring it; nothing is trained.

    Args:
        recipe, overrides, model, loss, optimizer, data, target: As for `fit`.
        out: A file to write the result to, as JSON.
        anew: Measure although an earlier run of the same net and batch did.
        overwrite: Replace a file that is in `out`.
        progress: Who shows what happens.

    Returns:
        As plan.json: `decisions`, `seconds`, `measured`, `estimates`; and `recipe`, with every `auto` replaced.

    Raises:
        InputError: What was given is wrong.
    """
    file = None if out is None else Path(out)
    if file is not None and file.exists() and not overwrite:
        raise RunError(f"{file} exists; choose another with --out or replace it with --overwrite")
    if file is not None and not file.absolute().parent.is_dir():
        raise RunError(f"{file.parent} is no folder to write {file.name} to; make it, or choose another with --out")
    given.check(recipe, model, data)
    loaded = given.recipe_of(recipe, overrides, model, target)
    with training_extra():
        from torchkiln.stages import planning

        found = planning.plan(loaded, _parts(loaded, model, loss, optimizer, data), progress or Progress(), anew)
    if file is not None:
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False, default=str))
    return found


def profile(
    recipe: str | Path | Mapping[str, Any] | Recipe | Run | None = None,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    *,
    model: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    data: Any = None,
    out: str | Path | None = None,
    target: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a short stretch as `fit` would, write no run, and say what bounds a step.

    Args:
        recipe: As for `fit`; or a run or its directory, whose plan is then taken.
        overrides, model, loss, optimizer, data, target: As for `fit`.
        out: A file for a trace that Perfetto shows, .json or .json.gz.
        progress: Who shows what happens.

    Returns:
        `bound` (input, compute, memory bandwidth, launch overhead or logging), `shares` of a step's time of each,
        `next`: the one change to try, and the figures behind them.

    Raises:
        InputError: What was given is wrong.
    """
    trace = None if out is None else outputs.trace_file(Path(out))
    progress = progress or Progress()
    run = _run_meant(recipe)
    if run is not None and overrides:
        raise RecipeError(f"a run is profiled as it was; for other settings: torchkiln profile {run.path / RECIPE} "
                          "KEY=VALUE")  # fmt: skip
    given.check(recipe, model, data)
    loaded = recipes.load(run.path / RECIPE) if run is not None else given.recipe_of(recipe, overrides, model, target)
    with training_extra():
        from torchkiln.stages import from_parts, from_recipe
        from torchkiln.stages import profile as stage

        alone = stage.alone(loaded)
        parts = _parts(loaded, model, loss, optimizer, data)
        if parts is not None:
            job = from_parts.job_of(parts, alone, run, progress)
        elif loaded.task == "custom":
            raise RunError(f"{run.path if run else 'this recipe'} has objects from Python for data; profile them by "
                           "torchkiln.profile(model=..., data=...)")  # fmt: skip
        else:
            job = from_recipe.job_of(alone, run, progress)
        return stage.profile(*job, trace, progress)


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
    with training_extra():
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
        outputs.table_suffix(Path(out))
    with training_extra():
        from torchkiln.stages import use

        table = use.predict(_open(run), inputs)
    if out is not None:
        outputs.write_table(table, Path(out))
    return table


def export(
    run: str | Path | Run,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] | None = None,
    model: Any = None,
    data: Any = None,
    loss: Any = None,
    overwrite: bool = False,
    as_zip: bool = False,
    sign: str | Path | None = None,
    include_rows: bool = False,
    licences: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a run's bundle: its net in files that others can run, each proven, with all that is needed to serve it.

    Args:
        run: The run, or its directory.
        out: The bundle's folder; None: `bundle` in the run directory.
        formats: Of onnx, pt2, aoti, torchscript and int8; None: onnx, pt2, and int8 where it pays.
        model, data, loss: As for `fit`, where the run was begun with objects.
        overwrite: Replace a bundle that is there, once the new one is whole.
        as_zip: Make it one file besides.
        sign: A PEM file with an Ed25519 key, to sign the manifest with.
        include_rows: Pack validation rows for a proof elsewhere, in place of made-up ones.
        licences: What `weights` and `data` stand under, for the model card.
        progress: Who shows what happens.

    Returns:
        `bundle`, its folder; `ok`, whether every file is proven; `table`, a row a file; `said`, what came of INT8; and
        `test`, the exported file's score beside the run's.

    Raises:
        InputError: The run cannot be exported, or there is a bundle already.
    """
    with training_extra():
        from torchkiln.stages import export as stage

        opened = _open(run)
        wish = stage.Wish(formats or stage.DEFAULT, out, overwrite, as_zip, sign, include_rows, licences or {})
        parts = _parts(recipes.load(opened.path / RECIPE, check_paths=False), model, loss, None, data)
        return stage.of_run(opened, parts, wish, progress or Progress())


def load(bundle: str | Path, form: str | None = None) -> Any:
    """The `nn.Module` of a bundle, or its file of `form` (pt2, aoti, torchscript) to be called, if it can run here."""
    with training_extra():
        from torchkiln.stages import use

        return use.rebuild(Path(bundle), form)


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
    """The JSON Schema of a `recipe`, or of the `findings` of checks."""
    return recipes.json_schema() if of == "recipe" else asking.schema(of)


def _open(run: str | Path | Run) -> RunDirectory:
    return run.directory if isinstance(run, Run) else RunDirectory.open(run)


def _parts(loaded: Recipe, model: Any, loss: Any, optimizer: Any, data: Any) -> from_parts.Parts | None:
    """What the person gave as objects, or names by class path."""
    from torchkiln.stages import from_parts

    if model is not None:
        return from_parts.Parts(model, loss, optimizer, data)
    return from_parts.from_recipe(loaded) if loaded.data.class_path else None


def _run_meant(recipe: Any) -> RunDirectory | None:
    """The run, where a run or its directory was given."""
    if isinstance(recipe, Run):
        return recipe.directory
    is_run = isinstance(recipe, str | Path) and (Path(recipe) / RECIPE).is_file()
    return RunDirectory.open(recipe) if is_run else None
