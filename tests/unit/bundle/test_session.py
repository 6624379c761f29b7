"""The model in ONNX Runtime: any number of rows, of any lengths."""

from __future__ import annotations

from pathlib import Path

import bundles
import numpy as np

from torchkiln import bundle
from torchkiln.codec.base import Ragged


def test_rows_of_different_lengths_answer_as_each_alone(tmp_path: Path) -> None:
    made = bundle.load(bundles.tensors(tmp_path / "b"))
    lengths = np.array([3, 1, 0, 5, 2])
    values = np.random.default_rng(0).normal(size=(int(lengths.sum()), 3)).astype(np.float32)
    rows = Ragged(values, np.concatenate([[0], np.cumsum(lengths)]))
    together = made.compute({"x": rows}, batch_size=2)["output"]
    alone = [made.run({"x": rows.padded(np.array([i]))})["output"][0] for i in range(5)]
    np.testing.assert_allclose(together, np.stack(alone), rtol=1e-6)
