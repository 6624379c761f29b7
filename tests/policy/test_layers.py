"""Rooms import from lower floors only: read from the code, imports inside functions and for types too."""

from __future__ import annotations

import ast
import graphlib
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "torchkiln"

# From the ground up; a room is a folder or a module below the package. `torchkiln` is its `__init__`.
FLOORS = (
    ("errors",),
    ("registry", "randomness"),
    ("recipe",),
    ("runs", "codec"),
    ("bundle",),
    ("data", "models", "serving", "report"),
    ("tasks",),
    ("training", "evaluation", "deploy", "checks"),
    ("stages",),
    ("api",),
    ("cli_checks",),
    ("cli_deploy",),
    ("cli",),
    ("torchkiln", "__main__"),
)
WITHOUT_TORCH = (
    "errors",
    "registry",
    "randomness",
    "recipe",
    "runs",
    "codec",
    "bundle",
    "serving",
    "report",
    "cli_checks",
    "cli_deploy",
    "cli",
)
TORCH = ("torch", "torchvision", "torchmetrics", "lightning", "pytorch_lightning", "transformers", "timm")
# Parts of rooms that must run on the base install too.
PARTS_WITHOUT_TORCH = (
    "torchkiln.checks.lint",
    "torchkiln.checks.diagnose",
    "torchkiln.checks.ready",
    "torchkiln.checks.asking",
    "torchkiln.checks.catalogue",
    "torchkiln.checks.finding",
)
WITH_LIGHTNING = ("data", "tasks", "training")
LIGHTNING = ("lightning", "pytorch_lightning")


@dataclass(frozen=True)
class Import:
    """One import statement's target: `torchkiln.data.source` or `torch.nn`, and where it stands."""

    module: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules(source: Path) -> dict[str, Path]:
    """Dotted name to file, of every module below the package's folder."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = (source.name, *path.relative_to(source).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: Path) -> list[Import]:
    """All imports of all modules; `from package import module` counts as an import of the module."""
    files = modules(source)
    found = []
    for module, path in files.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [Import(module, alias.name, node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = origin(node, package)
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    found.append(Import(module, inner if inner in files else base, node.lineno))
    return found


def origin(node: ast.ImportFrom, package: str) -> str:
    """The absolute name of what a `from` statement imports from."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def room(module: str) -> str:
    """`torchkiln.data.source` -> `data`, `torchkiln` -> `torchkiln`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def faults(source: Path) -> list[str]:
    """One sentence for each broken rule."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    unknown = sorted({room(module) for module in modules(source)} - set(floor))
    found = [f"room {name} is on no floor" for name in unknown]
    if found:
        return found
    for one in imports(source):
        here, top = room(one.module), one.target.split(".")[0]
        if top == source.name:
            there = room(one.target)
            if there != here and floor.get(there, len(FLOORS)) >= floor[here]:
                found.append(f"{one}: not on a lower floor")
        part = any(one.module == p or one.module.startswith(f"{p}.") for p in PARTS_WITHOUT_TORCH)
        if (
            part
            and top == source.name
            and one.target.startswith(f"{source.name}.checks.")
            and not one.target.startswith(PARTS_WITHOUT_TORCH)
        ):
            found.append(f"{one}: lint knows no other check")
        if (here in WITHOUT_TORCH or part) and top in TORCH:
            found.append(f"{one}: this room works without torch")
        if top in LIGHTNING and here not in WITH_LIGHTNING:
            found.append(f"{one}: lightning is known to {', '.join(WITH_LIGHTNING)} alone")
    return found + cycles(source)


def cycles(source: Path) -> list[str]:
    """One sentence if modules import one another in a circle."""
    graph: dict[str, set[str]] = {module: set() for module in modules(source)}
    for one in imports(source):
        if one.target in graph:
            graph[one.module].add(one.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [f"cycle: {' <- '.join(error.args[1])}"]
    return []


def test_every_import_points_down() -> None:
    assert len(imports(SOURCE)) > 50, "the imports were not found"
    assert faults(SOURCE) == []


PLANTED = {
    "upwards": ("codec/table.py", "from torchkiln.tasks._base import Task", "not on a lower floor"),
    "upwards to a module": ("recipe/load.py", "from torchkiln import api", "not on a lower floor"),
    "sideways": ("data/order.py", "import torchkiln.models.losses", "not on a lower floor"),
    "relative": ("data/order.py", "from ..training import loop", "not on a lower floor"),
    "deferred": (
        "runs/directory.py",
        "def f() -> None:\n    from torchkiln.report.page import write",
        "not on a lower floor",
    ),
    "for types": (
        "errors.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from torchkiln.recipe.schema import Recipe",
        "not on a lower floor",
    ),
    "the front door": ("report/page.py", "import torchkiln", "not on a lower floor"),
    "torch": ("codec/image.py", "def f() -> None:\n    import torch.nn", "works without torch"),
    "torch in lint": ("checks/lint/run.py", "def f() -> None:\n    import torch", "works without torch"),
    "lint and another check": ("checks/lint/run.py", "from torchkiln.checks.guard import x", "knows no other check"),
    "lightning": ("evaluation/held_out.py", "from lightning import Trainer", "lightning is known to"),
    "cycle": (
        "data/order.py",
        "def f() -> None:\n    from torchkiln.data import loader",
        "cycle: torchkiln.data.",
    ),
    "itself": ("data/order.py", "from torchkiln.data.order import x", "cycle: torchkiln.data.order"),
    "a new room": ("tools/things.py", "", "room tools is on no floor"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small package that keeps the rules."""
    source = tmp_path / "torchkiln"
    good = {
        "__init__.py": "import torchkiln.api",
        "errors.py": "",
        "api.py": "from torchkiln.training import loop",
        "codec/table.py": "import numpy",
        "data/loader.py": "from torchkiln.data import order\nimport torch\nimport lightning",
        "data/order.py": "from .. import randomness",
        "models/losses.py": "import torch",
        "randomness.py": "",
        "recipe/load.py": "from torchkiln import errors, randomness",
        "report/page.py": "from ..runs.directory import RunDirectory",
        "runs/directory.py": "",
        "tasks/_base.py": "from torchkiln.data import loader",
        "training/loop.py": "from torchkiln.tasks import _base",
    }
    for name, text in good.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return source


def test_a_good_tree_has_no_fault(tree: Path) -> None:
    assert faults(tree) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str, tree: Path) -> None:
    file, code, fault = PLANTED[name]
    path = tree / file
    path.parent.mkdir(exist_ok=True, parents=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{code}\n", encoding="utf-8")
    found = faults(tree)
    assert any(fault in one for one in found), found
