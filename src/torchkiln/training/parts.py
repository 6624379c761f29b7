"""A batch computed in parts: less memory at once, or gradients that can be added in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torchkiln.data.store import Batch


def split(batch: Batch, sizes: Sequence[int]) -> list[Batch]:
    """The batch's samples dealt out, in order.

    Args:
        batch: As a store gives it; tensors and lists as long as `index` are cut, at any depth, all else is
            shared.
        sizes: Samples of each part; they add up to the batch.
    """
    if len(sizes) == 1:
        return [batch]
    count, parts, first = len(batch["index"]), [], 0
    for size in sizes:
        parts.append(_cut(batch, count, first, first + size))
        first += size
    return parts


def even(count: int, parts: int) -> list[int]:
    """Sizes of up to `parts` parts of `count` samples, none empty."""
    parts = min(parts, count)
    return [count // parts + (i < count % parts) for i in range(parts)]


def share(criterion: nn.Module, part: Batch, batch: Batch) -> float:
    """What the mean loss of a part counts in the mean loss of its batch.

    Args:
        criterion: Where it weighs classes, samples count by the weight of theirs.
    """
    weight = getattr(criterion, "weight", None)
    if isinstance(weight, Tensor) and isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss):
        return float(weight[part["target"]].sum() / weight[batch["target"]].sum())
    return len(part["index"]) / len(batch["index"])


def _cut(value: Any, count: int, first: int, last: int) -> Any:
    match value:
        case Tensor() if value.ndim and len(value) == count:
            return value[first:last]
        case dict():
            return {k: _cut(v, count, first, last) for k, v in value.items()}
        case list() if len(value) == count and not any(isinstance(v, Tensor) and v.ndim for v in value):
            return value[first:last]
        case list() | tuple():
            made = [_cut(v, count, first, last) for v in value]
            return type(value)(*made) if hasattr(value, "_fields") else type(value)(made)
    return value


def flat(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """One vector of all elements; zeros where there is no tensor.

    Args:
        like: What each has the shape of.
    """
    return torch.cat(
        [(torch.zeros_like(p) if t is None else t).reshape(-1) for t, p in zip(tensors, like, strict=True)]
    )


def unflat(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that `flat` joined."""
    pieces = torch.split(vector, [p.numel() for p in like])
    return [torch.empty_like(p).copy_(v.view(p.shape)) for v, p in zip(pieces, like, strict=True)]
