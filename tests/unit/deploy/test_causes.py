"""Each cause of a failed export is a sentence with its place and its mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchkiln.codec.base import BATCH, ArraySpec, Axis
from torchkiln.deploy import causes, program
from torchkiln.deploy.graph import Graph


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        lengths = (x.abs().sum(-1) > 0).sum(1).clamp_min(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        found: Tensor = self.recurrent(packed)[1][0][-1]
        return found


class Solved(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.linalg.lstsq(x[..., None], x[..., None]).solution
        return found


class ByNumpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)


ONE, SEQUENCE = (BATCH, 4), (BATCH, Axis("length"), 4)
CASES: dict[type[nn.Module], tuple[tuple[int | Axis, ...], str]] = {
    Branch: (
        ONE,
        r"depends on the values of the data \(test_causes\.py, line \d+, in forward\); choose .*torch\.where",
    ),
    Packed: (SEQUENCE, r"pack_padded_sequence packs by lengths .*\(test_causes\.py, .*gather its output"),
    Solved: (ONE, r"aten\.linalg_lstsq\.default gives .*use another operation"),
    ByNumpy: (ONE, r"leaves torch by \.numpy\(\) .*compute in torch"),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_cause_is_named(kind: Callable[[], nn.Module]) -> None:
    shape, wanted = CASES[kind]  # type: ignore[index]
    made = Graph(kind().eval(), [ArraySpec("x", "float32", shape)], ["output"], "tensor")
    with pytest.raises(Exception) as caught:  # noqa: PT011
        program.trace(made)
    said = causes.explain(caught.value)
    assert "\n" not in said and len(said) < 400
    assert re.search(wanted, said), said


def test_what_onnx_lacks_is_named() -> None:
    error = RuntimeError("No ONNX function found for <OpOverload(op='prims.bessel_j1', overload='default')>. Failure")
    outer = ValueError("step 3/3")
    outer.__cause__ = error
    assert causes.explain(outer).startswith("ONNX has no counterpart of the operator prims.bessel_j1; ")


def test_another_cause_is_told_by_its_first_line() -> None:
    assert causes.explain(KeyError("a\nb")) == "KeyError: 'a\\nb'"
    assert causes.explain(RuntimeError()) == "RuntimeError: no message"
    assert Path(__file__).name in causes.explain(_raised())


def _raised() -> Exception:
    try:
        raise ValueError("x")
    except ValueError as error:
        return error
