"""A whole model was saved, and its class is not found.

## What

Loading a pickled model looks for a class or module that is not where it was.

## Why

`torch.save(model)` keeps the class by its module's name; the file or folder was renamed, or the script is another.

## Bad

```text
Traceback (most recent call last):
  File "serve.py", line 5, in <module>
    model = torch.load("model.pt", weights_only=False)
  File "/venv/lib/python3.11/site-packages/torch/serialization.py", line 1529, in find_class
    return super().find_class(mod_name, name)
AttributeError: Can't get attribute 'Net' on <module '__main__' from 'serve.py'>
```

## Good

```python
torch.save(model.state_dict(), "model.pt")
```

## Fix

Import the class under its old name before loading, then save the `state_dict()` in place of the model.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"Can't get attribute '\w+' on <module|No module named",
        frame=r"torch/serialization|find_class|pickle\.py",
        weight=17,
        no_frame=r"multiprocessing/",
    ),
    Seen(r"Can't get attribute '\w+' on <module", weight=5),
    lint=("D203",),
)
