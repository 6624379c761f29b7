"""What may befall an export: nothing half made is left under the final name, and what was there stays."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import torchkiln
from torchkiln import bundle
from torchkiln.bundle import files

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a small table."""
    folder = tmp_path_factory.mktemp("run")
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    frame = pl.DataFrame({"x": x, "z": rng.normal(size=200), "y": np.where(x > 0, "up", "down")})
    frame.write_csv(folder / "t.csv")
    settings = {"data.target": "y", "model.name": "mlp", "train.epochs": 2, "train.threads": 1,
                "train.precision": "32", "data.workers": 0}  # fmt: skip
    return torchkiln.fit(folder / "t.csv", settings, out=folder / "run").path


@pytest.fixture
def there(run: Path) -> Iterator[Path]:
    """A bundle of an earlier export, as far as its name goes."""
    folder = run / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    yield folder
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def export(run: Path, *more: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torchkiln", "export", str(run), "--format", "onnx", *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_a_disk_that_is_full_in_the_middle(run: Path, there: Path) -> None:
    def small() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = export(run, "--overwrite", preexec_fn=small)
    assert done.returncode == 2, done.stderr
    assert "the disk is full" in done.stderr and "make room and export again" in done.stderr
    assert (there / "manifest.json").read_text() == "{}"
    assert sorted(p.name for p in run.glob("*bundle*")) == ["bundle"]


def test_killed_in_the_middle_and_exported_again(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "torchkiln", "export", str(run), "--format", "onnx", "--out", str(out)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".bundle.*/model.onnx")) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.poll() is None, "it ended before it could be killed"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert [p.name for p in tmp_path.iterdir()] == [f".bundle.{child.pid}"]
    done = export(run, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] and bundle.load(out).predict({"x": 1.0, "z": 0.0})
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"], "what the killed one left is swept"


def test_a_bundle_that_is_there_is_kept(run: Path, there: Path) -> None:
    done = export(run)
    assert done.returncode == 2 and "exists; replace it with --overwrite" in done.stderr
    assert (there / "manifest.json").read_text() == "{}"


def test_a_file_that_fails_its_proof_ends_with_1_and_is_not_served(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchkiln import cli
    from torchkiln.stages import proving

    sound = proving.runner

    def off(*given: object) -> object:
        answer = sound(*given)  # type: ignore[arg-type]
        return lambda feeds: answer(feeds)[:, ::-1] * 0.9 + 0.05

    monkeypatch.setattr(proving, "runner", off)
    out = tmp_path / "bundle"
    assert cli.main(["export", str(run), "--format", "onnx", "--out", str(out)]) == 1
    assert files.check(out).models["onnx"].proven is False
    with pytest.raises(torchkiln.KilnError, match="is unproven"):
        bundle.load(out)
    assert bundle.load(out, allow_unproven=True).predict({"x": 1.0, "z": 0.0})
