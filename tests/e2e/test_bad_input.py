"""Wrong input ends with exit code 2 and one sentence that says what, where and what would be right.

The command's own `main` is called in this process, which spares each case a start of its own.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest


class Case(NamedTuple):
    """How the input is spoilt, and the words that the sentence must hold."""

    arguments: Callable[[Path, Path, Path], list[str | Path]]
    """(folder to write in, a good folder of images, a good table) -> arguments of the command."""
    words: tuple[str, ...]
    slow: bool = False


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def empty_folder(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    (folder / "nothing").mkdir()
    return ["fit", "nothing"]


def missing_path(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    shutil.copy(table, folder / "customers.csv")
    return ["fit", "costumers.csv"]


def one_class_of_images(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    shutil.copytree(shapes / "disc", folder / "pictures" / "disc")
    return ["fit", "pictures"]


def one_class_of_rows(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    pl.read_csv(table).with_columns(stays=pl.lit("yes")).write_csv(folder / "t.csv")
    text = "task: table_classification\ndata: {path: t.csv, target: stays}\n"
    return ["fit", recipe(folder, text)]


def class_never_seen(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    for split in ("train", "val", "test"):
        shutil.copytree(shapes, folder / "pictures" / split)
    shutil.copytree(shapes / "disc", folder / "pictures" / "test" / "star")
    return ["fit", "pictures"]


def missing_labels(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    rows = pl.read_csv(table).with_row_index("n")
    rows.with_columns(stays=pl.when(pl.col("n") >= 7).then("stays")).drop("n").write_csv(folder / "t.csv")
    text = "task: table_classification\ndata: {path: t.csv, target: stays}\n"
    return ["fit", recipe(folder, text)]


def target_of_nan(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    rows = pl.read_csv(table).with_row_index("n")
    nan = pl.when(pl.col("n") == 3).then(pl.lit("NaN")).otherwise(pl.col("spent").cast(pl.String))
    rows.with_columns(spent=nan).drop("n").write_csv(folder / "t.csv")
    return ["fit", recipe(folder, "task: table_regression\ndata: {path: t.csv, target: spent}\n")]


def missing_column(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    shutil.copy(table, folder / "t.csv")
    return ["fit", recipe(folder, "task: table_classification\ndata: {path: t.csv, target: stay}\n")]


def three_rows(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    pl.read_csv(table).head(3).write_csv(folder / "t.csv")
    return ["fit", recipe(folder, "task: table_classification\ndata: {path: t.csv, target: stays}\n")]


def ragged_lines(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    lines = table.read_text(encoding="utf-8").splitlines()
    lines[9] += ",one,two"
    (folder / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return ["fit", recipe(folder, "task: table_classification\ndata: {path: t.csv, target: stays}\n")]


def only_a_head(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    (folder / "t.csv").write_text("a,b,c\n", encoding="utf-8")
    return ["fit", "t.csv"]


def with_recipe(text: str, *more: str) -> Callable[[Path, Path, Path], list[str | Path]]:
    """A good table, and a recipe with one fault."""

    def arguments(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
        shutil.copy(table, folder / "t.csv")
        return ["fit", recipe(folder, text), *more]

    return arguments


def existing_run(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    shutil.copy(table, folder / "t.csv")
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text("task: x\n", encoding="utf-8")
    return ["fit", recipe(folder, GOOD), "--out", "run"]


def foreign_folder(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    shutil.copy(table, folder / "t.csv")
    (folder / "home").mkdir()
    (folder / "home" / "diary.txt").write_text("mine", encoding="utf-8")
    return ["fit", recipe(folder, GOOD), "--out", "home", "--overwrite"]


def file_in_the_way(folder: Path, shapes: Path, table: Path) -> list[str | Path]:
    """Nobody, root included, can make a folder below a file."""
    shutil.copy(table, folder / "t.csv")
    (folder / "runs").write_text("a file", encoding="utf-8")
    return ["fit", recipe(folder, GOOD), "--out", "runs/one"]


GOOD = "task: table_classification\ndata: {path: t.csv, target: stays}\n"
CASES = {
    "an empty folder": Case(empty_folder, ("nothing", "empty")),
    "a path that is not there": Case(missing_path, ("costumers.csv", "customers.csv")),
    "one class of images": Case(one_class_of_images, ("disc", "two")),
    "one class of rows": Case(one_class_of_rows, ("stays", "yes", "two")),
    "a class training never saw": Case(class_never_seen, ("star",)),
    "missing labels": Case(missing_labels, ("stays", "7", "unlabelled")),
    "a target of NaN": Case(target_of_nan, ("spent", "1")),
    "a column that is not there": Case(missing_column, ("'stay'", "'stays'")),
    "three rows": Case(three_rows, ("3",)),
    "ragged lines": Case(ragged_lines, ("t.csv", "10", "9", "7")),
    "only a head": Case(only_a_head, ("t.csv",)),
    "no such task": Case(with_recipe(GOOD.replace("table_class", "tabel_class")), ("'table_classification'",)),
    "no such key": Case(with_recipe(GOOD + "train: {epoch: 3}\n"), ("train.epoch", "epochs")),
    "several faults at once": Case(
        with_recipe(GOOD + "train: {epoch: 3, batch_size: big}\nmodle: mlp\n"),
        ("train.epoch", "train.batch_size", "modle", "model"),
    ),
    "a wrong type": Case(with_recipe(GOOD + "train: {epochs: many}\n"), ("train.epochs", "many")),
    "a wrong override": Case(with_recipe(GOOD, "train.epochs=many"), ("train.epochs", "many")),
    "an override without =": Case(with_recipe(GOOD, "train.epochs"), ("train.epochs", "=")),
    "an unknown override": Case(with_recipe(GOOD, "trian.epochs=3"), ("trian", "train")),
    "no such model": Case(with_recipe(GOOD + "model: tabn\n"), ("tabn", "tabm")),
    "no such argument of a model": Case(
        with_recipe(GOOD + "model: {name: mlp, args: {widht: 8}}\n"), ("widht", "width")
    ),
    "no such metric": Case(with_recipe(GOOD + "train: {monitor: acuracy}\n"), ("acuracy", "accuracy")),
    "no such class path": Case(with_recipe(GOOD + "model: {class_path: my_nets.Net}\n"), ("model", "my_nets")),
    "a recipe that is no YAML": Case(with_recipe("task: [\n"), ("recipe.yaml", "line")),
    "an empty recipe": Case(with_recipe(""), ("recipe.yaml", "empty")),
    "a run that exists": Case(existing_run, ("run", "--resume", "--overwrite")),
    "a folder that is no run": Case(foreign_folder, ("home", "diary.txt")),
    "a run directory that cannot be written": Case(file_in_the_way, ("runs/one", "--out")),
    "a run that is not there": Case(lambda folder, shapes, table: ["test", "runs/none"], ("runs/none",)),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_one_sentence(name: str, here: Any, shapes: Path, customers: Path, tmp_path: Path) -> None:
    case = CASES[name]
    arguments = case.arguments(tmp_path, shapes, customers)
    before = contents(tmp_path)
    code, out, errors = here(*arguments, cwd=tmp_path)
    assert code == 2, out + errors
    assert "Traceback" not in errors
    message = errors[errors.index("error:") :]
    assert [word for word in case.words if word not in message] == [], errors
    assert {k: v for k, v in contents(tmp_path).items() if k in before} == before, "something was lost"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_faults_are_told_to_machines_too(here: Any, customers: Path, tmp_path: Path) -> None:
    shutil.copy(customers, tmp_path / "t.csv")
    path = recipe(tmp_path, GOOD + "train: {epoch: 3}\n")
    code, out, _ = here("fit", path, "--json", cwd=tmp_path)
    assert code == 2
    assert "train.epoch" in json.loads(out)["error"]["message"]


def spoil(data: Path) -> tuple[str, ...]:
    """Noise, half a picture and a text, all called pictures."""
    whole = (data / "disc" / "00.png").read_bytes()
    (data / "disc" / "noise.png").write_bytes(random.Random(0).randbytes(500))
    (data / "disc" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (data / "square" / "letter.jpg").write_text("Dear reader", encoding="utf-8")
    return "noise.png", "cut.png", "letter.jpg"


@pytest.mark.slow
def test_many_unreadable_pictures_stop_the_run(kiln: Any, shapes: Path, tmp_path: Path) -> None:
    shutil.copytree(shapes, tmp_path / "shapes")
    names = spoil(tmp_path / "shapes")
    done = kiln("fit", "shapes", "--out", "run", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert [name for name in names if name not in done.stderr] == []
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noise.png", "cut.png", "letter.jpg"])
def test_one_unreadable_picture_is_left_out(name: str, kiln: Any, shapes: Path, tmp_path: Path) -> None:
    data = tmp_path / "shapes"
    shutil.copytree(shapes, data)
    for other in set(spoil(data)) - {name}:
        next(data.rglob(other)).unlink()
    done = kiln("fit", data, "train.epochs=1", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert name in (tmp_path / "run" / "events.jsonl").read_text(encoding="utf-8")
    assert len(pl.read_parquet(tmp_path / "run" / "splits.parquet")) == 120


@pytest.mark.slow
def test_another_encoding_is_read(kiln: Any, customers: Path, tmp_path: Path) -> None:
    text = customers.read_text(encoding="utf-8").replace("family", "famille élargie")
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    path = recipe(tmp_path, GOOD + "train: {epochs: 1}\n")
    done = kiln("fit", path, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "élargie" in (tmp_path / "run" / "codec.json").read_text(encoding="utf-8")
