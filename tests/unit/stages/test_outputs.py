"""Files that a verb writes where a person names them."""

from pathlib import Path

import polars as pl
import pytest

from torchkiln.errors import InputError
from torchkiln.stages import outputs


def test_predictions_are_written_in_three_forms(tmp_path: Path) -> None:
    frame = pl.DataFrame({"key": ["a"], "prediction": ["x"]})
    for name, read in (("p.csv", pl.read_csv), ("p.parquet", pl.read_parquet), ("p.jsonl", pl.read_ndjson)):
        outputs.write_table(frame, tmp_path / name)
        assert read(tmp_path / name).equals(frame)
    with pytest.raises(InputError, match=r"\.csv, \.parquet or \.jsonl"):
        outputs.write_table(frame, tmp_path / "p.xlsx")


def test_a_trace_goes_where_it_can_be_written(tmp_path: Path) -> None:
    assert outputs.trace_file(tmp_path / "t.json.gz") == tmp_path / "t.json.gz"
    for file, why in ((tmp_path / "t.txt", "written as .json"), (tmp_path / "none" / "t.json", "no folder")):
        with pytest.raises(InputError, match=why):
            outputs.trace_file(file)
