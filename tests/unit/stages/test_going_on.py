"""A run goes on as what it was, or says which recipe, data or machine is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import torchkiln
from torchkiln import Run
from torchkiln.data.source import Finding
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe import load as recipes
from torchkiln.runs.directory import CHILD, RunDirectory
from torchkiln.runs.progress import Progress
from torchkiln.stages import going_on
from torchkiln.stages.going_on import Wish

Fit = Callable[..., Run]
RECIPE = {"task": "table_classification", "data": {"path": "t.csv"}, "optimizer": {"lr": 0.1},
          "model": {"name": "mlp", "args": {"width": 8}}}  # fmt: skip


@pytest.fixture
def begun(tmp_path: Path) -> RunDirectory:
    """A run as far as its recipe goes."""
    return begin(tmp_path / "run", RECIPE)


def begin(path: Path, tree: dict[str, Any]) -> RunDirectory:
    run = RunDirectory.create(path)
    recipe = recipes.load(tree, check_paths=False)
    run.write_text("recipe.yaml", recipes.dump(recipe))
    run.write_json("environment.json", {"not_bitwise": []})
    going_on.write_begun(run, recipe, None, {"train": 45, "val": None})
    return run


def edit(run: RunDirectory, old: str, new: str) -> None:
    file = run.path / "recipe.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lr: 0.1", "lr: 0.2", r"optimizer\.lr was 0\.1 when this run began and is 0\.2; .*"
                               r"torchkiln fit .*recipe\.yaml optimizer\.lr=0\.2"),
        ("width: 8", "width: 8\n    depth: 3", r"model\.args\.depth was null when this run began and is 3"),
        ("name: mlp", "name: tabm", r'model\.name was "mlp" when this run began and is "tabm"; .* model\.name=tabm$'),
    ],
)  # fmt: skip
def test_an_edited_recipe_is_refused_by_its_key(begun: RunDirectory, old: str, new: str, said: str) -> None:
    edit(begun, old, new)
    with pytest.raises(RecipeError, match=said):
        going_on.checked_recipe(begun, Wish())


def test_a_recipe_may_be_laid_out_anew_and_say_where_the_data_lies_now(begun: RunDirectory, tmp_path: Path) -> None:
    edit(begun, str(Path.cwd() / "t.csv"), str(tmp_path / "moved.csv"))
    edit(begun, "lr: 0.1", "lr: 1.0e-1  # as it was")
    assert going_on.checked_recipe(begun, Wish()).data.path == str(tmp_path / "moved.csv")


def test_another_number_of_processes_needs_a_fixed_order(begun: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"trains on 1 and cannot go on bitwise on 2, since train\.exact is same"):
        going_on.checked_recipe(begun, Wish(devices=2))
    elastic = begin(tmp_path / "elastic", {**RECIPE, "train": {"exact": "elastic", "shards": 4, "devices": 1}})
    with pytest.raises(RecipeError, match="4 shards cannot be dealt to 3 devices"):
        going_on.checked_recipe(elastic, Wish(devices=3))
    assert going_on.checked_recipe(elastic, Wish(devices=2)).train.devices == 2
    # the processes that are started beside this one read the recipe for themselves
    assert recipes.load(elastic.path / "recipe.yaml", check_paths=False).train.devices == 2
    assert going_on.checked_recipe(elastic, Wish()).train.devices == 2
    assert [e["text"] for e in elastic.events()] == ["goes on with 2 processes, after 1"]


def test_datasets_of_another_length_are_refused_or_accepted_in_writing(begun: RunDirectory) -> None:
    going_on.check_samples(begun, {"train": 45, "val": None}, Wish(), Progress())
    with pytest.raises(DataError, match=r"the train dataset had 45 samples and has 46; .*--accept-data-change"):
        going_on.check_samples(begun, {"train": 46, "val": None}, Wish(), Progress())
    told: list[str] = []

    class Told(Progress):
        def message(self, text: str, level: str = "note") -> None:
            told.append(text)

    for _ in range(2):
        going_on.check_samples(begun, {"train": 46, "val": None}, Wish(accept_data_change=True), Told())
    reason = "the data was changed and accepted: the train dataset had 45 samples and has 46"
    assert begun.read_json("environment.json")["not_bitwise"] == [reason]
    assert told == [f"not bitwise: {reason}"]
    assert [(e["kind"], e["level"], e["text"]) for e in begun.events()] == [("resume", "warn", told[0])]


def test_what_is_known_before_training_is_said_before_training() -> None:
    recipe = recipes.load({**RECIPE, "train": {"device": "cuda"}}, check_paths=False)
    own = Finding("own_order", "warn", "its sampler is kept")
    assert [r.split()[0] for r in going_on.reasons_known(recipe, [own])] == ["its", "train.device"]
    steady = recipes.load({**RECIPE, "train": {"device": "cuda", "deterministic": True}}, check_paths=False)
    assert going_on.reasons_known(steady, [Finding("other", "warn", "x")]) == []


def test_further_processes_check_and_write_nothing(begun: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHILD, str(begun.path))
    edit(begun, "lr: 0.1", "lr: 0.2")
    going_on.checked_recipe(begun, Wish())
    going_on.check_samples(begun, {"train": 46}, Wish(), Progress())
    with going_on.alone(begun.path), going_on.alone(begun.path):
        assert begun.events() == []


# Whole runs


def half(run: Run) -> None:
    """As if it had been stopped before the test."""
    run.directory.write_json("stages.json", {})


@pytest.mark.slow
def test_data_that_has_changed_is_refused_by_its_file(fit: Fit, table: Path) -> None:
    run = fit()
    half(run)
    whole = table.read_text()
    table.write_text(whole + "0.5,0.5,up\n")
    with pytest.raises(DataError, match=r"began: t\.csv is another \(it had [\d,]+ bytes and has [\d,]+\); put it"):
        torchkiln.fit(resume=run.path)
    table.write_text(whole)
    table.touch()
    assert torchkiln.fit(resume=run.path).scores == run.scores


@pytest.mark.slow
def test_accepted_data_trains_on_no_row_that_was_held_out(fit: Fit, table: Path) -> None:
    run = fit()
    before = pl.read_parquet(run.path / "splits.parquet")
    half(run)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines, *(f"{9 + i}.5,{i}.5,up" for i in range(40))]) + "\n")
    torchkiln.fit(resume=run.path, accept_data_change=True)
    after = pl.read_parquet(run.path / "splits.parquet")
    assert len(after) == 340
    assert after.head(300).select("key", "split").equals(before.select("key", "split"))
    assert set(after.tail(40)["split"]) == {"train"}
    (reason,) = run.directory.read_json("environment.json")["not_bitwise"]
    assert "t.csv is another" in reason
    assert any(e["text"] == f"not bitwise: {reason}" and e["level"] == "warn" for e in run.directory.events())
    codec = (run.path / "codec.json").read_bytes()
    half(run)
    torchkiln.fit(resume=run.path)  # it need not be accepted again, and the codec is that of the weights
    assert (run.path / "codec.json").read_bytes() == codec
    assert len(run.directory.read_json("environment.json")["not_bitwise"]) == 1


@pytest.mark.slow
def test_another_version_goes_on_and_is_said_once(fit: Fit) -> None:
    run = fit()
    assert run.directory.read_json("environment.json")["not_bitwise"] == []
    assert "holds" in run.report.read_text()
    file = run.path / "environment.json"
    known = json.loads(file.read_text())
    now = known["versions"]["torch"]
    known["versions"]["torch"] = "1.0.0"
    file.write_text(json.dumps(known))
    for _ in range(2):
        half(run)
        torchkiln.fit(resume=run.path)
    reason = f"torch was 1.0.0 and is {now}"
    assert run.directory.read_json("environment.json")["not_bitwise"] == [reason]
    assert [e["text"] for e in run.directory.events() if e["kind"] == "resume"] == [f"not bitwise: {reason}"]
    assert f"not bitwise: {reason}" in run.report.read_text()
