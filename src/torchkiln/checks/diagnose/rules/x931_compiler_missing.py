"""`torch.compile` finds no compiler.

## What

Inductor needs a C++ compiler or Triton and finds none that works.

## Why

A slim container without g++, Windows without MSVC, or a Triton that does not fit torch.

## Bad

```text
torch._inductor.exc.InductorError: InvalidCxxCompiler: No working C++ compiler found in
torch._inductor.config.cpp.cxx: (None, 'g++')
```

## Good

```sh
apt-get install -y g++ python3-dev
```

## Fix

Install a compiler (g++ and Python's headers; on Windows MSVC), or for GPUs the Triton that torch names; without
them leave out `torch.compile`.

## How sure

96 %.
"""

from __future__ import annotations

from torchkiln.checks.diagnose.rule import Rule, Seen

RULE = Rule(
    Seen(
        r"No working C\+\+ compiler|InvalidCxxCompiler|Cannot find a working triton installation|"
        r"TritonMissing|[Cc]ompiler: cl is not found|No module named 'triton|"
        r"cannot import name '\w+' from 'triton|Failed to find C compiler|fatal error: Python\.h|"
        r"Python\.h: No such file|g\+\+: (?:not found|command not found)|No such file or directory: '(?:g\+\+|"
        r"gcc|cc|clang\+\+)'|'cl' is not recognized|[Nn]inja is required",
        weight=26,
    ),
)
