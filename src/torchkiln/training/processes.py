"""What several processes need so that each life of a run adds up in the same order."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class ElasticStrategy(DDPStrategy):
    """Processes as those of DDP, with the net not wrapped: the shards' gradients are added by `Shards`."""

    def _setup_model(self, model: nn.Module) -> Any:
        return model


def warm_up(trainer: L.Trainer) -> None:
    """One backward whose gradients are dropped, at the start of every life.

    DDP lays out its buckets anew after its first backward, and a sum over three processes or more depends on
    the place in the bucket. Without this, a resumed run adds its first step in another order than one that
    never stopped.
    """
    wrapped = trainer.strategy.model
    if not isinstance(wrapped, DistributedDataParallel):
        return
    module = wrapped.module
    trained = [p for p in module.parameters() if p.requires_grad]
    # Built in the order of the parameters, so that their gradients come in the reverse, as those of a net do.
    vars(module)["forward"] = lambda: sum(p.reshape(-1)[0].float() * 0 for p in trained)
    try:
        wrapped().backward()
    finally:
        del vars(module)["forward"]
    for p in trained:
        p.grad = None


def gathered(mine: Any, world: int) -> list[Any]:
    """What each process has, by rank.

    Args:
        mine: What this one has; anything that can be pickled.
        world: Number of processes.
    """
    if world == 1:
        return [mine]
    found: list[Any] = [None] * world
    dist.all_gather_object(found, mine)
    return found
