"""The verbs around a bundle say what they found, and end with the right code."""

from __future__ import annotations

import io
import json
from pathlib import Path

import bundles
import numpy as np
import pytest

from torchkiln import bundle, cli
from torchkiln.bundle import examples, recheck

Captured = pytest.CaptureFixture[str]


def says(capsys: Captured, *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    return (code, *capsys.readouterr())


def proven(folder: Path) -> Path:
    """A bundle that carries rows and its own answers for them."""
    first = bundle.load(bundles.table(folder / "first"))
    assert first.codec
    records, out = examples.records(first.codec.inputs), io.BytesIO()
    np.save(out, first.compute(first.encode(records))["probabilities"])
    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    return bundles.table(folder / "b", files={recheck.RECORDS: lines, recheck.REFERENCE: out.getvalue()})


def test_a_proof_is_repeated(capsys: Captured, tmp_path: Path) -> None:
    path = proven(tmp_path)
    code, out, _ = says(capsys, "export", "--check", str(path))
    assert code == 0 and "model.onnx" in out and "proven" in out
    assert json.loads(says(capsys, "export", "--check", str(path), "--json")[1])["ok"] is True
    (tmp_path / "public.pem").touch()
    code, _, err = says(capsys, "export", "--check", str(path), "--require-signature", str(tmp_path / "public.pem"))
    assert code == 2 and "is not signed" in err


def test_a_bundle_without_rows_cannot_be_checked(capsys: Captured, tmp_path: Path) -> None:
    code, _, err = says(capsys, "export", "--check", str(bundles.table(tmp_path / "b")))
    assert code == 2 and "proof/records.jsonl is missing" in err


@pytest.mark.parametrize("said", ["weights", "weights=", "=MIT"])
def test_a_licence_is_of_something(said: str, capsys: Captured) -> None:
    code, _, err = says(capsys, "export", "runs/a", "--licence", said)
    assert code == 2 and "--licence takes what and its licence" in err


def test_a_bundle_is_measured(capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.bundle.measure.cores", lambda: 1)
    path = bundles.table(tmp_path / "b")
    code, out, _ = says(capsys, "bench", str(path), "--seconds", "0.1")
    assert code == 0 and "most rows/s: processes 1" in out and (path / "bench.json").is_file()
    assert json.loads(says(capsys, "bench", str(path), "--seconds", "0.1", "--json")[1])["model"] == "onnx"
    code, _, err = says(capsys, "bench", str(path), "--model", "int8")
    assert code == 2 and "has no model 'int8'" in err
