"""Rows as records: what training typed is said again as a person would write it."""

import datetime
from pathlib import Path

import numpy as np
import polars as pl

from torchkiln.codec import table_fit
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.text import NgramCodec
from torchkiln.deploy import raw


def test_rows_of_a_table() -> None:
    frame = pl.DataFrame(
        {
            "key": [f"t:{i}" for i in range(60)],
            "age": [str(i) if i % 5 else "?" for i in range(60)],
            "size": [float(i) if i % 7 else float("nan") for i in range(60)],
            "town": [["Ulm", "Bonn", None][i % 3] for i in range(60)],
            "since": [datetime.date(2020, 1 + i % 12, 3) for i in range(60)],
        }
    )
    codec, _ = table_fit.fit(frame, np.arange(60) % 2, classes=True, exclude=["key"])
    assert sorted(raw.columns(codec)) == ["age", "since", "size", "town"]
    found = raw.records(frame, codec)
    assert len(found) == 60
    assert found[0] == {"age": None, "size": None, "town": "Ulm", "since": datetime.date(2020, 1, 3)}
    assert found[1] == {"age": 1.0, "size": 1.0, "town": "Bonn", "since": datetime.date(2020, 2, 3)}
    back = codec.encode(pl.DataFrame(found, infer_schema_length=None))
    assert all((back[name] == array).all() for name, array in codec.encode(frame).items())  # type: ignore[union-attr]


def test_pictures_by_path_bytes_and_in_hugging_faces_way() -> None:
    codec = ImageCodec("image", 8)
    assert raw.records(pl.DataFrame({"image": ["a.png"]}), codec) == [{"image": Path("a.png")}]
    assert raw.records(pl.DataFrame({"image": [b"123"]}), codec) == [{"image": b"123"}]
    packed = pl.DataFrame({"image": [{"bytes": b"123", "path": "a.png"}]})
    assert raw.records(packed, codec) == [{"image": b"123"}]


def test_a_text_that_is_missing_is_an_empty_one() -> None:
    frame = pl.DataFrame({"text": ["a film", None]})
    assert raw.records(frame, NgramCodec.fit(frame, "text")) == [{"text": "a film"}, {"text": ""}]
