"""The running average of the weights."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from torchkiln.recipe.training import Train
from torchkiln.training.averaging import MovingAverage, StochasticAverage, WeightAverage, average_of


def stepped(average: WeightAverage, values: list[float]) -> None:
    module: Any = None
    trainer: Any = SimpleNamespace(global_step=0)
    average.on_train_start(trainer, module)
    for i, value in enumerate(values):
        with torch.no_grad():
            next(average.net.parameters()).fill_(value)
        trainer.global_step = i + 1
        average.on_train_batch_end(trainer, module, None, None, i)
        average.on_train_batch_end(trainer, module, None, None, i)  # a batch that only added its gradient


def test_it_is_the_moving_average_with_a_decay_that_climbs() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    average = MovingAverage(net, 0.9)
    values = [2.0, 5.0, -1.0, 4.0]
    stepped(average, values)
    wanted = 1.0
    for n, value in enumerate(values):
        decay = min(0.9, (1 + n) / (10 + n))
        wanted = decay * wanted + (1 - decay) * value
    torch.testing.assert_close(average.weights()["weight"].item(), wanted)
    assert net.weight.item() == 4.0


def test_validation_sees_the_average_and_training_goes_on_with_the_live_weights() -> None:
    net = nn.BatchNorm1d(2)
    average = MovingAverage(net, 0.9)
    stepped(average, [3.0])
    trainer: Any = None
    live, kept = net.weight.clone(), average.weights()["weight"].clone()
    average.on_validation_start(trainer, trainer)
    assert torch.equal(net.weight, kept) and not torch.equal(kept, live)
    average.on_validation_end(trainer, trainer)
    assert torch.equal(net.weight, live) and torch.equal(average.weights()["weight"], kept)


def test_the_count_of_batches_is_not_averaged() -> None:
    average = MovingAverage(nn.BatchNorm1d(2), 0.9)
    stepped(average, [3.0])
    assert "num_batches_tracked" in average.weights() and "num_batches_tracked" not in average.average


def test_a_channels_last_weight_keeps_its_layout_after_a_resume() -> None:
    net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(net, 0.9)
    average.load_state_dict({"updates": 1, "average": {k: v.contiguous() for k, v in net.state_dict().items()}})
    average.on_train_start(SimpleNamespace(global_step=0), None)  # type: ignore[arg-type]
    assert average.average["weight"].is_contiguous(memory_format=torch.channels_last)


def test_the_stochastic_average_is_the_mean_of_the_later_epochs_ends() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = StochasticAverage(net, 0.5)
    trainer: Any = SimpleNamespace(global_step=0, max_epochs=6, max_steps=-1)
    average.on_train_start(trainer, trainer)
    for epoch in range(6):
        for batch in range(2):
            with torch.no_grad():
                net.weight.fill_(10 * epoch + batch)
            trainer.global_step, trainer.current_epoch = 2 * epoch + batch + 1, epoch
            trainer.is_last_batch = batch == 1
            average.on_train_batch_end(trainer, trainer, None, None, batch)
        assert average.is_in_use() == (epoch >= 3)
    assert average.weights()["weight"].item() == sum((31, 41, 51)) / 3


def test_before_it_has_begun_validation_sees_the_live_weights() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = StochasticAverage(net, 0.5)
    trainer: Any = SimpleNamespace(global_step=0)
    average.on_train_start(trainer, trainer)
    nn.init.constant_(net.weight, 7.0)
    average.on_validation_start(trainer, trainer)
    assert net.weight.item() == 7.0 and average.weights()["weight"].item() == 7.0


def test_the_recipe_says_which() -> None:
    net = nn.Linear(1, 1)
    assert average_of(net, Train()) is None
    assert isinstance(average_of(net, Train(ema=0.9)), MovingAverage)
    assert isinstance(average_of(net, Train(swa=0.75)), StochasticAverage)
