"""Freezing, initialisation, heads and gradient checkpointing."""

import copy

import pytest
import torch
from torch import nn

from torchkiln.errors import RecipeError
from torchkiln.models import adapt
from torchkiln.recipe.schema import Model
from torchkiln.recipe.section import Part


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.backbone(x))
        return out


def trained(net: nn.Module) -> set[str]:
    return {n for n, p in net.named_parameters() if p.requires_grad}


def test_a_frozen_backbone_does_not_train_nor_change_its_statistics() -> None:
    net = Net().train()
    adapt.freeze(net, Model(freeze="backbone"), 0)
    assert trained(net) == {"head.weight", "head.bias"}
    before = copy.deepcopy(net.backbone.state_dict())
    net(torch.randn(16, 4)).sum().backward()
    for name, value in net.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not net.backbone[1].training and net.head.training


def test_unfreezing_is_a_function_of_the_epoch() -> None:
    model = Model(freeze="backbone", unfreeze=[{"epoch": 2, "match": "backbone.3.*"}])  # type: ignore[list-item]
    net = Net().train()
    for epoch, more in ((0, set()), (1, set()), (2, {"backbone.3.weight", "backbone.3.bias"}), (0, set())):
        adapt.freeze(net, model, epoch)
        assert trained(net) == {"head.weight", "head.bias"} | more


@pytest.mark.parametrize(
    ("pattern", "name", "wanted"),
    [
        ("backbone", "backbone.0.weight", True),
        ("backbone.*", "backbone.0.weight", True),
        ("back", "backbone.0.weight", False),
        ("*.bias", "head.bias", True),
        ("head.weight", "head.weight", True),
    ],
)
def test_patterns(pattern: str, name: str, wanted: bool) -> None:
    assert adapt.matches(name, pattern) is wanted


def test_a_pattern_that_names_nothing_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'backbone'"):
        adapt.check_patterns(Net(), ["backbon"], "model.freeze")


@pytest.mark.parametrize(
    "scheme", ["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform", "trunc_normal", "orthogonal"]
)
def test_initialisation_fills_weights_and_empties_biases(scheme: str) -> None:
    net = nn.Linear(200, 100)
    adapt.initialise(net, scheme)
    wanted = {
        "kaiming_normal": (2 / 200) ** 0.5,
        "kaiming_uniform": (2 / 200) ** 0.5,
        "xavier_normal": (2 / 300) ** 0.5,
        "xavier_uniform": (2 / 300) ** 0.5,
        "trunc_normal": 0.02,
        "orthogonal": (1 / 200) ** 0.5,
    }
    assert net.weight.std().item() == pytest.approx(wanted[scheme], rel=0.05)
    assert not net.bias.any()


def test_a_persons_head_is_given_both_widths() -> None:
    head = adapt.build_head(Part(class_path="torch.nn.Linear", init_args={"bias": False}), 8, 3)
    assert isinstance(head, nn.Linear) and head.weight.shape == (3, 8) and head.bias is None
    with pytest.raises(RecipeError, match="must take in_features and out_features"):
        adapt.build_head(Part(class_path="torch.nn.ReLU"), 8, 3)


def test_recomputed_activations_give_the_same_gradients_and_keep_names_and_copies_apart() -> None:
    torch.manual_seed(0)
    plain = Net().train()
    lean = copy.deepcopy(plain)
    assert adapt.checkpoint_gradients(lean) == ["backbone.0", "backbone.1", "backbone.3"]
    assert lean.state_dict().keys() == plain.state_dict().keys()
    twin = copy.deepcopy(lean)
    x = torch.randn(16, 4)
    for net in (plain, twin):
        torch.manual_seed(1)
        net(x).square().sum().backward()
    for (name, p), (_, q) in zip(plain.named_parameters(), twin.named_parameters(), strict=True):
        assert p.grad is not None and torch.equal(p.grad, q.grad), name  # type: ignore[arg-type]
    assert all(p.grad is None for p in lean.parameters())
    with pytest.raises(RecipeError, match="no blocks"):
        adapt.checkpoint_gradients(nn.Linear(2, 2))


def test_eval_mode_leaves_each_module_in_its_own() -> None:
    net = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)).train()
    net[1].eval()  # a frozen part
    with adapt.evaluating(net):
        assert not net.training and not net[0].training
    assert [net.training, net[0].training, net[1].training] == [True, True, False]
