"""Validation data is shuffled or augmented.

## What

A loader over validation or test data has `shuffle=True`, or a validation data set is made with random transforms,
its own or those of the training set that it was split from.

## Why

Random transforms make the score noisy and mostly too low. Shuffling changes which samples share the last batch, so
that scores of two epochs or two models are not of the same batches.

## Bad

```python
from torch.utils.data import DataLoader

val_loader = DataLoader(val_set, batch_size=64, shuffle=True)
```

## Good

```python
from torch.utils.data import DataLoader

val_loader = DataLoader(val_set, batch_size=64, shuffle=False)
```

## Fix

Give held-out data `shuffle=False` and transforms without chance.

## How sure

88 %.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint import names
from torchkiln.checks.lint.rules.e110_activation_before_loss import frames
from torchkiln.checks.lint.rules.w125_training_not_shuffled import use
from torchkiln.checks.lint.source import Function, argument, constant, dotted, keyword
from torchkiln.checks.lint.values import Frame
from torchkiln.checks.lint.view import Found, View, replaced

CHANCE = ("Random", "ColorJitter", "AutoAugment", "RandAugment", "TrivialAugmentWide", "AugMix", "GaussianNoise")


def check(view: View) -> Iterator[Found]:
    """One finding for each loader or data set."""
    for call, function in view.calls(names.LOADER):
        for frame in frames(view, function):
            shuffle = argument(call, 2, "shuffle")
            given = view.values.follow(shuffle, frame)[0] if shuffle is not None else None
            if constant(given) is True and use(view, call, frame) == "held out":
                edits = [replaced(shuffle, "False")] if shuffle is given and shuffle is not None else []
                yield Found(call, function.source, "held-out data is shuffled", edits, safe=False)
                break
    for function in view.functions:
        yield from _augmented(view, function)


def _augmented(view: View, function: Function) -> Iterator[Found]:
    for call in function.calls:
        frame = view.values.frame(function)
        transform = keyword(call, "transform")
        if transform is not None and _held_out(call, function) and _chance(view, transform, frame):
            yield Found(call, function.source, "held-out data goes through random transforms")
        elif function.source.called(call) == "torch.utils.data.random_split" and call.args:
            parent = function.source.parents.get(call)
            made = view.flow.made(call.args[0], frame)
            transform = keyword(made[0], "transform") if made else None
            if (
                isinstance(parent, ast.Assign)
                and isinstance(parent.targets[0], ast.Tuple)
                and transform is not None
                and made
            ):
                written = [dotted(t) for t in parent.targets[0].elts]
                if any(names.HELD_OUT_NAME.search(w) for w in written) and _chance(view, transform, made[1]):
                    yield Found(
                        call, function.source, "the held-out part shares the random transforms of the training part"
                    )


def _held_out(call: ast.Call, function: Function) -> bool:
    """Whether a data set is one for validation, as its target, its split or its folder says."""
    parent = function.source.parents.get(call)
    targets = [dotted(t) for t in parent.targets] if isinstance(parent, ast.Assign) else []
    if isinstance(parent, ast.Return):
        targets.append(function.name)
    train = keyword(call, "train")
    if constant(train) is True or any(names.TRAIN_NAME.search(t) for t in targets):
        return False
    if constant(train) is False or any(names.HELD_OUT_NAME.search(t.rpartition(".")[2]) for t in targets):
        return True
    return constant(keyword(call, "split")) in ("val", "valid", "validation", "test")


def _chance(view: View, transform: ast.expr, frame: Frame) -> bool:
    """Whether a transform is random."""
    transform, frame = view.values.follow(transform, frame)
    made = view.flow.made(transform, frame)
    if made is None:
        return False
    call, inner = made
    target = view.project.target(call, inner.function)
    found: list[ast.AST] = list(target.returns) if isinstance(target, Function) else [call]
    for root in found:
        for one in ast.walk(root):
            if isinstance(one, ast.Call):
                last = dotted(one.func).rpartition(".")[2]
                if (last.startswith(CHANCE) and last != "RandomApply") or last == "RandomApply":
                    return True
    return False
