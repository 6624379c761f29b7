"""Samples of a batch mix.

## What

What the model gives for one sample depends on the other samples of its batch, in evaluation mode too: a `view` that
swaps dimensions without moving data, a softmax over the batch, attention along the wrong dimension.

## Why

The model learns from neighbours that it will not have later; scores depend on how batches are put together.

## Bad

```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.inner(x.view(len(x), 4, 2))  # batch, time, width
        h = h.view(4, len(x), 6)  # time, batch, width
        return self.out(h.mean(0))


net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
```

## Good

```python
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(2, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.inner(x.view(len(x), 4, 2))  # batch, time, width
        h = h.transpose(0, 1)  # time, batch, width
        return self.out(h.mean(0))


net = Net()
optimizer = optim.SGD(net.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(net(x), y).backward()
    optimizer.step()
```

## Fix

Swap dimensions with `transpose` or `permute`, and give softmax the dimension of the classes.

## How sure

97 % where a `view` swaps the first two dimensions, or a softmax runs over the batch, and a copy of the model was seen
to mix samples. Otherwise mixing is a WARN: some models are meant to.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchkiln.checks.guard import graph, probe
from torchkiln.checks.guard.watch import Loss, Watch

WANTED = ("View", "Reshape", "UnsafeView", "Softmax", "LogSoftmax")


class Check:
    """Tries a copy of the model on a batch in which one sample was changed, once."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.tried: set[int] = set()

    def on_loss(self, loss: Loss) -> None:
        call = self.watch.last
        if call is None or not loss.grad or not call.training or id(call.model) in self.tried or self.watch.step:
            return
        self.tried.add(id(call.model))
        self._look_before(loss)
        module, x = call.model.ref(), call.first
        output = call.output() if call.output else None
        if module is None or x is None or output is None or not call.alone or x.ndim < 2 or not output.ndim:
            return
        size = x.shape[0]
        by_sample = loss.target.ndim and loss.target.shape[0] == size and output.shape[0] == size
        if size < 3 or not by_sample or (output.ndim > 1 and output.shape[1] == size):
            return
        if probe.mixes(module, x):
            self._tell(loss.output, size, call.model.name)

    def _look_before(self, loss: Loss) -> None:
        """Whether a view between the model and the loss swaps dimensions."""
        for node in graph.chain(loss.input, 4):
            made, given = graph.shape(node), graph.shape(node.next_functions[0][0]) if node.next_functions else None
            if node.name().startswith(WANTED[:3]) and made and given and _is_swap(given, made):
                text = f"a view of {list(given)} as {list(made)} before the loss swaps dimensions without moving data"
                self.watch.found("R508", "FAIL", text, about="view")

    def _tell(self, root: Tensor, size: int, name: str) -> None:
        cause = next((said for node in graph.walk(root, WANTED).found if (said := _cause(node, size))), "")
        text = f"in evaluation mode, what {name} gives for a sample changes with the other samples of the batch"
        self.watch.found("R508", "FAIL" if cause else "WARN", text + (f": {cause}" if cause else ""))


def _is_swap(given: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Whether two neighbouring dimensions of different length have changed places."""
    differ = [d for d, (a, b) in enumerate(zip(given, made, strict=False)) if a != b]
    if len(given) != len(made) or len(differ) != 2 or differ[1] != differ[0] + 1 or min(given) < 2:
        return False
    return (given[differ[0]], given[differ[1]]) == (made[differ[1]], made[differ[0]])


def _cause(node: Any, size: int) -> str:
    made = graph.shape(node)
    if made is None or len(made) < 2:
        return ""
    below = node.next_functions[0][0] if node.next_functions else None
    given = graph.shape(below) if below is not None else None
    if "Softmax" in node.name():
        dim = int(node._saved_dim)
        dim = dim - 2**64 if dim > 2**63 else dim
        over = dim % len(made) == 0 and made[0] == size and made[1] != size
        return f"a softmax over dimension 0 of {list(made)}, the samples" if over else ""
    if given is None or len(given) < 2 or made == given or given[0] != size:
        return ""
    swapped = _is_swap(given, made) and made[0] != given[0]
    return f"a view of {list(given)} as {list(made)}, which swaps dimensions without moving data" if swapped else ""
