"""A run that has ended: tested again, on new data, and used for predictions."""

from collections.abc import Callable
from pathlib import Path

import bundles
import polars as pl
import pytest
import torch

import torchkiln
from torchkiln import Run
from torchkiln.deploy import fresh
from torchkiln.errors import BundleError, DataError, RunError

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


def test_a_file_of_a_bundle_is_opened_where_it_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"file": "model.onnx", "proven": True, "inputs": {}, "outputs": {}}
    here = {"torch": str(torch.__version__)}
    parts = {
        "models": {
            "onnx": usual,
            "pt2": {**usual, "machine": here},
            "aoti": {**usual, "machine": {**here, "instructions": "avx9000"}},
            "torchscript": {**usual, "machine": {"torch": "1.0.0"}},
        }
    }
    folder = bundles.tensors(tmp_path / "b", parts=parts)
    monkeypatch.setattr(fresh, "loaded", lambda form, file: (form, Path(file).name))
    assert torchkiln.load(folder, "pt2") == ("pt2", "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx was compiled for .* lacks its instructions avx9000"):
        torchkiln.load(folder, "aoti")
    with pytest.raises(BundleError, match=r"was made by torch 1\.0\.0 and here is torch"):
        torchkiln.load(folder, "torchscript")
    with pytest.raises(BundleError, match="has no model 'onnx' that torch runs; it has aoti, pt2, torchscript"):
        torchkiln.load(folder, "onnx")
