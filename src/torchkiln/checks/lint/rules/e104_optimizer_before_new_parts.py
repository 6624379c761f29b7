"""The optimizer is built before the model is wrapped or given new parts.

## What

An optimizer takes a model's parameters, and then the model gets a new head or layer, is replaced by another, or is
wrapped (FSDP, DDP, `DataParallel`, `torch.compile`).

## Why

The optimizer keeps the parameters it was given. Those of a new head, or those that FSDP makes, are never updated.
DDP and `compile` keep the parameters; there it is an order that breaks with the next wrapper.

## Bad

```python
from torch import nn, optim

model = Net()
optimizer = optim.SGD(model.parameters(), lr=0.1)
model.fc = nn.Linear(512, 10)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Good

```python
from torch import nn, optim

model = Net()
model.fc = nn.Linear(512, 10)
optimizer = optim.SGD(model.parameters(), lr=0.1)
for x, y in loader:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()
```

## Fix

Build the optimizer when the model is complete, or give it the new part by `add_param_group`.

## How sure

95 %. For DDP, DataParallel and compile, the order is wrong but the training is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torchkiln.checks.lint.events import Event, Trace
from torchkiln.checks.lint.order import together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each change that comes behind the optimizer."""
    for trace in view.traces:
        for made, event in changed(trace, ("wrap", "replace")):
            what = "wrapped" if event.kind == "wrap" else "given new parts" if event.how == "part" else "replaced"
            yield at(event, f"the model is {what} after {named(made)} has taken its parameters")


def changed(trace: Trace, kinds: Sequence[str]) -> Iterator[tuple[Event, Event]]:
    """Optimizers, and what happens to their models behind them though they are used further."""
    events = trace.events
    if any(e.kind == "foreign" for e in events):
        return
    for place, made in enumerate(events):
        if made.kind != "make" or not made.names:
            continue
        later = events[place + 1 :]
        for n, event in enumerate(later):
            if event.kind == "make" and event.key == made.key:
                break
            if event.kind in kinds and _same(event, made) and together(event, made) and _matters(event, made, later, n):
                yield made, event


def named(made: Event) -> str:
    """An optimizer as a person calls it."""
    return made.key.partition("@")[0].rpartition(".")[2] or "the optimizer"


def _same(event: Event, made: Event) -> bool:
    if event.kind == "replace" and event.how == "part":
        return any(event.key.startswith(f"{name}.") for name in made.names)
    return event.key in made.names or event.key in {n.partition(".")[0] for n in made.names if "@" in n}


def _matters(event: Event, made: Event, later: Sequence[Event], place: int) -> bool:
    """Whether the same optimizer steps afterwards, or all of this is still preparation."""
    for other in later[place + 1 :]:
        if other.kind == "make" and (other.key == made.key or set(other.names) & set(made.names)):
            return False
        if other.kind == "step" and other.key == made.key:
            return True
    busy = any(e.kind in ("forward", "backward", "step", "opaque", "loss", "eval") for e in later[:place])
    whole = event.kind == "replace" and event.how != "part"
    return not busy and not whole and event.loops == made.loops and event.function is made.function
