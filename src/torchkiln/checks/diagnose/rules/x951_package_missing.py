"""A package is not installed.

## What

An import fails: the module is not in this environment.

## Why

It was installed into another environment, or is an optional part.

## Bad

```python
import a_package_that_nobody_has
```

## Good

```python
import json
```

## Fix

`python -m pip install NAME` with the very Python that runs the program; some names differ (cv2: opencv-python, PIL:
pillow, sklearn: scikit-learn, yaml: pyyaml).

## How sure

93 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(r"No module named '(?P<name>[\w.]+)'", kind="ModuleNotFoundError|ImportError", weight=11),
    fix="`python -m pip install` what brings `{name}`, with the very Python that runs the program; of your "
    "own module look at the working directory and PYTHONPATH.",
)
