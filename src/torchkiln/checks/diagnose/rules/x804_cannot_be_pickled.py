"""Something cannot be sent to another process.

## What

A worker or rank is started by spawn and gets a lambda, a local function, an open file, a lock, or a class of a
notebook.

## Why

Under spawn (the default on Windows and macOS) all that a process gets is pickled, by name.

## Bad

```python
import pickle

pickle.dumps(lambda b: b)
```

## Good

```python
import pickle

pickle.dumps(len)
```

## Fix

Put functions and classes at the top of a module (not in a function, a notebook or `__main__`), open files and
connections in the worker (`worker_init_fn`, first `__getitem__`), or use `num_workers=0`.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"[Cc]an't pickle|[Cc]annot pickle|Can't get local object|cannot be pickled|"
        r"it's not the same object as|PicklingError",
        kind="PicklingError|AttributeError|TypeError|RuntimeError|Error",
    ),
    Seen(r"Can't get attribute '\w+' on <module", frame=r"multiprocessing/", weight=16),
)
