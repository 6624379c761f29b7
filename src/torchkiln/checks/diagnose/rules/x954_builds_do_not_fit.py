"""Packages were built for one another's other versions.

## What

A library cannot be loaded, or an operator is missing: torch, torchvision, numpy or CUDA do not fit.

## Why

One of them was upgraded alone, or two package managers mixed.

## Bad

```text
RuntimeError: operator torchvision::nms does not exist
```

## Good

```sh
pip install --upgrade torch torchvision torchaudio
```

## Fix

Install torch, torchvision and torchaudio together from one index, rebuild extensions after it, and keep to one of
pip and conda.

## How sure

95 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"operator torchvision::\w+ does not exist|Couldn't load custom C\+\+ ops|undefined symbol:|"
        r"numpy\.dtype size changed|compiled using NumPy 1\.x cannot be run|Numpy is not available|"
        r"module compiled against (?:API|ABI) version|lib(?:cudart|cublas|cudnn|nccl|cusparse|nvrtc|torch|"
        r"c10)\w*\.so[\w.]*: cannot open shared object|DLL load failed|CXXABI_|GLIBCXX_|"
        r"were compiled with different CUDA|CUDA version .* mismatches the version|has no attribute '(?:bool8|"
        r"float_|int0|object0)'",
        kind="Error|Exception",
        weight=18,
    ),
)
