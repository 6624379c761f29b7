"""Nets, losses and loaders put together for a training: from a recipe's data, or from a person's own parts."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import lightning.pytorch as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from torchkiln.data.loader import loader
from torchkiln.data.order import EvalOrder, Shard, TrainOrder
from torchkiln.data.own import OwnData, OwnSplit
from torchkiln.data.replayed import Replayed
from torchkiln.data.store import Store
from torchkiln.errors import RecipeError
from torchkiln.models import adapt
from torchkiln.recipe.schema import Recipe
from torchkiln.registry import did_you_mean
from torchkiln.tasks._base import Task
from torchkiln.training.compiling import compiled
from torchkiln.training.elastic import Shards
from torchkiln.training.fit import Job
from torchkiln.training.module import KilnModule
from torchkiln.training.seeding import seed_all
from torchkiln.training.settings import prepared_net


def shard(recipe: Recipe) -> Shard:
    """This process among those of the run; Lightning starts the others with LOCAL_RANK set."""
    return Shard(int(os.environ.get("LOCAL_RANK", 0)) if recipe.train.devices > 1 else 0, recipe.train.devices)


def build_net(recipe: Recipe, build: Callable[[], nn.Module]) -> nn.Module:
    """A net with its weights drawn from the run's seed, initialised and frozen as the recipe says.

    Raises:
        RecipeError: A pattern of `freeze` or `unfreeze` names no parameter.
    """
    model = recipe.model
    seed_all(recipe.seed, "build")
    net = build()
    if model.init:
        adapt.initialise(net, model.init)
    adapt.check_patterns(net, adapt.frozen_patterns(model), "model.freeze")
    adapt.check_patterns(net, [u.match for u in model.unfreeze], "model.unfreeze")
    adapt.freeze(net, model, epoch=0)
    if not any(p.requires_grad for p in net.parameters()):
        raise RecipeError("model.freeze: every parameter is frozen, so there is nothing to train")
    if model.checkpoint_gradients:
        adapt.checkpoint_gradients(net)
    return net


def task_job(
    task: Task, net: nn.Module, criterion: nn.Module, recipe: Recipe, train: Store, val: Store | None,
    make_optimizer: Callable[[Any], torch.optim.Optimizer] | None = None,
) -> Job:  # fmt: skip
    """The job of a task whose samples are had by index.

    Args:
        task, net, criterion: What is trained.
        recipe: Resolved, the plan's choices included.
        train: Training samples.
        val: Validation samples, or None.
        make_optimizer: As for `KilnModule`.
    """
    monitor, higher = monitored(recipe, task)
    size = recipe.train.batch_size or 32
    order = _train_order(len(train), size, recipe, train.lengths)
    train_loader = _loader(train, order, recipe, task.transform())
    val_loader: DataLoader[Any] | None = None
    if val is not None:
        # with exact: elastic the size is the same on any number of processes, as the bits depend on it
        each = 2 * size * recipe.train.devices // recipe.train.shards if order.shards else 2 * size
        least = order.shards or recipe.train.devices
        val_order = EvalOrder(len(val), max(each, 1), shard=shard(recipe), lengths=val.lengths, least=least)
        val_loader = _loader(val, val_order, recipe)
    net = prepared_net(net, recipe.train.channels_last is True)
    module = KilnModule(task, net, criterion, recipe, monitor or "val_loss", higher, make_optimizer)
    mode = recipe.train.compile
    if mode and mode != "auto":
        module.compiled = (compiled(net, mode, any_length=train.lengths is not None),)
    if order.shards:
        module.shards = Shards(order, recipe.seed, order.shards)
    monitor = monitor if val is not None else None
    return Job(module, train_loader, val_loader, order, order.samples, monitor, higher)


def module_job(module: nn.Module, data: OwnData, recipe: Recipe) -> Job:
    """The job of a person's LightningModule, which has its own steps, losses and optimizers."""
    assert isinstance(module, L.LightningModule)
    if recipe.train.exact == "elastic":
        raise RecipeError("train.exact: elastic cuts batches into shards, and the steps of a LightningModule cannot be "
                          "cut; give a plain net, or take train.exact=same")  # fmt: skip
    if recipe.data.unreadable == "skip":
        raise RecipeError("data.unreadable: skip notes in a batch what it lacks, and the batches of a LightningModule "
                          "are its own; let the data set leave them out, or take data.unreadable=stop")  # fmt: skip
    train, val = data.splits["train"], data.splits.get("val")
    order, train_loader, samples = _own_train(train, recipe)
    val_loader = None if val is None else eval_loader(val, recipe)
    monitor = recipe.train.monitor or ("val_loss" if val_loader is not None else None)
    higher = bool(monitor) and not any(w in str(monitor) for w in ("loss", "error", "mse", "mae", "perplexity"))
    return Job(module, train_loader, val_loader, order, samples, monitor, higher)


def eval_loader(split: OwnSplit, recipe: Recipe) -> DataLoader[Any] | Replayed:
    """The person's batches of one split, in order, each sample once."""
    if split.store is None:
        assert split.loader is not None
        return split.loader
    size = split.batch_size or recipe.train.batch_size or 32
    return loader(_Plain(split.store), EvalOrder(len(split.store), size, shard=shard(recipe)))


def monitored(recipe: Recipe, task: Task) -> tuple[str | None, bool]:
    """The metric that says which epoch is best, as it is logged, and its direction.

    Raises:
        RecipeError: There is no such metric.
    """
    known = {"loss": False, **{m.name: m.higher_is_better for m in task.metrics()}}
    default = task.metrics()[0].name if task.metrics() else "loss"
    name = (recipe.train.monitor or default).removeprefix("val_")
    if name not in known:
        raise RecipeError(f"train.monitor: unknown metric {name!r}{did_you_mean(name, known)}")
    return f"val_{name}", known[name]


class _Plain(Store):
    """A person's store that gives the person's batch alone, as a LightningModule of theirs expects it."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def take(self, indices: Any, epoch: int) -> Any:
        return self.store.take(indices, epoch)["batch"]


def _own_train(train: OwnSplit, recipe: Recipe) -> tuple[TrainOrder | Replayed | None, Any, int]:
    """Order, loader and number of samples an epoch."""
    if train.store is None:
        assert train.loader is not None
        try:
            samples = len(train.loader) * (train.batch_size or 1)
        except TypeError:
            samples = 0
        return train.loader, train.loader, samples
    size = train.batch_size or recipe.train.batch_size or 32
    order = _train_order(len(train.store), size, recipe)
    return order, _loader(_Plain(train.store), order, recipe), order.samples


def _train_order(n: int, size: int, recipe: Recipe, lengths: Any = None) -> TrainOrder:
    shards = recipe.train.shards if recipe.train.exact == "elastic" else None
    if shards and n < shards:
        raise RecipeError(f"train.shards is {shards}, but there are only {n} training samples")
    return TrainOrder(n, size, seed=recipe.seed, accumulate=recipe.train.accumulate, shard=shard(recipe),
                      lengths=lengths, limit=recipe.train.limit_batches, shards=shards)  # fmt: skip


def _loader(
    store: Store, order: TrainOrder | EvalOrder, recipe: Recipe, transform: Callable[..., Any] | None = None
) -> DataLoader[Any]:
    """A loader as the recipe sets it; only training may go on without samples that cannot be read."""
    skips, data = isinstance(order, TrainOrder), recipe.data
    return loader(
        store, order, transform=transform, workers=0 if data.workers == "auto" else data.workers,
        prefetch=None if data.prefetch == "auto" else data.prefetch,
        pin=(recipe.train.device == "cuda" if data.pin == "auto" else data.pin) and store.in_processes,
        timeout=data.worker_timeout, unreadable=data.unreadable if skips else "stop",
    )  # fmt: skip
