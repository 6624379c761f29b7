"""A model is evaluated in training mode.

## What

A model that was made or trained in view runs over held-out data, and nothing calls `model.eval()` before.

## Why

Dropout stays on and batch norm uses, and changes, its running statistics: the score is too low and differs from
run to run, and the held-out data leaks into the model's buffers.

## Bad

```python
import torch

for epoch in range(epochs):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
```

## Good

```python
import torch

for epoch in range(epochs):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
```

## Fix

Call `model.eval()` before the evaluation, and `model.train()` behind it.

## How sure

95 %. Silent for an evaluation whose caller is not in view, and for models that are loaded ready for use.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchkiln.checks.lint.events import Event, Trace
from torchkiln.checks.lint.order import evaluations, together
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each loop."""
    for trace in view.traces:
        for _, calls in evaluations(trace):
            call = calls[0]
            if call.key and _trained_here(trace, call) and not _switched(trace, call) and not _own(view, call):
                yield at(call, "the model runs over held-out data in training mode")


def _trained_here(trace: Trace, call: Event) -> bool:
    """Whether the model is new, trained, or put into training mode in this trace."""
    place = trace.events.index(call)
    for event in trace.events:
        if event.kind == "train" and event.key == call.key and event.how == "train":
            return True
        if event.kind == "make" and call.key in event.names:
            return True
        ran = event.kind == "forward" and event.key == call.key and event is not call
        if ran and any(b.kind == "backward" and b.loops and b.loops == event.loops for b in trace.events):
            return True
    made = [e for e in trace.events[:place] if e.kind == "replace" and e.key == call.key]
    return any(_new(e) for e in made)


def _new(event: Event) -> bool:
    """Whether a model is made by its class and so begins in training mode."""
    import ast

    node = event.node
    call = node.value if isinstance(node, ast.Assign) else None
    while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        call = call.func.value
    name = event.function.source.called(call) if isinstance(call, ast.Call) else ""
    return not name.endswith(("from_pretrained", "load", "create_model")) and "hub" not in name and name != ""


def _switched(trace: Trace, call: Event) -> bool:
    """Whether the mode may be another: eval() since the last train(), or something unknown in between."""
    place = trace.events.index(call)
    root = call.key
    for event in reversed(trace.events[:place]):
        if not together(event, call):
            continue
        same = event.key == root or (root.startswith(event.key + ".") and bool(event.key))
        if event.kind == "eval" and (same or not _known(trace, event.key)):
            return True
        if event.kind == "train" and same and event.how == "mode":
            return True
        if event.kind == "train" and same and set(event.path) <= set(call.path):
            break
        if (
            event.kind in ("opaque", "foreign")
            and (event.kind == "foreign" or root in event.names)
            and "eval" in event.how
        ):
            return True
    # A loop's later turns follow what stands at its end.
    return any(
        e.kind == "eval" and e.key == root and set(e.loops) & set(call.loops) for e in trace.events[place:]
    ) and not any(e.kind == "train" and e.key == root and set(e.loops) & set(call.loops) for e in trace.events)


def _known(trace: Trace, key: str) -> bool:
    """Whether a key is a model that is seen to run, and so not another name of the one in question."""
    return any(e.kind == "forward" and e.key == key for e in trace.events)


def _own(view: View, call: Event) -> bool:
    """Whether the model switches itself: it has an `eval` of its own, or its functions do so."""
    home = view.project.home(call.function)
    return view.project.is_lightning(home)
