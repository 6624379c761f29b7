"""`torch.distributed.launch` is deprecated.

## What

A program is started by `python -m torch.distributed.launch`: in a shell script, a workflow, a Makefile or Python.

## Why

It is deprecated in favour of `torchrun`, which restarts failed workers and sets the ranks as environment
variables.

## Bad

```python
import subprocess

subprocess.run(["python", "-m", "torch.distributed.launch", "train.py"])
```

## Good

```python
import subprocess

subprocess.run(["torchrun", "train.py"])
```

## Fix

Use `torchrun`; read `LOCAL_RANK` from the environment in place of `--local_rank`.

## How sure

99 %.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from torchkiln.checks.lint.source import Source
from torchkiln.checks.lint.view import Edit, Found, View

COMMAND = re.compile(r"python[\d.]*\s+-m\s+torch\.distributed\.launch(?![.\w])")
PLAIN = re.compile(r"torch\.distributed\.launch(?![.\w])")


def check(view: View) -> Iterator[Found]:
    """One finding for each string, import or use in Python."""
    for source in view.sources:
        if "distributed.launch" not in source.text:
            continue
        for node in ast.walk(source.tree):
            if (
                (isinstance(node, ast.Constant) and isinstance(node.value, str) and _said(source, node))
                or (isinstance(node, ast.ImportFrom) and node.module == "torch.distributed.launch")
                or (isinstance(node, ast.Import) and any(a.name == "torch.distributed.launch" for a in node.names))
            ):
                yield Found(node, source, "torch.distributed.launch is deprecated")


def _said(source: Source, node: ast.Constant) -> bool:
    """Whether a string is a word or a line of a command, and no documentation."""
    text = str(node.value)
    if isinstance(source.parents.get(node), ast.Expr):
        return False
    return text.strip() == "torch.distributed.launch" or bool(COMMAND.search(text))


def in_text(text: str) -> Iterator[tuple[int, str, list[Edit]]]:
    """(line, what is there, how to mend it) in a file that is not Python."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("#", "//")) or not PLAIN.search(line):
            continue
        found = COMMAND.search(line)
        edits = []
        if found and "--use_env" not in line and "--use-env" not in line:
            start = len(line[: found.start()].encode())
            edits = [Edit((number, start), (number, len(line[: found.end()].encode())), "torchrun")]
        yield number, "torch.distributed.launch is deprecated", edits
