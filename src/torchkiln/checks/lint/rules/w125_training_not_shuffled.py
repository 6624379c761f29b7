"""The training loader does not shuffle.

## What

A `DataLoader` over training data has neither `shuffle=True` nor a sampler.

## Why

Batches come in the order of the files, often one class after the other: training is slower and ends worse.

## Bad

```python
from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=64)
```

## Good

```python
from torch.utils.data import DataLoader

train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
```

## Fix

Give it `shuffle=True`, or a sampler.

## How sure

88 %. Data that must stay in order, such as a stream, is no fault.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.source import Class, Function, argument, constant, dotted, keyword, spread
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Edit, Found, View, another_argument, replaced


def check(view: View) -> Iterator[Found]:
    """One finding for each loader."""
    for call, function in view.calls(names.LOADER):
        for frame in frames(view, function):
            if use(view, call, frame) == "train" and not _ordered(view, call, frame):
                yield Found(
                    call,
                    function.source,
                    "this loader gives the training data in a fixed order",
                    _mend(call),
                    safe=False,
                )
                break


def use(view: View, call: ast.Call, frame: Frame) -> str:
    """`train` or `held out`, as the names around a loader or a data set say; "" where they do not."""
    said = [dotted(argument(call, 0, "dataset") or call)]
    given = argument(call, 0, "dataset")
    if given is not None:
        followed, _ = view.values.follow(given, frame)
        said.append(dotted(followed))
    said += _targets(call, frame)
    bare = [s.rpartition(".")[2] for s in said if s] + [s for s in said if s]
    train = any(names.TRAIN_NAME.search(s) for s in bare)
    held = any(names.HELD_OUT_NAME.search(s) for s in bare)
    return "" if train == held else "train" if train else "held out"


def _targets(call: ast.Call, frame: Frame) -> list[str]:
    """What a call's value is assigned to, or the function that returns it, and what its call is assigned to."""
    source = frame.function.source
    parent = source.parents.get(call)
    if isinstance(parent, ast.Assign):
        return [dotted(t) for t in parent.targets]
    if isinstance(parent, ast.keyword) and parent.arg:
        return [parent.arg]
    if isinstance(parent, ast.Dict):
        return [str(constant(k)) for k, v in zip(parent.keys, parent.values, strict=True) if v is call]
    if isinstance(parent, ast.Return):
        found = [frame.function.name]
        for _, (value, outer) in frame.bound.items():
            made = outer.function.source.parents.get(value)
            made = outer.function.source.parents.get(made) if isinstance(made, ast.keyword) else made
            if isinstance(made, ast.Call):
                found += _targets(made, outer)
                break
        return found
    return []


def _ordered(view: View, call: ast.Call, frame: Frame) -> bool:
    """Whether the order is chosen in some way, or cannot be told."""
    if (
        spread(call)
        or keyword(call, "sampler") is not None
        or keyword(call, "batch_sampler") is not None
        or len(call.args) > 3
    ):
        return True
    shuffle = argument(call, 2, "shuffle")
    if shuffle is not None:
        shuffle, inner = view.values.follow(shuffle, frame)
        if isinstance(shuffle, ast.Name) and shuffle.id in inner.function.params:
            shuffle = (
                inner.function.default(shuffle.id)
                if frame.bound or not view.project.callers.get(inner.function)
                else shuffle
            )
        if constant(shuffle) is not False:
            return True
    given = argument(call, 0, "dataset")
    made = view.project.instance(given, frame.function) if given is not None else None
    iterable = isinstance(made, Class) and any(b.endswith("IterableDataset") for b in view.project.bases(made))
    written = dotted(given).lower() if given is not None else ""
    return iterable or "iter" in written or "stream" in written or "seq" in written


def _mend(call: ast.Call) -> list[Edit]:
    shuffle = keyword(call, "shuffle")
    if shuffle is not None:
        return [replaced(shuffle, "True")] if constant(shuffle) is False else []
    return [another_argument(call, "shuffle=True")] if len(call.args) < 3 else []


__all__ = ["Function", "check", "use"]
