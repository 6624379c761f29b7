"""The person's own net: what is measured follows from outputs and targets."""

from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.errors import DataError, ModelError, RecipeError
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.custom import Custom


def task(loss: str | None, **more: Any) -> Custom:
    return Custom(Recipe(task="custom", data={}, loss={"name": loss}, **more))  # type: ignore[arg-type]


def batch(*parts: torch.Tensor) -> dict[str, Any]:
    return {"batch": parts, "index": torch.arange(len(parts[0])), "target": parts[-1]}


X = torch.randn(6, 4)
CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("loss", "net", "target", "kind", "first_metric"),
    [
        ("cross_entropy", nn.Linear(4, 3), CLASSES, "classes", "accuracy"),
        ("bce_with_logits", nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), torch.ones(6), "binary", "accuracy"),
        ("mse", nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), torch.randn(6), "number", "rmse"),
        ("mse", nn.Linear(4, 3), torch.randn(6, 3), "none", None),
    ],
)
def test_kind_and_metrics_are_told_from_a_first_batch(
    loss: str, net: nn.Module, target: torch.Tensor, kind: str, first_metric: str | None
) -> None:
    own = task(loss)
    own.look(net.train(), batch(X, target), [target])
    assert own.kind == kind and net.training
    assert [m.name for m in own.metrics()][:1] == ([first_metric] if first_metric else [])


def test_binary_outputs_become_two_probabilities() -> None:
    own = task("bce_with_logits")
    own.look(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), batch(X, torch.ones(6)), [torch.tensor([0.0, 1.0])])
    assert own.predict(torch.tensor([0.0, 100.0])).tolist() == [[0.5, 0.5], [0.0, 1.0]]


def test_log_probabilities_are_what_nll_gives() -> None:
    own = task("nll")
    own.look(nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(-1)), batch(X, CLASSES), [CLASSES])
    torch.testing.assert_close(own.predict(torch.tensor([[0.2, 0.3, 0.5]]).log()), torch.tensor([[0.2, 0.3, 0.5]]))


def test_pairs_and_triplets_go_through_the_net_each() -> None:
    net = nn.Linear(4, 2)
    triplet = task("triplet_margin")
    output = triplet.forward(net, batch(X, X + 1, X - 1))
    wanted = nn.TripletMarginLoss()(net(X), net(X + 1), net(X - 1))
    torch.testing.assert_close(triplet.loss(triplet.criterion(X.numpy()), output, batch(X)), wanted)
    signs = torch.tensor([1, -1, 1, -1, 1, -1])
    pair = task("cosine_embedding")
    given = batch(X, X + 1, signs)
    wanted = nn.CosineEmbeddingLoss()(net(X), net(X + 1), signs)
    torch.testing.assert_close(pair.loss(pair.criterion(X.numpy()), pair.forward(net, given), given), wanted)


def test_a_dict_calls_the_net_by_name() -> None:
    class Named(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left - right

    given = {"batch": {"left": X, "right": X, "label": CLASSES}, "target": CLASSES}
    assert not task("mse").forward(Named(), given).any()


def test_a_net_that_does_not_take_the_batch_is_told_before_training() -> None:
    with pytest.raises(ModelError, match="a first batch fails: RuntimeError: mat1 and mat2"):
        task("cross_entropy").look(nn.Linear(7, 3), batch(X, CLASSES), [CLASSES])


def test_a_loss_is_needed() -> None:
    with pytest.raises(RecipeError, match="loss: task custom needs one"):
        task(None).criterion(X.numpy())


@pytest.mark.parametrize(
    ("loss", "outputs", "bad", "words"),
    [
        ("cross_entropy", 3, torch.tensor([0, 7, 2, 0, 1, 2]), "is 7, but the net has 3 outputs"),
        ("cross_entropy", 3, torch.tensor([0, -1, 2, 0, 1, 2]), "is -1, but"),
        ("mse", 1, torch.tensor([[0.0], [1.0], [float("nan")], [0.0], [0.0], [0.0]]), "is nan"),
        ("mse", 3, torch.full((6, 3), float("inf")), "is inf"),
    ],
)
def test_targets_that_no_named_loss_can_take_are_refused(
    loss: str, outputs: int, bad: torch.Tensor, words: str
) -> None:
    good = bad[:1].expand(6, *bad.shape[1:]).nan_to_num(0, 0)
    with pytest.raises(DataError, match=words):
        task(loss).look(nn.Linear(4, outputs), batch(X, good), [good, bad])
    passed_by = torch.tensor([0, -100, 2, 0, 1, 2])
    task("cross_entropy").look(nn.Linear(4, 3), batch(X, passed_by), [passed_by])
    own = task(None)
    own.own_loss = nn.CrossEntropyLoss() if outputs == 3 and loss == "cross_entropy" else nn.MSELoss()
    own.look(nn.Linear(4, outputs), batch(X, good), [good, bad])
