"""A person's data as one table."""

from pathlib import Path

import polars as pl

from torchkiln.data.source import Source


def test_the_rows_of_a_split_keep_their_order() -> None:
    frame = pl.DataFrame({"key": ["a", "b", "c", "d"], "split": ["train", "test", "train", None]})
    source = Source("table", frame, Path("."), "")
    assert source.rows("train")["key"].to_list() == ["a", "c"]
    assert source.rows("val").is_empty()
