"""Parameter groups, optimizers and the course of the learning rate."""

from typing import Any

import pytest
import torch
from torch import nn

from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Optimizer, Scheduler
from torchkiln.training import optimization


def net() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm((4, 4)), nn.BatchNorm1d(4)),
                          "head": nn.Linear(4, 2)})  # fmt: skip


def settings(optimizer: Optimizer) -> dict[str, tuple[float, float]]:
    model = net()
    groups = optimization.parameter_groups(model, optimizer)
    of = {id(p): (g["lr"], g["weight_decay"]) for g in groups for p in g["params"]}
    return {name: of[id(p)] for name, p in model.named_parameters()}


def test_norms_and_biases_are_spared_from_weight_decay() -> None:
    found = settings(Optimizer(lr=0.1, weight_decay=0.5))
    assert {n for n, (_, decay) in found.items() if decay} == {"backbone.0.weight", "head.weight"}
    # the weight of a LayerNorm over two dimensions is a matrix, and a norm all the same
    assert found["backbone.1.weight"] == (0.1, 0.0)


def test_groups_by_pattern_the_first_match_counts() -> None:
    groups = [{"match": "backbone.0", "lr": 1e-5}, {"match": "backbone.*", "lr": 1e-4, "weight_decay": 0.1}]
    found = settings(Optimizer(lr=0.1, weight_decay=0.5, groups=groups))  # type: ignore[arg-type]
    assert found["backbone.0.weight"] == (1e-5, 0.5)
    assert found["backbone.2.bias"] == (1e-4, 0.1)
    assert found["head.weight"] == (0.1, 0.5)


@pytest.mark.parametrize(
    ("given", "made"),
    [({}, torch.optim.AdamW), ({"name": "adam"}, torch.optim.Adam), ({"name": "sgd"}, torch.optim.SGD),
     ({"class_path": "torch.optim.RMSprop", "init_args": {"alpha": 0.5}}, torch.optim.RMSprop)],
)  # fmt: skip
def test_each_name_gives_its_optimizer(given: dict[str, Any], made: type) -> None:
    optimizer = optimization.build_optimizer(net(), Optimizer(lr=0.3, **given))
    assert type(optimizer) is made and optimizer.param_groups[0]["lr"] == 0.3
    if "class_path" in given:
        assert optimizer.param_groups[0]["alpha"] == 0.5
    else:
        assert optimizer.defaults["fused"] is True


@pytest.mark.parametrize(
    ("given", "lr", "decay"),
    [
        ({"init_args": {"lr": 0.3, "weight_decay": 0.2}}, 0.3, 0.2),
        ({"init_args": {}}, 1.0, 0.0),  # Adadelta's own defaults
        ({"lr": 0.4, "init_args": {"lr": 0.3}}, 0.4, 0.0),
    ],
)
def test_an_own_optimizer_keeps_what_it_was_given(given: dict[str, Any], lr: float, decay: float) -> None:
    made = optimization.build_optimizer(net(), Optimizer(class_path="torch.optim.Adadelta", **given))
    assert {group["lr"] for group in made.param_groups} == {lr}
    assert max(group["weight_decay"] for group in made.param_groups) == decay
    assert min(group["weight_decay"] for group in made.param_groups) == 0.0


def test_no_fused_step_under_a_loss_scale() -> None:
    assert not optimization.build_optimizer(net(), Optimizer(), "16").defaults["fused"]


def test_a_pattern_or_argument_that_does_not_fit_is_told() -> None:
    with pytest.raises(
        RecipeError, match=r"optimizer.groups: no parameter is called 'bakbone'.*did you mean 'backbone'"
    ):
        optimization.build_optimizer(net(), Optimizer(groups=[{"match": "bakbone"}]))  # type: ignore[list-item]
    with pytest.raises(RecipeError, match=r"optimizer.init_args: torch.optim.SGD does not take them"):
        optimization.build_optimizer(net(), Optimizer(class_path="torch.optim.SGD", init_args={"bogus": 1}))


@pytest.mark.parametrize(
    ("scheduler", "points"),
    [
        ({"name": "cosine"}, {0: 1.0, 50: 0.5, 100: 0.0, 150: 0.0}),
        ({"name": "cosine", "warmup": 0.2, "final": 0.1}, {0: 1 / 21, 20: 1.0, 60: 0.55, 100: 0.1}),
        ({"name": "linear", "warmup": 0.1}, {9: 10 / 11, 10: 1.0, 55: 0.5, 100: 0.0}),
        ({"name": "one_cycle"}, {30: 1.0, 65: 0.5, 100: 0.0}),
        ({"name": "constant"}, {0: 1.0, 99: 1.0}),
        ({"name": "constant", "warmup": 0.1}, {0: 1 / 11, 10: 1.0, 99: 1.0}),
    ],
)
def test_the_course_of_the_rate(scheduler: dict[str, Any], points: dict[int, float]) -> None:
    at = optimization.curve(Scheduler(**scheduler), 100)
    assert {s: at(s) for s in points} == pytest.approx(points)


def test_schedulers_are_stepped_at_their_time() -> None:
    def config(**given: Any) -> dict[str, Any]:
        optimizer = torch.optim.SGD(net().parameters(), 1.0)
        return optimization.build_scheduler(optimizer, Scheduler(**given), 100, "val_loss", False)

    assert config(name="cosine")["interval"] == "step"
    assert config(name="step", every=5)["interval"] == "epoch"
    assert config(name="plateau")["monitor"] == "val_loss"
    own = config(class_path="torch.optim.lr_scheduler.ReduceLROnPlateau")
    assert own["reduce_on_plateau"] is True and own["monitor"] == "val_loss"
    assert config(class_path="torch.optim.lr_scheduler.LinearLR", interval="step")["interval"] == "step"
    with pytest.raises(RecipeError, match=r"scheduler\.init_args"):
        config(class_path="torch.optim.lr_scheduler.StepLR")
