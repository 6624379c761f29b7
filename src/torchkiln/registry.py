"""Names to what they stand for, and the nearest right name for a wrong one."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torchkiln.errors import ModelError, RecipeError


def task_names() -> list[str]:
    """Names of the tasks: the modules of `torchkiln/tasks` that do not begin with an underscore.

    Found by listing the folder, so that neither torch nor a task is imported.
    """
    folder = Path(__file__).parent / "tasks"
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def load_task(name: str) -> type[Any]:
    """The one class of `torchkiln/tasks/NAME.py` whose `name` is NAME.

    Raises:
        RecipeError: There is no such task.
    """
    if name not in task_names():
        raise RecipeError(f"task: unknown task {name!r}{did_you_mean(name, task_names())}")
    module = importlib.import_module(f"torchkiln.tasks.{name}")
    found = [v for v in vars(module).values() if isinstance(v, type) and vars(v).get("name") == name]
    assert len(found) == 1, f"torchkiln.tasks.{name} must define one class with name = {name!r}"
    return found[0]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where none is near."""
    names = sorted(known)
    folded = {n.lower().replace("-", "_"): n for n in names}
    match = difflib.get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[match[0]] if match else None


def did_you_mean(name: str, known: Iterable[str], most: int = 12) -> str:
    """The tail of an error about a wrong name: `: did you mean 'x'? (known: ...)`."""
    names = sorted(known)
    near = nearest(name, names)
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    hint = f": did you mean {near!r}?" if near else ":"
    return f"{hint} (known: {listed})" if near else f"{hint} known are {listed}"


def load_object(class_path: str, where: str) -> Any:
    """What a dotted path such as `my_pkg.net.Net` names.

    Args:
        class_path: Module and attribute, parted by the last dot.
        where: The recipe's key, for the error.

    Raises:
        ModelError: The module cannot be imported or has no such name.
    """
    module_name, _, attribute = class_path.rpartition(".")
    if not module_name:
        raise ModelError(f"{where}: {class_path!r} is no class path; write package.module.Name")
    if os.getcwd() not in sys.path:  # as `python -m` has it, but behind all else, so that nothing is hidden
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ModelError(
            f"{where}: module {module_name!r} of {class_path!r} cannot be imported ({error}); "
            "is its folder on PYTHONPATH or the working directory?"
        ) from error
    if not hasattr(module, attribute):
        hint = did_you_mean(attribute, (n for n in vars(module) if not n.startswith("_")))
        raise ModelError(f"{where}: module {module_name!r} has no {attribute!r}{hint}")
    return getattr(module, attribute)
