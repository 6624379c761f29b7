"""The proof of a whole run: what a skewed codec, a wrong file and a void net bring about, and what is kept."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torchkiln
from torchkiln.bundle import records
from torchkiln.deploy import files, fresh, quantize
from torchkiln.errors import ExportError
from torchkiln.runs.directory import RunDirectory
from torchkiln.stages import bundling, proving, subject


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[proving.Case, list[files.Written]]:
    """A run on a small table, its ONNX file, and all that a proof needs."""
    folder = tmp_path_factory.mktemp("proving")
    x, z, noise = np.random.default_rng(0).normal(size=(3, 300))
    lines = [f"{a},{b},{'up' if a + 0.2 * c > 0 else 'down'}" for a, b, c in zip(x, z, noise, strict=True)]
    (folder / "t.csv").write_text("\n".join(["x,z,y", *lines]), encoding="utf-8")
    settings = {"data.target": "y", "model.name": "mlp", "train.epochs": 3, "train.threads": 1, "train.precision": "32"}
    run = torchkiln.fit(folder / "t.csv", settings, out=folder / "run")
    one = subject.of_run(RunDirectory.open(run.path))
    (folder / "files").mkdir()
    written = files.write(one.graph, ["onnx"], folder / "files", lambda form: None)
    bundling.write_source(one, folder / "files")
    parts = bundling.manifest(one, written, {})
    asked = bundling.write_schema(one, folder / "files", parts["outputs"])
    return proving.Case(one, folder / "files", parts, asked, lambda what: None), written


@pytest.fixture
def case(made: tuple[proving.Case, list[files.Written]]) -> proving.Case:
    (made[0].subject.run.path / proving.EVIDENCE).unlink(missing_ok=True)
    (made[0].folder / proving.INT8_FILE).unlink(missing_ok=True)
    return made[0]


@pytest.fixture
def written(made: tuple[proving.Case, list[files.Written]]) -> list[files.Written]:
    return made[1]


def test_a_file_is_proven_and_its_figures_are_kept(case: proving.Case, written: list[files.Written]) -> None:
    found = proving.prove_files(case, written, int8=False)
    assert found.holds and found.proven == {"onnx": True}
    (row,) = found.rows(case.folder)
    assert row["verdict"] == "proven" and row["over_std"] <= 1e-4 and row["agreement"] == 1.0
    one = found.parity["files"]["onnx"]
    assert found.parity["rows"] == one["held_out"]["rows"] == len(case.subject.rows("val")) > 30
    assert one["codec"] == "equal"
    assert one["extremes"]["rows"] > 10
    assert sorted(map(int, one["batch_sizes"])) == [1, 2, 7, 64]
    sides = found.parity["metrics"]
    assert sides["onnx"]["accuracy"] == sides["reference"]["accuracy"]
    assert set(sides["onnx"]["log_loss"]) == {"value", "low", "high"}
    assert set(found.evidence["cpu_ms"]) == {"eager", "onnx"}
    assert "cpu_ms" not in found.parity


def test_a_file_that_answers_otherwise_is_unproven(
    case: proving.Case, written: list[files.Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = fresh.opened

    def turned(kind: str, file: Path) -> fresh.Runner:
        run = opened(kind, file)
        return lambda batch: [np.flip(out, axis=1) for out in run(batch)]

    monkeypatch.setattr(fresh, "opened", turned)
    found = proving.prove_files(case, written, int8=False)
    assert not found.holds
    assert any("get another label" in why for why in found.rows(case.folder)[0]["why"])


def test_a_codec_that_reads_otherwise_than_training_is_found(
    case: proving.Case, written: list[files.Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = records.Reader.encode

    def skewed(self: records.Reader, given: Any) -> Any:
        arrays = dict(encode(self, given))
        arrays["numeric"] = np.nextafter(arrays["numeric"], np.float32(9))  # one bit
        return arrays

    monkeypatch.setattr(records.Reader, "encode", skewed)
    found = proving.prove_files(case, written, int8=False)
    assert not found.holds
    assert found.parity["files"]["onnx"]["codec"]["numeric"].startswith("differs in ")


def test_a_net_without_spread_makes_the_proof_void(
    case: proving.Case, written: list[files.Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    def alike(arrays: Any) -> Any:
        return np.full((len(arrays["numeric"]), 2), 0.5, np.float32)

    monkeypatch.setattr(fresh, "opened", lambda kind, file: lambda batch: [alike(batch)])
    void = dataclasses.replace(case, subject=dataclasses.replace(case.subject, predict=alike))
    found = proving.prove_files(void, written, int8=False)
    assert not found.holds
    (row,) = found.rows(case.folder)
    assert (row["verdict"], row["why"]) == ("void", ["the trained net gives one and the same class to all rows"])


def test_without_validation_rows_there_is_no_proof(case: proving.Case, written: list[files.Written]) -> None:
    rows = case.subject.rows
    none = dataclasses.replace(case.subject, rows=lambda split: rows(split).clear() if split == "val" else rows(split))
    with pytest.raises(ExportError, match="the validation split has no rows"):
        proving.prove_files(dataclasses.replace(case, subject=none), written, int8=False)


@pytest.mark.parametrize("ratio", [0.5, 2.0], ids=["pays", "does not"])
def test_the_choice_of_int8_is_made_once(
    case: proving.Case, written: list[files.Written], monkeypatch: pytest.MonkeyPatch, ratio: float
) -> None:
    monkeypatch.setattr(quantize._Maker, "timed", lambda self, run, size: [1.0, ratio])
    first = proving.prove_files(case, written, int8=True)
    forms = [one.form for one in first.written]
    file = case.folder / proving.INT8_FILE
    assert forms == (["onnx", "int8"] if ratio < 1 else ["onnx"])
    assert first.int8.startswith("INT8 by" if ratio < 1 else "INT8 does not pay here")
    assert first.holds and file.exists() is (ratio < 1)
    content = file.read_bytes() if file.exists() else b""
    case.subject.run.write_json(proving.EVIDENCE, first.evidence)

    def never(*args: Any) -> list[float]:
        raise AssertionError("the clock was asked again")

    monkeypatch.setattr(quantize._Maker, "timed", never)
    again = proving.prove_files(case, written, int8=True)
    assert json.dumps(again.parity) == json.dumps(first.parity)
    assert (file.read_bytes() if file.exists() else b"") == content
    assert first.evidence["int8"]["cpu"][0]["1"] == [1.0, ratio]
    assert "cpu" not in json.dumps(first.parity["int8"]["tried"])


@pytest.mark.parametrize("content", ["{", "[]", '{"int8": 3}', '{"int8": {"of": {}}}'])
def test_a_choice_that_cannot_be_read_is_made_anew(
    case: proving.Case, written: list[files.Written], content: str
) -> None:
    (case.subject.run.path / proving.EVIDENCE).write_text(content, encoding="utf-8")
    assert proving._earlier(case, written[0]) is None


def test_int8_that_fails_on_all_rows_is_not_kept(
    case: proving.Case, written: list[files.Written], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize._Maker, "timed", lambda self, run, size: [1.0, 0.5])
    prove = proving.prove

    def worse(*args: Any, **more: Any) -> Any:
        trials, answers = prove(*args, **more)
        bad = dataclasses.replace(trials["int8"], faults=["0.9 of the answers agree, at least 0.98 must"])
        return {**trials, "int8": bad}, answers

    monkeypatch.setattr(proving, "prove", worse)
    found = proving.prove_files(case, written, int8=True)
    assert found.holds and [one.form for one in found.written] == ["onnx"]
    assert found.int8.startswith("INT8 does not pay here")
    assert "0.9 of the answers agree" in found.int8
    assert not (case.folder / proving.INT8_FILE).exists()
