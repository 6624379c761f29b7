"""Tensors are moved to a device in `forward`.

## What

`forward`, or a method that it calls, moves tensors by `.cuda()` or `.to(device)`.

## Why

Each call copies from the host and waits for it. Buffers move with the model, and new tensors can be made where
they are needed.

## Bad

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return self.fc(x + self.offset.cuda())
```

## Good

```python
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        return self.fc(x + self.offset)
```

## Fix

Register constants by `register_buffer`, make new tensors with `device=x.device`, and move inputs in the training
loop.

## How sure

88 %. Moving to the device of another tensor is no fault.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Function, argument, dotted
from torchkiln.checks.lint.view import Found, View


def check(view: View) -> Iterator[Found]:
    """One finding for each move."""
    for one in view.classes:
        forward = one.methods.get("forward")
        if forward is not None and view.project.is_module(one):
            yield from _moves(view, forward, 0)


def _moves(view: View, function: Function, depth: int) -> Iterator[Found]:
    for call in function.calls:
        if moves(call, function):
            yield Found(call, function.source, "a tensor is moved to a device at every forward")
        target = view.project.target(call, function)
        if isinstance(target, Function) and target is not function and depth < 1 and target.name != "forward":
            yield from _moves(view, target, depth + 1)


def moves(call: ast.Call, function: Function) -> bool:
    """Whether a call moves something to a device that is not another tensor's own."""
    func = call.func
    if not isinstance(func, ast.Attribute) or function.source.called(call).startswith("torch."):
        return False
    if func.attr == "cuda":
        return True
    given = argument(call, 0, "device") if func.attr == "to" else None
    if given is None:
        return False
    if isinstance(given, ast.Constant):
        return isinstance(given.value, str | int)
    if isinstance(given, ast.Call):
        return function.source.called(given) == "torch.device"
    written = dotted(given)
    last = written.rpartition(".")[2]
    if "device" not in last.lower():
        return False
    if written in ("self.device", "self._device", "self.args.device", "self.cfg.device", "self.config.device", last):
        made = function.assigns.get(written, ())
        return not any(isinstance(a.value, ast.Attribute) and a.value.attr == "device" for a in made)
    return written.startswith(("args.", "cfg.", "config.", "opt."))
