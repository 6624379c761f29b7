"""The worst mistakes, with the picture, the text or the row."""

from __future__ import annotations

import base64
import io
import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels, Number
from torchkiln.evaluation import mistakes

LABELS = Labels("y", ["cat", "dog"])
TABLE: Any = object()


def test_the_surest_mistakes_come_first_and_hits_are_left_out() -> None:
    frame = pl.DataFrame({"key": ["a", "b", "c", "d"], "split": "test", "x": [1, 2, 3, 4], "y": ["cat"] * 4})
    p = np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.6, 0.4]], np.float32)
    found = mistakes.worst(frame, np.zeros(4, int), p, TABLE, LABELS, None)
    assert [one["key"] for one in found] == ["c", "a"]
    assert (found[0]["target"], found[0]["prediction"], found[0]["row"]) == ("cat", "dog", {"x": 3})
    assert abs(found[0]["confidence"] - 0.9) < 1e-6
    assert abs(found[0]["loss"] - -np.log(0.1)) < 1e-5


def test_the_largest_errors_come_first() -> None:
    frame = pl.DataFrame({"key": ["a", "b", "c"], "y": [1.0, 2.0, 3.0], "x": [1, 2, 3]})
    prediction = np.array([1.5, 2.0, -3.0], np.float32)
    found = mistakes.worst(frame, frame["y"].to_numpy(), prediction, TABLE, Number("y", 0, 1, 0, 1), None)
    assert [(one["key"], one["error"], one["loss"]) for one in found] == [("c", -6.0, 6.0), ("a", 0.5, 0.5)]


def test_no_more_than_a_page_of_them() -> None:
    frame = pl.DataFrame({"key": [str(i) for i in range(200)], "x": range(200)})
    found = mistakes.worst(frame, np.zeros(200, int), np.tile([[0.1, 0.9]], (200, 1)), TABLE, LABELS, None)
    assert len(found) == mistakes.MOST


def test_texts_are_cut_and_missing_ones_empty() -> None:
    frame = pl.DataFrame({"key": ["a", "b"], "said": ["word " * 300, None]})
    found = mistakes.worst(frame, np.zeros(2, int), np.tile([[0.1, 0.9]], (2, 1)), None, LABELS, "said")
    assert len(found[0]["text"]) <= 600
    assert found[0]["text"].endswith("word…")
    assert found[1]["text"] == ""


def test_cells_become_json() -> None:
    frame = pl.DataFrame(
        {
            "key": ["a"],
            "when": [date(2020, 1, 2)],
            "raw": [b"abc"],
            "gap": [None],
            "nan": [float("nan")],
            "n": [3],
        }
    )
    (found,) = mistakes.worst(frame, np.array([0]), np.array([[0.1, 0.9]]), TABLE, LABELS, None)
    assert found["row"] == {"when": "2020-01-02", "raw": "3 bytes", "gap": None, "nan": None, "n": 3}
    json.dumps(found, allow_nan=False)


def test_pictures_become_small_jpegs_and_one_that_has_gone_none() -> None:
    held = io.BytesIO()
    Image.new("RGB", (800, 400), "red").save(held, "PNG")
    frame = pl.DataFrame({"key": ["a", "b"], "image": [held.getvalue(), b"no picture"]})
    found = mistakes.worst(
        frame, np.zeros(2, int), np.tile([[0.1, 0.9]], (2, 1)), ImageCodec("image", 64), LABELS, None
    )
    head, _, body = found[0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (160, 80)
    assert found[1]["image"] is None
