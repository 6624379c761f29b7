"""A scaler or encoder is fitted before the split.

## What

A transform that learns from data (`StandardScaler`, `PCA`, `OneHotEncoder`, an imputer) is fitted on all rows, and
these are split into training and test rows afterwards.

## Why

Statistics of the test rows are in what the model is trained on: the score is too good, and not what will be seen
later.

## Bad

```python
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

X = StandardScaler().fit_transform(X)
X_train, X_test = train_test_split(X)
```

## Good

```python
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

X_train, X_test = train_test_split(X)
scaler = StandardScaler().fit(X_train)
X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
```

## Fix

Split first, fit on the training rows, transform both.

## How sure

90 %. Encoders of labels are no fault.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkiln.checks.lint.source import Function, dotted, position
from torchkiln.checks.lint.view import Found, View

SPLITS = ("train_test_split", "random_split", "KFold", "StratifiedKFold")
LEARNING = ("sklearn.preprocessing.", "sklearn.decomposition.", "sklearn.impute.", "sklearn.feature_extraction.",
            "sklearn.feature_selection.", "category_encoders.")  # fmt: skip
OF_LABELS = ("LabelEncoder", "LabelBinarizer", "MultiLabelBinarizer", "FunctionTransformer", "Normalizer")


def check(view: View) -> Iterator[Found]:
    """One finding for each fitting."""
    for function in view.functions:
        if not function.source.imports:
            continue
        splits = list(_splits(view, function))
        if not splits:
            continue
        for call, given, result in _fits(view, function):
            data = {given, result} - {""}
            for place, names_ in splits:
                if (
                    position(call) < place
                    and data & names_
                    and not any(w in given.lower() for w in ("train", "label", "target"))
                ) and given not in ("y", "labels", "targets"):
                    yield Found(call, function.source, f"this is fitted on {given}, which is split afterwards")
                    break


def _fits(view: View, function: Function, depth: int = 0) -> Iterator[tuple[ast.Call, str, str]]:
    """(call, what it is fitted on, what its result is called) here and in helpers that are handed the data."""
    source = function.source
    for call in function.calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("fit", "fit_transform") and call.args:
            if _learns(view, call.func.value, function):
                parent = source.parents.get(call)
                yield call, dotted(call.args[0]) or _first(call.args[0]), _result(parent)
            continue
        target = view.project.target(call, function)
        if isinstance(target, Function) and depth < 2:
            params = target.params[1:] if target.params[:1] == ["self"] else target.params
            given = {p: dotted(a) for p, a in zip(params, call.args, strict=False)}
            for _, inner, _ in _fits(view, target, depth + 1):
                outer = given.get(inner) or (inner if inner.startswith("self.") else "")
                if outer:
                    yield call, outer, _result(source.parents.get(call))


def _result(parent: ast.AST | None) -> str:
    return dotted(parent.targets[0]) if isinstance(parent, ast.Assign) else ""


def _first(node: ast.expr) -> str:
    """The frame that columns are taken from: `df` of `df[["a", "b"]]`."""
    return dotted(node.value) if isinstance(node, ast.Subscript | ast.Attribute) else ""


def _learns(view: View, owner: ast.expr, function: Function) -> bool:
    frame = view.values.frame(function)
    made = view.flow.made(owner, frame)
    full = made[1].function.source.called(made[0]) if made else ""
    return full.startswith(LEARNING) and not full.endswith(OF_LABELS)


def _splits(view: View, function: Function, depth: int = 0) -> Iterator[tuple[tuple[int, int], set[str]]]:
    """Where data is split, and the names of what is."""
    for call in function.calls:
        if dotted(call.func).rpartition(".")[2] in SPLITS:
            used = {dotted(a) for a in call.args} | {_first(a) for a in call.args}
            for key in list(used):
                for assign in function.assigns.get(key, ()):
                    if assign.value is not None:
                        used |= {dotted(n) for n in ast.walk(assign.value) if isinstance(n, ast.Name | ast.Attribute)}
            yield position(call), used - {"", "self"}
        elif depth < 2:
            target = view.project.target(call, function)
            if isinstance(target, Function) and target is not function:
                params = target.params[1:] if target.params[:1] == ["self"] else target.params
                given = {p: dotted(a) for p, a in zip(params, call.args, strict=False)}
                for _, inner in _splits(view, target, depth + 1):
                    outer = {given[n] for n in inner if n in given} | {n for n in inner if n.startswith("self.")}
                    if outer:
                        yield position(call), outer
