"""Predictions of a net for every sample of a store, each once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from torchkiln.data.store import Indices, Store
from torchkiln.errors import ModelError
from torchkiln.models import adapt
from torchkiln.models.memory import out_of_memory, release_memory
from torchkiln.tasks._base import Task

Predictions = npt.NDArray[np.float32]


def run(task: Task, net: nn.Module, store: Store, batch_size: int, device: torch.device | str) -> Predictions:
    """What the task predicts for each sample, in the order of the store.

    The net computes in eval mode and in FP32, also where training was in mixed precision; afterwards
    each of its modules is back in the mode it was in. Where samples have lengths, those of like length
    share a batch, so that little is padded.

    Args:
        batch_size: Samples a forward pass.
        device: Where the net is; the batches are moved there.

    Returns:
        float32 [n, classes] or [n], on the CPU; see `Task.prediction_kind`.

    Raises:
        ModelError: The net does not give one prediction a sample.
    """
    device = torch.device(device)
    out: Predictions | None = None
    with adapt.evaluating(net), torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for indices in _batches(store, batch_size):
            prediction = _predicted(task, net, store, indices, device)
            if out is None:
                out = np.empty((len(store), *prediction.shape[1:]), np.float32)
            out[indices] = prediction
    return np.zeros(0, np.float32) if out is None else out


def _predicted(task: Task, net: nn.Module, store: Store, indices: Indices, device: torch.device) -> Predictions:
    """One batch; in halves where the whole does not fit into memory."""
    try:
        batch = to_device(store.take(indices, 0), device)
        prediction: Predictions = task.predict(task.forward(net, batch)).float().cpu().numpy()
    except Exception as error:
        if not out_of_memory(error) or len(indices) == 1:
            raise
    else:
        if len(prediction) != len(indices):
            raise ModelError(
                f"the net gave {len(prediction)} predictions for a batch of {len(indices)} samples; "
                "its first dimension must be the batch"
            )
        return prediction
    release_memory()
    return np.concatenate([_predicted(task, net, store, half, device) for half in np.array_split(indices, 2)])


def to_device(value: Any, device: torch.device) -> Any:
    """The same structure of dicts, lists and tuples with its tensors on `device`."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: to_device(v, device) for name, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(v, device) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(to_device(v, device) for v in value)
    return value


def _batches(store: Store, batch_size: int) -> Iterator[Indices]:
    lengths = store.lengths
    order = np.arange(len(store)) if lengths is None else np.argsort(lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size].astype(np.int64)
