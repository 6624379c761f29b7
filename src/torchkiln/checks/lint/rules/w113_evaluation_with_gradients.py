"""An evaluation records gradients that nothing uses.

## What

A loop runs a model over held-out data outside `torch.inference_mode()` and `torch.no_grad()`.

## Why

Every batch keeps all activations for a backward that never comes: more memory, less speed, and with a running
total of tensors memory that grows until it runs out.

## Bad

```python
import torch


def evaluate(model, test_loader):
    model.eval()
    correct = 0
    for x, y in test_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return correct
```

## Good

```python
import torch


@torch.inference_mode()
def evaluate(model, test_loader):
    model.eval()
    correct = 0
    for x, y in test_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return correct
```

## Fix

Put the loop under `with torch.inference_mode():`, or `@torch.inference_mode()` above the function.

## How sure

92 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event, Loop, Trace
from torchkiln.checks.lint.order import batches, evaluations, within
from torchkiln.checks.lint.source import dotted, inside
from torchkiln.checks.lint.view import Edit, Found, View

NEEDING = {
    "grad",
    "backward",
    "requires_grad_",
    "retain_grad",
    "attack",
    "perturb",
    "jacobian",
    "hessian",
    "register_hook",
}


def check(view: View) -> Iterator[Found]:
    """One finding for each loop."""
    for trace in view.traces:
        seen = set()
        for loop, calls in (*evaluations(trace), *_switched(trace)):
            recorded = [c for c in calls if c.no_grad is False]
            if (
                recorded
                and loop.node not in seen
                and not _needs(loop)
                and not view.project.is_lightning(loop.frame.function.owner)
            ):
                seen.add(loop.node)
                function = loop.frame.function
                node = recorded[0].node if recorded[0].function is function else loop.node
                message, edits = "this evaluation keeps the graph of every batch", _mend(trace, loop)
                yield Found(node, function.source, message, edits, safe=False)


def _switched(trace: Trace) -> Iterator[tuple[Loop, list[Event]]]:
    """Loops over batches behind an `eval()` of the same model in the same function."""
    for place, event in enumerate(trace.events):
        if event.kind != "eval":
            continue
        later = trace.events[place + 1 :]
        for run in later:
            if run.kind == "train" and run.key == event.key:
                break
            if run.kind == "forward" and run.key == event.key and run.loops and run.function is event.function:
                loop = run.loops[-1]
                region = within(trace, loop)
                if loop not in event.loops and batches(loop) and not region.of("backward", "step", "foreign"):
                    yield loop, [run]
                break


def _needs(loop: Loop) -> bool:
    """Whether gradients are asked for in the loop."""
    for one in inside(loop.node):
        if isinstance(one, ast.Call) and dotted(one.func).rpartition(".")[2] in NEEDING:
            return True
        if isinstance(one, ast.Attribute) and one.attr in ("requires_grad", "grad"):
            return True
    return False


def _mend(trace: Trace, loop: Loop) -> list[Edit]:
    """A decorator above a function that does nothing but evaluate."""
    function = loop.frame.function
    node, source = function.node, function.source
    learns = any(e.kind in ("backward", "step") and e.function is function for e in trace.events)
    if not isinstance(node, ast.FunctionDef) or learns or source.imports.get("torch") != "torch":
        return []
    line = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    place = (line, node.col_offset)
    if node.decorator_list:
        return []
    return [Edit(place, place, f"@torch.no_grad()\n{' ' * node.col_offset}")]
