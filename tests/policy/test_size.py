"""Functions, files and names stay small enough to be read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "torchkiln"
LONG_FUNCTION, LONGEST_FUNCTION, LONGEST_FILE, MOST_NAMES = 40, 80, 400, 12
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def functions(source: Path) -> dict[str, int]:
    """`file:name` to lines, of every function and method."""
    return {
        f"{path.relative_to(source)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in sorted(source.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def faults(source: Path) -> list[str]:
    """One sentence for each broken rule."""
    lengths = functions(source)
    found = [f"{name}: {n} lines" for name, n in lengths.items() if n > LONGEST_FUNCTION]
    long = {name: n for name, n in lengths.items() if n > LONG_FUNCTION}
    if len(long) > 0.05 * len(lengths):
        found.append(f"{len(long)} of {len(lengths)} functions are longer than {LONG_FUNCTION} lines: {long}")
    for path in sorted(source.rglob("*.py")):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONGEST_FILE:
            found.append(f"{path.relative_to(source)}: {lines} lines")
        if {path.stem, *path.relative_to(source).parts} & VAGUE_NAMES:
            found.append(f"{path.relative_to(source)}: name it for what it gives")
    names = public_names(source / "__init__.py")
    if len(names) > MOST_NAMES:
        found.append(f"__all__ has {len(names)} names")
    return found


def public_names(path: Path) -> list[str]:
    """What `__all__` of a module lists, read without importing it."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def test_everything_is_small() -> None:
    assert len(functions(SOURCE)) > 50, "the functions were not found"
    assert faults(SOURCE) == []


def test_public_names_exist() -> None:
    import torchkiln

    names = public_names(SOURCE / "__init__.py")
    assert 0 < len(names) <= MOST_NAMES
    assert [name for name in names if getattr(torchkiln, name, None) is None] == []
    assert set(names) <= set(dir(torchkiln))


def function(lines: int, name: str = "f") -> str:
    return f"def {name}() -> None:\n" + "    pass\n" * (lines - 1)


PLANTED = {
    "one very long function": ("a.py", function(81), "81 lines"),
    "many long functions": ("a.py", function(41) + function(41, "g"), "2 of 12 functions"),
    "a long method": ("a.py", "class A:\n" + "    def f(self):\n" + "        pass\n" * 80, "81 lines"),
    "a long file": ("room/a.py", "\n" * 401, "401 lines"),
    "a vague module": ("room/utils.py", "", "name it for what it gives"),
    "a vague room": ("common/a.py", "", "name it for what it gives"),
    "many names": ("__init__.py", f"__all__ = {[f'name{i}' for i in range(13)]}", "__all__ has 13 names"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("__all__ = []\n", encoding="utf-8")
    small = "".join(function(40, f"small{i}") for i in range(9)) + function(2, "small9")
    (tmp_path / "small.py").write_text(small, encoding="utf-8")
    assert faults(tmp_path) == []
    file, code, fault = PLANTED[name]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(code, encoding="utf-8")
    assert any(fault in one for one in faults(tmp_path)), faults(tmp_path)
