"""A run that has ended: tested again, on new data, and used for predictions."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from torchkiln import Run
from torchkiln.errors import DataError, RunError

Fit = Callable[..., Run]


def test_testing_again_and_on_new_data(fit: Fit, table: Path, tmp_path: Path) -> None:
    run = fit()
    before = run.scores
    assert run.test()["metrics"] == before["metrics"]
    held_out = pl.read_parquet(run.path / "splits.parquet").filter(pl.col("split") == "test")["key"]
    rows = pl.read_csv(table)[[int(k.rpartition(":")[2]) - 1 for k in held_out]]
    rows.write_csv(tmp_path / "new.csv")
    assert run.test(tmp_path / "new.csv")["metrics"]["accuracy"]["value"] == before["metrics"]["accuracy"]["value"]
    assert run.scores == before
    rows.drop("y").write_csv(tmp_path / "bare.csv")
    with pytest.raises(DataError, match="torchkiln predict"):
        run.test(tmp_path / "bare.csv")
    table.unlink()  # the model can be tested where its training data never was
    without = run.test(tmp_path / "new.csv")
    assert without["metrics"] == before["metrics"]
    assert without["baselines"] == []
    assert any("no baselines" in note for note in without["notes"])
    with pytest.raises(DataError, match=r"t\.csv does not exist"):
        run.test()


def test_predictions_are_those_of_the_test(fit: Fit, table: Path) -> None:
    run = fit()
    held_out = pl.read_parquet(run.path / "predictions.parquet")
    found = run.predict(table).join(held_out, on="key", suffix="_then")
    assert len(found) == len(held_out)
    assert found["prediction"].equals(found["prediction_then"], check_names=False)
    assert (found["confidence"] - found["confidence_then"]).abs().max() < 1e-6  # type: ignore[operator]


def test_data_that_has_changed_is_not_tested_as_if_it_had_not(fit: Fit, table: Path) -> None:
    run = fit()
    table.write_text(table.read_text().replace("up", "down", 1))
    with pytest.raises(DataError, match="has changed since it was trained"):
        run.test()


def test_a_codec_that_cannot_be_read_is_told(fit: Fit, table: Path) -> None:
    run = fit()
    (run.path / "codec.json").write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"codec\.json cannot be read .*another version"):
        run.predict(table)
