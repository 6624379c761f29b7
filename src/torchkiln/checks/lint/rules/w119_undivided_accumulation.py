"""Gradients are accumulated without dividing the loss.

## What

The optimizer steps only every n-th batch, and the loss of each batch is not divided by n.

## Why

The sum of n gradients is n times that of one large batch: the learning rate is in effect n times as high, and
clipping cuts where it should not.

## Bad

```python
for i, (x, y) in enumerate(loader):
    loss = criterion(model(x), y)
    loss.backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
```

## Good

```python
for i, (x, y) in enumerate(loader):
    loss = criterion(model(x), y) / 4
    loss.backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
```

## Fix

Divide the loss by the number of batches that one step adds up, before `backward()`.

## How sure

90 %. Silent where the loss comes from a function that is not in view.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.events import Event
from torchkiln.checks.lint.source import Function, constant, dotted
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View, at


def check(view: View) -> Iterator[Found]:
    """One finding for each accumulating loop."""
    for region in view.regions:
        steps = region.of("step")
        if not region.repeats or not steps or region.of("touch") or region.opaque(*{s.key for s in steps}):
            continue
        every = [s for s in steps if _every_nth(s)]
        backs = [b for b in region.of("backward") if not _every_nth(b)]
        if len(every) != len(steps) or len(backs) != 1 or not backs[0].loops:
            continue
        loss = _loss(backs[0])
        if loss is not None and not _scaled(view, loss, backs[0].frame):
            yield at(
                backs[0], "the gradients of several batches are added up, and the loss is not divided by their number"
            )


def _every_nth(event: Event) -> bool:
    """Whether it happens under a test such as `(i + 1) % n == 0`."""
    for test, _ in event.path:
        try:
            tree = ast.parse(test, mode="eval").body
        except SyntaxError:
            continue
        for one in ast.walk(tree):
            modulo = one if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mod) else None
            if modulo is None or constant(modulo.right) == 1:
                continue
            if not any(word in ast.unparse(modulo.left) for word in ("epoch", "critic")):
                return True
    return False


def _loss(back: Event) -> ast.expr | None:
    call = back.node
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return None
    owner = call.func.value
    if isinstance(owner, ast.Call) and owner.args:
        return owner.args[0]
    return call.args[0] if call.func.attr == "manual_backward" and call.args else owner


def _scaled(view: View, loss: ast.expr, frame: Frame, depth: int = 0) -> bool:
    """Whether a loss is divided or weighted on its way, or may be where that cannot be seen."""
    loss, frame = view.values.follow(loss, frame)
    if depth > 8:
        return True
    if isinstance(loss, ast.BinOp):
        if isinstance(loss.op, ast.Div | ast.Mult):
            return True
        return _scaled(view, loss.left, frame, depth + 1) and _scaled(view, loss.right, frame, depth + 1)
    if isinstance(loss, ast.Call):
        target = view.project.target(loss, frame.function)
        if view.values.kind(loss.func, frame).name in ("loss", "model"):
            return False
        if isinstance(target, Function):
            inner = view.values.enter(loss, target, frame)
            return not target.returns or any(_scaled(view, r, inner, depth + 1) for r in target.returns)
        return not frame.function.source.called(loss).startswith("torch.nn.functional.")
    if isinstance(loss, ast.Attribute) and loss.attr == "loss":
        return _scaled(view, loss.value, frame, depth + 1)
    key = dotted(loss)
    if not isinstance(loss, ast.Name) or not key:
        return True
    assigns = view.flow.reaching(key, loss, frame.function)
    return not assigns or any(
        a.how != "=" or a.value is None or _scaled(view, a.value, frame, depth + 1) for a in assigns
    )
