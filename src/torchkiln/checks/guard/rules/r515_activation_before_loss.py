"""A loss is given activations that it does not take.

## What

A loss that applies softmax or sigmoid itself is given the result of one; one that takes log-probabilities is given
logits or probabilities; class scores have a single column; or prediction and target have changed places.

## Why

Gradients are far too small or point elsewhere: training is slow and ends early, without an error.

## Bad

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x).softmax(1), y)
    loss.backward()
    optimizer.step()
```

## Good

```python
for x, y in loader:
    optimizer.zero_grad()
    loss = criterion(model(x), y)
    loss.backward()
    optimizer.step()
```

## Fix

Hand raw scores to `cross_entropy` and `binary_cross_entropy_with_logits`, `log_softmax(x, 1)` to `nll_loss` and
`kl_div`, and the prediction first.

## How sure

98 %, from the graph and the values of the first batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from torchkiln.checks.guard import graph
from torchkiln.checks.guard.watch import Loss, Watch


class Check:
    """Looks at what the first calls of each loss are given."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.looks: dict[tuple[str, bool], int] = {}

    def on_loss(self, loss: Loss) -> None:
        looks = self.looks[loss.name, loss.grad] = self.looks.get((loss.name, loss.grad), 0) + 1
        if looks > 3 or loss.input.numel() == 0 or not loss.input.is_floating_point():
            return
        said = self._swapped(loss) or JUDGES.get(loss.name, _nothing)(loss)
        if said:
            self.watch.found("R515", "FAIL", f"{loss.name} {said}")

    def _swapped(self, loss: Loss) -> str:
        if not loss.grad or loss.name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
            return ""
        if loss.target.requires_grad and not loss.input.requires_grad:
            return "is given what the model computes as the target: prediction and target have changed places"
        return ""


def _cross_entropy(loss: Loss) -> str:
    scores = loss.input.detach()
    classes = 1 if scores.ndim > 1 else 0
    if scores.shape[classes] == 1 and not loss.target.is_floating_point():
        return f"is given scores {list(scores.shape)} of a single class: it is 0 whatever the model gives"
    made = _made(loss.input)
    if made.startswith("SoftmaxBackward") or (scores.shape[classes] > 1 and _is_distribution(scores, classes)):
        return "is given the result of a softmax, and applies its own"
    if made.startswith("SigmoidBackward"):
        return "is given the result of a sigmoid, and applies a softmax to it"
    if made.startswith("ReluBackward"):
        return "is given the result of a relu: no score can be below 0"
    return ""


def _log_probabilities(loss: Loss) -> str:
    scores = loss.input.detach().float()
    classes = 1 if scores.ndim > 1 else 0
    if loss.name == "kl_div":
        return "is given probabilities where it takes their logarithms" if _is_distribution(scores, -1) else ""
    if scores.shape[classes] > 1 and _is_distribution(scores, classes):
        return "is given probabilities where it takes their logarithms"
    if scores.ndim > 1 and bool((scores > 1e-4).any()):
        return "is given raw scores where it takes log-probabilities: some are above 0"
    if scores.ndim == 2 and _made(loss.input).startswith("LogSoftmaxBackward"):
        over_samples = torch.allclose(scores.logsumexp(0), scores.new_zeros(()), atol=1e-3)
        if over_samples and not torch.allclose(scores.logsumexp(1), scores.new_zeros(()), atol=1e-3):
            return "is given a log_softmax over the samples of the batch (dim 0), not over the classes (dim 1)"
    return ""


def _logits(loss: Loss) -> str:
    made = _made(loss.input)
    if made.startswith("SigmoidBackward"):
        return "is given the result of a sigmoid, and applies its own"
    if made.startswith("SoftmaxBackward"):
        return "is given the result of a softmax, and applies a sigmoid to it"
    return ""


def _nothing(loss: Loss) -> str:
    return ""


JUDGES = {
    "cross_entropy": _cross_entropy, "nll_loss": _log_probabilities, "kl_div": _log_probabilities,
    "binary_cross_entropy_with_logits": _logits,
}  # fmt: skip


def _made(tensor: Tensor) -> str:
    node = graph.before(tensor)
    return str(node.name()) if node is not None else ""


def _is_distribution(scores: Tensor, dim: int) -> bool:
    """Whether all values are from 0 to 1 and sum to 1 along a dimension."""
    scores = scores.float()
    return bool((scores >= 0).all()) and torch.allclose(scores.sum(dim), scores.new_ones(()), atol=1e-3)
