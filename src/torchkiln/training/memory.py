"""What a training step needs of memory, what there is, and how much of a batch fits."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from torchkiln.models.memory import release_memory
from torchkiln.report import words
from torchkiln.training.estimates import Need
from torchkiln.training.plan_rows import SAID, decision
from torchkiln.training.settings import Setting, autocast, prepared_net
from torchkiln.training.trials import Stepper, Trials, to_device

HEADROOM = 0.8
"""Of the memory that is free, what a step may take."""
PROBED = 4
"""Samples by which activations are measured."""
TRANSIENT = 1.5
"""What a step holds for a moment, gradients of activations above all, over what it keeps for its backward."""
CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Limit and use of a container, of either version."""


def micro_batch(trials: Trials, setting: Setting) -> tuple[dict[str, Any], Need]:
    """The decision on how much of a batch is computed at once, after which trials compute as much; and the need.

    The effective batch stays the person's.
    """
    batch, said = len(trials.indices), trials.recipe.train.micro_batch
    what, whole = "train.micro_batch", f"the whole batch of {batch}"
    try:
        found = need(trials, setting)
    except Exception as error:  # a net of the person's that will not be looked at; the trial steps then tell
        release_memory()
        nothing = Need(bytes_of(_tensors(trials.net)), 0, 0, 0)
        said = None if said == "auto" else said
        return decision(what, said, f"{whole}, as its memory cannot be told: {type(error).__name__}"), nothing
    free = free_bytes(setting.device) // trials.recipe.train.devices
    figures = f"a step needs about {words.memory(found.step(batch) / 1e6)}, and {words.memory(free / 1e6)} are free"
    if said != "auto":
        chosen, why = said, f"{SAID}; {figures}"
    elif trials.recipe.train.exact == "elastic":
        chosen, why = None, f"with train.exact: elastic a batch is computed in its shards; {figures}"
    else:
        fits = fitting(found, batch, free)
        chosen, why = (
            (fits, _in_parts(trials.net, fits, figures)) if fits < batch else (None, f"{whole} fits: {figures}")
        )
    if chosen:
        trials.cut(chosen)
    return decision(what, chosen, why), found


def _in_parts(net: nn.Module, samples: int, figures: str) -> str:
    normed = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in net.modules())
    word = "; its batch norms see each part alone" if normed else ""
    return f"{figures}, so that {samples} samples are computed at once and their gradients added up{word}"


def need(trials: Trials, setting: Setting) -> Need:
    """Measured on a few samples of the batch, forward only; the optimizer's states are presumed to be Adam's.

    Args:
        trials: Whose net.
        setting: Its device, precision and layout.
    """
    net = prepared_net(copy.deepcopy(trials.net).to(setting.device), setting.channels_last).train()
    criterion = copy.deepcopy(trials.criterion).to(setting.device)
    probe = copy.copy(trials)
    probe.cut(PROBED)
    batch = to_device(probe.part, setting.device)
    own = {t.untyped_storage().data_ptr() for t in _tensors(net)}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), autocast(setting):
        trials.task.loss(criterion, trials.task.forward(net, batch), batch)
    trained = [p for p in net.parameters() if p.requires_grad]
    gradients = bytes_of(trained)
    activations = math.ceil(TRANSIENT * sum(kept.values()) / len(batch["index"]))
    return Need(bytes_of(_tensors(net)), gradients, 2 * gradients, activations)


def fitting(need: Need, batch: int, free: int) -> int:
    """The largest even part of a batch that fits, 1 at least.

    Args:
        need: Of the net.
        batch: Samples.
        free: Bytes.
    """
    room = HEADROOM * free - need.gradients - need.states
    most = batch if need.activations <= 0 else int(min(max(room // need.activations, 1), batch))
    return math.ceil(batch / math.ceil(batch / most))


def free_bytes(device: str) -> int:
    """What a process can still take: of the device, or of the machine and of the container it runs in."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    found = [psutil.virtual_memory().available]
    for limit, used in CGROUPS:
        try:
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return max(min(found), 0)


def states_of(stepper: Stepper) -> int:
    """Bytes of the states that an optimizer has after its first step."""
    return bytes_of(v for state in stepper.optimizer.state.values() for v in state.values() if isinstance(v, Tensor))


def bytes_of(tensors: Any) -> int:
    """Bytes of all of them."""
    return sum(t.numel() * t.element_size() for t in tensors)


def _tensors(net: nn.Module) -> Iterator[Tensor]:
    yield from net.parameters()
    yield from net.buffers()
