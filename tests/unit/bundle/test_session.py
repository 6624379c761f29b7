"""The model in ONNX Runtime: any number of rows, of any lengths."""

from __future__ import annotations

from pathlib import Path

import bundles
import numpy as np
import pytest

from torchkiln import bundle
from torchkiln.bundle import session
from torchkiln.codec.base import Ragged
from torchkiln.errors import BundleError
from torchkiln.runs import environment


def test_rows_of_different_lengths_answer_as_each_alone(tmp_path: Path) -> None:
    made = bundle.load(bundles.tensors(tmp_path / "b"))
    lengths = np.array([3, 1, 0, 5, 2])
    values = np.random.default_rng(0).normal(size=(int(lengths.sum()), 3)).astype(np.float32)
    rows = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))
    together = made.compute({"x": rows}, batch_size=2)["output"]
    alone = [made.run({"x": rows.padded(np.array([i]))})["output"][0] for i in range(5)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)


@pytest.mark.parametrize(
    ("files", "groups", "granted"),
    [
        ({}, "0::/\n", None),
        ({"cpu.max": "max 100000"}, "0::/\n", None),
        ({"cpu.max": "150000 100000"}, "0::/\n", 1.5),
        ({"cpu.max": "400000 100000", "a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, "0::/a/b\n", 2),
        ({"unified/a/cpu.max": "100000 100000"}, "0::/a\n", 1),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/\n0::/\n", 0.5),
        ({"cpu,cpuacct/d/cpu.cfs_quota_us": "50000", "cpu,cpuacct/d/cpu.cfs_period_us": "100000"},
         "4:cpu,cpuacct:/d\n", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/gone/from/here\n", None),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/gone/from/here\n", 3),
        ({"cpu.max": "what is this"}, "nonsense\n0::/\n", None),
    ],
)  # fmt: skip
def test_the_quota_of_control_groups_is_read(
    files: dict[str, str], groups: str, granted: float | None, tmp_path: Path
) -> None:
    for name, content in {**files, "own": groups}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert session.quota(tmp_path, tmp_path / "own") == granted


def test_threads_are_no_more_than_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cores", lambda: 8)
    for granted, threads in ((None, 8), (0.5, 1), (2.5, 3), (64, 8)):
        monkeypatch.setattr(session, "quota", lambda *_, granted=granted: granted)
        assert session.cores() == threads


@pytest.mark.parametrize("change", [{"name": "y"}, {"dtype": "int64"}])
def test_a_model_of_other_tensors_than_the_manifest_says_is_told(change: dict[str, str], tmp_path: Path) -> None:
    inputs = [{"name": "x", "dtype": "float32", "shape": [None, None, 3], **change}]
    path = bundles.tensors(tmp_path / "b", parts={"inputs": inputs})
    with pytest.raises(BundleError, match=r"model\.onnx has the tensors \{'x': 'float32'\} and the manifest says"):
        bundle.load(path)


def test_what_the_runtime_refuses_is_told(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b", files={"model.onnx": b"\x08\x0a"})
    with pytest.raises(BundleError, match=r"model\.onnx: ONNX Runtime [\d.]+ cannot load it"):
        bundle.load(path)
