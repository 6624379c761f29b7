"""Each file is run at other sizes before it counts, and a net that cannot be exported is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkiln.codec.base import BATCH, Array, ArraySpec
from torchkiln.deploy import files, fresh, to_onnx
from torchkiln.deploy.graph import Graph, of_module
from torchkiln.errors import ExportError


def refusal(net: nn.Module, folder: Path) -> str:
    made = of_module(net, [ArraySpec("x", "float32", (BATCH, 4))], False, "tensor", None)
    with pytest.raises(ExportError) as caught:
        files.write(made, ["onnx"], folder, lambda form: None)
    assert list(folder.iterdir()) == []
    return str(caught.value)


def test_every_file_is_written_and_run(graph: Graph, tmp_path: Path) -> None:
    said: list[str] = []
    (found,) = files.write(graph, ["onnx"], tmp_path, said.append)
    assert (found.form, found.file, found.machine) == ("onnx", "model.onnx", None)
    assert set(found.names) == {"cat", "numeric", "output"} and said == ["onnx"]


def test_parts_that_work_as_in_training_are_told(tmp_path: Path) -> None:
    class Dropping(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x)

    class Stubborn(nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Stubborn:
            return super().train(True)

    said = refusal(Dropping(), tmp_path)
    assert "another output each time it is asked" in said and "F.dropout training=self.training" in said
    assert "batch normalisation works as in training" in refusal(nn.Sequential(Stubborn(4)), tmp_path)


def test_rows_that_look_at_one_another_are_told(tmp_path: Path) -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(dim=0)

    class Summed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(dim=0)

    assert "of other values for a row alone than beside others" in refusal(Centred(), tmp_path)
    assert "its first dimension must be the batch" in refusal(Summed(), tmp_path)


def test_a_net_for_one_size_is_told(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Parameter(torch.ones(2, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x + self.each

    assert "the net itself does not take x of 7x4" in refusal(Fixed(), tmp_path)


def test_a_file_that_answers_otherwise_is_no_success(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(kind: str, file: Path, cases: list[dict[str, Array]], names: dict[str, str]) -> list[dict[str, Array]]:
        return [{n: a + (a.std() * (len(a) == 64)) for n, a in graph.run(case).items()} for case in cases]

    monkeypatch.setattr(fresh, "run", off)
    monkeypatch.setattr(to_onnx, "write", lambda *_: {})
    with pytest.raises(ExportError, match="of other values than the net for cat of 64x1, numeric of 64x3: a size or"):
        files.write(graph, ["onnx"], tmp_path, lambda form: None)


def test_shapes_and_values_are_compared() -> None:
    value = np.linspace(0, 1, 8, dtype=np.float32)
    assert files._differs(value, value) is None and files._differs(value + 1e-4, value) is None
    assert files._differs(value[:4], value) == "of another shape ((4,), not (8,))"
    assert files._differs(value + 0.1, value) == "of other values"
