"""A batch in parts gives the gradient of the whole."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from torchkiln.training import parts


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def batch(n: int = 5) -> dict[str, Any]:
    x = torch.arange(float(n)).view(n, 1)
    own = {"pair": Pair(x, x + 1), "names": [str(i) for i in range(n)], "list": [x, x * 2], "table": torch.ones(3, 2),
           "scale": 7}  # fmt: skip
    return {"batch": own, "index": torch.arange(n), "target": torch.arange(n) % 2}


def test_samples_are_dealt_out_at_any_depth_and_all_else_is_shared() -> None:
    first, second = parts.split(batch(), [2, 3])
    assert first["index"].tolist() == [0, 1] and second["target"].tolist() == [0, 1, 0]
    own = second["batch"]
    assert isinstance(own["pair"], Pair) and own["pair"].b.flatten().tolist() == [3, 4, 5]
    assert own["names"] == ["2", "3", "4"] and own["list"][1].flatten().tolist() == [4, 6, 8]
    assert own["table"].shape == (3, 2) and own["scale"] == 7


def test_one_part_is_the_batch_itself() -> None:
    whole = batch()
    assert parts.split(whole, [5])[0] is whole


@pytest.mark.parametrize(("count", "wanted", "sizes"), [(8, 2, [4, 4]), (5, 2, [3, 2]), (3, 8, [1, 1, 1]), (1, 1, [1])])
def test_sizes_are_even_and_never_zero(count: int, wanted: int, sizes: list[int]) -> None:
    assert parts.even(count, wanted) == sizes


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(weight=torch.tensor([1.0, 5.0])),
                                       nn.NLLLoss(weight=torch.tensor([2.0, 1.0]))])  # fmt: skip
def test_shares_make_the_mean_of_parts_the_mean_of_the_batch(criterion: nn.Module) -> None:
    torch.manual_seed(0)
    outputs, whole = torch.randn(5, 2).log_softmax(1), batch()
    cut = parts.split({**whole, "output": outputs}, [1, 4])
    mean = sum(parts.share(criterion, p, whole) * criterion(p["output"], p["target"]) for p in cut)
    torch.testing.assert_close(mean, criterion(outputs, whole["target"]))


def test_a_vector_of_all_elements_and_back() -> None:
    like = [torch.randn(2, 3), torch.randn(4).view(2, 2).t()]
    vector = parts.flat([like[0], None], like)
    first, second = parts.unflat(vector, like)
    assert torch.equal(first, like[0]) and torch.equal(second, torch.zeros(2, 2))
