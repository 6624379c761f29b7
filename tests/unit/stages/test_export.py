"""A run to a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import torchkiln
from torchkiln import Run, bundle
from torchkiln.errors import BundleError, ExportError, RunError
from torchkiln.stages import export as stage

Fit = Callable[..., Run]
PLANTED = 0.123456789


def test_a_wish_is_checked_before_anything_is_read() -> None:
    for formats, said in (
        (["onx"], "there is no format 'onx'.*did you mean 'onnx'"),
        (["int8", "pt2"], "made from onnx"),
        ([], "name one at least"),
    ):
        with pytest.raises(ExportError, match=said):
            stage.Wish(formats)
    with pytest.raises(ExportError, match=r"--sign: there is no file none\.pem"):
        stage.Wish(sign="none.pem")


@pytest.mark.slow
def test_a_bundle_answers_as_the_run_does_and_is_the_same_twice(fit: Fit, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:40], f"{PLANTED},-0.5,up", *lines[41:]]) + "\n")
    run = fit()
    found = run.export(as_zip=True)
    assert found["ok"] and {row["form"] for row in found["table"]} >= {"onnx", "pt2"}
    test = found["test"]
    assert test["run"] == run.scores["metrics"][test["metric"]]["value"] == pytest.approx(test["file"], abs=0.01)
    made = bundle.load(found["bundle"], model="onnx")
    expected = run.predict(table)
    answers = made.predict([{"x": float(a), "z": float(b)} for a, b, _ in (line.split(",") for line in lines[1:40])])
    assert [a["prediction"] for a in answers] == expected["prediction"][:39].to_list()
    _holds_nothing_of_the_data(Path(found["bundle"]))
    again = run.export(tmp_path / "again")
    assert _content(Path(again["bundle"])) == _content(Path(found["bundle"]))
    zipped = bundle.load(f"{found['bundle']}.zip")
    assert zipped.digest == bundle.load(found["bundle"]).digest
    with pytest.raises(BundleError, match="exists; replace it with --overwrite"):
        run.export()
    net = torchkiln.load(found["bundle"])
    assert type(net).__name__ == "MLP" and not net.training
    assert (run.path / "export.json").is_file()


def _holds_nothing_of_the_data(folder: Path) -> None:
    """No row of the training data, and no path of this machine."""
    words = [b"0.123456789", np.float32(PLANTED).tobytes(), np.float64(PLANTED).tobytes(), str(folder.parent).encode()]
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [word for word in words if word in content], file


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_run_that_cannot_be_exported_is_told(fit: Fit, table: Path) -> None:
    run = fit()
    (weights,) = (run.path / "checkpoints").glob("best-*/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(RunError, match=r"weights\.safetensors"):
        run.export()
    weights.unlink()
    with pytest.raises(RunError, match="best"):
        run.export()
    assert not (run.path / "bundle").exists()


def test_without_its_data_the_proof_cannot_be_made(fit: Fit, table: Path) -> None:
    run = fit()
    text = table.read_text()
    table.write_text(text.replace("up", "down", 1))
    with pytest.raises(ExportError, match=r"the proof cannot be made: the data of .* has changed"):
        run.export()
    table.unlink()
    with pytest.raises(ExportError, match=r"the proof cannot be made: .*does not exist"):
        run.export()
    assert not (run.path / "bundle").exists()


def test_a_full_disk_leaves_what_was_there(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit()
    old = run.path / "bundle"
    old.mkdir()
    (old / "manifest.json").write_text("{}")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.files, "write", full)
    with pytest.raises(ExportError, match=r"the disk is full: .*bundle was not written; make room"):
        run.export(overwrite=True)
    assert json.loads((old / "manifest.json").read_text()) == {}
    assert sorted(p.name for p in run.path.glob("*bundle*")) == ["bundle"]
