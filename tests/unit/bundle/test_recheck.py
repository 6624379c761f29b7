"""The proof is repeated from the rows in the bundle, without torch, and can fail."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bundles
import numpy as np
import pytest

from torchkiln import bundle
from torchkiln.bundle import examples, recheck
from torchkiln.errors import BundleError

MAKERS: dict[str, Any] = {
    "table": bundles.table,
    "number": lambda folder, **more: bundles.table(folder, target="number", **more),
    "ngrams": bundles.text,
    "tokens": lambda folder, **more: bundles.text(folder, kind="tokens", **more),
    "pictures": bundles.pictures,
}


def proven(make: Any, folder: Path, shift: float = 0.0, count: int = 100, **more: Any) -> Path:
    """A bundle with rows to prove it by, whose reference is `shift` away from its own answers."""
    made = bundle.load(make(folder.with_name("first")))
    assert made.codec
    records = examples.records(made.codec.inputs, count=count)
    answers = next(iter(made.compute(made.encode(records)).values()))
    out = io.BytesIO()
    np.save(out, answers + np.float32(shift) * answers.std() * (np.arange(len(answers)) == 5).reshape(
        (-1,) + (1,) * (answers.ndim - 1)), allow_pickle=False)  # fmt: skip
    lines = "".join(json.dumps(r) + "\n" for r in records).encode()
    return make(folder, files={recheck.RECORDS: lines, recheck.REFERENCE: out.getvalue()}, **more)


@pytest.mark.parametrize("name", MAKERS)
def test_a_bundle_that_answers_as_it_did_holds(name: str, tmp_path: Path) -> None:
    found = recheck.check(proven(MAKERS[name], tmp_path / "b"))
    assert found["ok"] and found["rows"] == 100
    (row,) = found["files"]
    assert (row["form"], row["verdict"], row["rows"], row["why"]) == ("onnx", "proven", 100, [])
    assert 0 <= row["over_std"] <= 1e-5 and row["agreement"] == 1.0


@pytest.mark.parametrize("name", ["table", "number"])
def test_a_row_that_differs_fails(name: str, tmp_path: Path) -> None:
    found = recheck.check(proven(MAKERS[name], tmp_path / "b", shift=0.01))
    assert not found["ok"] and found["files"][0]["verdict"] == "unproven" and "deviation" in found["files"][0]["why"][0]


def test_a_reference_without_spread_proves_nothing(tmp_path: Path) -> None:
    found = recheck.check(proven(MAKERS["table"], tmp_path / "b", count=1))
    assert not found["ok"] and found["files"][0]["verdict"] == "void"


def test_every_form_is_held_and_those_of_torch_are_told(tmp_path: Path) -> None:
    models = {
        form: {"file": "model.onnx", "proven": False, "inputs": {}, "outputs": {}} for form in ("onnx", "int8", "pt2")
    }
    found = recheck.check(proven(MAKERS["table"], tmp_path / "b", parts={"models": models}))
    assert [(row["form"], row["verdict"]) for row in found["files"]] == [
        ("onnx", "proven"), ("int8", "proven"), ("pt2", "not checked")
    ]  # fmt: skip
    assert found["ok"] and len(recheck.lines(found)) == 4


def test_a_slow_net_answers_as_many_rows_as_there_is_time_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = proven(MAKERS["table"], tmp_path / "b")
    compute = recheck.Session.compute

    def slow(self: Any, *args: Any) -> Any:
        time.sleep(0.02)
        return compute(self, *args)

    monkeypatch.setattr(recheck.Session, "compute", slow)
    (row,) = recheck.check(path, seconds=0.03)["files"]
    assert 0 < row["rows"] < 100


def test_all_batch_sizes_are_met() -> None:
    assert recheck._sizes(1) == [1] and recheck._sizes(5) == [1, 1, 1, 1, 1]
    assert set(recheck._sizes(200)) >= set(recheck.SIZES) and sum(recheck._sizes(200)) == 200


def test_a_bundle_without_rows_is_told(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    with pytest.raises(BundleError, match=r"proof/records\.jsonl is missing"):
        recheck.check(path)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        (np.zeros((1, 2), np.float32), "2 records and 1 answers"),
        (np.array([{}, {}], object), "cannot be read"),  # a pickle, which could run anything
    ],
)
def test_rows_that_are_none_are_told(reference: Any, sentence: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    np.save(out, reference, allow_pickle=True)
    two = (json.dumps(bundles.RECORD) + "\n").encode() * 2
    path = bundles.table(tmp_path / "b", files={recheck.RECORDS: two, recheck.REFERENCE: out.getvalue()})
    with pytest.raises(BundleError, match=sentence):
        recheck.check(path)


@pytest.mark.parametrize(("shift", "code"), [(0.0, 0), (0.1, 1)])
def test_the_command_runs_without_torch(shift: float, code: int, tmp_path: Path) -> None:
    path = proven(MAKERS["table"], tmp_path / "b", shift=shift)
    program = (
        "import sys; sys.modules['torch'] = None; from torchkiln.cli import main; "
        f"sys.exit(main(['export', '--check', {str(path)!r}, '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)["ok"] is (code == 0)
