"""The tests have the shape of what they test: one file of unit tests for each module."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def expected(source: Path) -> set[str]:
    """`data/source.py` -> `data/test_source.py`; a leading underscore of the module is dropped.

    Rules are tested by the tables in tests/contract, which ask for cases of each.
    """
    return {
        str(path.relative_to(source).with_name(f"test_{path.stem.lstrip('_')}.py"))
        for path in source.rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py") and path.parent.name != "rules"
    }


def found(tests: Path) -> set[str]:
    return {str(path.relative_to(tests)) for path in tests.rglob("test_*.py")}


def test_unit_tests_mirror_the_source() -> None:
    wanted, there = expected(ROOT / "src" / "torchkiln"), found(ROOT / "tests" / "unit")
    assert len(wanted) > 20
    assert sorted(wanted - there) == [], "modules without a file of unit tests"
    assert sorted(there - wanted) == [], "files of unit tests without a module"


def test_a_gap_is_seen(tmp_path: Path) -> None:
    for name in (
        "src/data/source.py",
        "src/data/__init__.py",
        "src/tasks/_base.py",
        "unit/data/test_order.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert expected(tmp_path / "src") == {"data/test_source.py", "tasks/test_base.py"}
    assert found(tmp_path / "unit") == {"data/test_order.py"}
