"""New inputs for a trained model."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.data.inputs import frame
from torchkiln.errors import DataError


def test_pictures_from_a_folder_below_it_and_one_alone(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("b.png", "in/a.jpg"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    assert frame(tmp_path, "images", None)["key"].to_list() == ["b.png", "in/a.jpg"]
    assert frame([tmp_path / "b.png"], "images", None)["image"].to_list() == [str(tmp_path / "b.png")]


def test_a_string_that_is_no_file_is_a_text(tmp_path: Path) -> None:
    found = frame(["I lost my card", "x" * 5000], "text", "text")
    assert found["text"].to_list() == ["I lost my card", "x" * 5000]


def test_a_table_and_a_frame(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("a,b\n1,x\n2,y\n")
    found = frame(tmp_path / "new.csv", "table", None)
    assert found["a"].to_list() == [1, 2] and found["key"].n_unique() == 2
    assert frame(pl.DataFrame({"a": [5]}), "table", None)["key"].to_list() == ["0"]


@pytest.mark.parametrize("given", ["gone.csv", [], ["gone.png"]])
def test_what_is_not_there_is_said(given: object, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="predict: "):
        frame(given, "images", None)


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        frame(tmp_path, "images", None)
