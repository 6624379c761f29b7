from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.data.source import Kind
from torchkiln.data.sources import look, read
from torchkiln.errors import DataError
from torchkiln.recipe.schema import Data

DATA = os.environ.get("TORCHKILN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TORCHKILN_DATA names no folder of data sets")


def picture(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("note,n,label\n" + "".join(f"the note of row {i},{i / 2},{'ab'[i % 2]}\n" for i in range(20)))
    return path


def test_a_table_is_read_as_table_or_as_text(table: Path) -> None:
    assert read(Data(path=str(table)), "table").kind == "table"
    assert read(Data(path=str(table), text="note"), "text").kind == "text"


def test_separate_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("a,y\n1,x\n")
    source = read(Data(train=str(tmp_path / "one.csv"), test=str(tmp_path / "two.csv")), "table")
    assert source.frame.select("key", "split").rows() == [("one.csv:1", "train"), ("two.csv:1", "test")]


@pytest.mark.parametrize("kind", ["images", "table", "text"])
def test_an_empty_folder(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="none is empty"):
        read(Data(path=str(tmp_path / "none")), kind)
    with pytest.raises(DataError, match="none is empty"):
        look(tmp_path / "none")


def test_a_path_that_is_not_there_is_answered_with_the_nearest(table: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: .*tt\.csv does not exist; did you mean .*t\.csv"):
        read(Data(path=str(table.with_name("tt.csv"))), "table")
    with pytest.raises(DataError, match=r"data\.train: .*nowhere"):
        read(Data(train="/nowhere/x.csv"), "table")


def test_the_same_file_twice(table: Path) -> None:
    with pytest.raises(DataError, match="different"):
        read(Data(train=str(table), test=str(table)), "table")


def test_a_column_of_text_that_is_not_there(table: Path) -> None:
    with pytest.raises(DataError, match=r"data\.text: .*'notes'.*'note'"):
        read(Data(path=str(table), text="notes"), "text")


def test_a_table_without_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match=r"name it by data\.text \(columns are a, b\)"):
        read(Data(path=str(tmp_path)), "text")


def test_pictures_for_a_table(tmp_path: Path) -> None:
    picture(tmp_path / "a/1.png")
    with pytest.raises(DataError, match="holds no table"):
        read(Data(path=str(tmp_path)), "table")


def test_a_folder_of_pictures_with_a_list_beside(tmp_path: Path) -> None:
    for i in range(2):
        picture(tmp_path / f"photos/{i}.png")
    (tmp_path / "labels.csv").write_text("file,label\n0.png,a\n1.png,b\n")
    for source in (read(Data(path=str(tmp_path)), "images"), look(tmp_path)):
        assert source.kind == "images"
        assert source.frame["label"].to_list() == ["a", "b"]


def test_class_folders_win_over_a_table_beside_them(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        picture(tmp_path / name)
    (tmp_path / "notes.csv").write_text("x,y\n1,2\n")
    for source in (read(Data(path=str(tmp_path)), "images"), look(tmp_path)):
        assert source.frame["label"].to_list() == ["a", "b"]


def test_look_finds_the_kind(tmp_path: Path, table: Path) -> None:
    assert look(table).kind == "table"
    text = tmp_path / "text.tsv"
    text.write_text("sentence\tlabel\n" + "".join(f"a sentence of words {i}\t{i % 2}\n" for i in range(20)))
    assert look(text).kind == "text"
    data = [picture(tmp_path / "p" / f"{i}.png") for i in range(2)]
    pl.DataFrame({"image": data, "label": ["a", "b"]}).write_parquet(tmp_path / "t.parquet")
    assert look(tmp_path / "t.parquet").kind == "images"


@needs_data
@pytest.mark.parametrize(
    ("name", "kind", "rows"),
    [
        ("adult", "table", 48842),
        ("california_housing", "table", 20640),
        ("titanic/titanic.csv", "table", 891),
        ("segment", "table", 2310),
        ("penguins", "table", 344),
        ("sst2", "text", 9613),
        ("banking77", "text", 13083),
        ("cifar10", "images", 35000),
        ("hymenoptera", "images", 397),
    ],
)
def test_look_at_real_sets(name: str, kind: Kind, rows: int) -> None:
    source = look(Path(DATA or "") / name)
    assert (source.kind, len(source.frame)) == (kind, rows)
    assert source.frame["key"].n_unique() == rows
