from __future__ import annotations

import ast
from pathlib import Path

import pytest

from torchkiln.checks import catalogue
from torchkiln.checks.lint.fix import applied, mend
from torchkiln.checks.lint.run import lint
from torchkiln.checks.lint.settings import Settings
from torchkiln.checks.lint.view import Edit

ALL = Settings(strict=True)
LOOP = """import torch
for x, y in loader:
    loss = criterion(model(x), y)  # kept
    loss.backward()
    optimizer.step()
    total += loss
"""


def mended(text: str, path: Path, unsafe: bool = False) -> str:
    path.write_text(text)
    mend(lint([path], ALL).read, ALL.rules(), unsafe)
    return path.read_text()


def test_safe_mends_alone_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    safe = mended(LOOP, path)
    assert "total += loss.detach()" in safe and "zero_grad" not in safe and "# kept" in safe
    assert "    optimizer.zero_grad()\n    loss.backward()" in mended(LOOP, path, unsafe=True)


@pytest.mark.parametrize("rule", [r for r, page in catalogue.pages().items() if page.wing == "lint"])
def test_a_mend_parses_removes_its_finding_and_is_done_once(rule: str, tmp_path: Path) -> None:
    """Whatever of the pages' bad examples is mended."""
    path = tmp_path / "bad.py"
    text = catalogue.page(rule).snippet("Bad")
    settings = Settings(select=(rule,))
    path.write_text(text)
    before = lint([path], settings)
    counts = mend(before.read, {rule}, unsafe=True).counts
    once = path.read_text()
    ast.parse(once)
    assert len(lint([path], settings)) == len(before) - counts[rule]
    assert (once != text) == bool(counts)
    assert rule not in MENDED or counts[rule] == 1, once
    mend(lint([path], settings).read, {rule}, unsafe=True)
    assert path.read_text() == once


MENDED = {"E101", "E108", "E116", "E117", "W113", "W125", "W126", "W129", "W131", "D201", "D202", "D203", "D206",
          "D207", "P302", "P304", "P308", "S404", "E115"}  # fmt: skip


def test_a_mend_that_does_not_hold_is_not_written(tmp_path: Path) -> None:
    text = "import torch\nx = torch.load((name))\n"  # the argument's end lies within its brackets
    assert mended(text, tmp_path / "a.py", unsafe=True) == text


def test_ends_of_lines_and_letters_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_bytes("import torch\r\nname = 'é'; m = torch.load(name)\r\n".encode())
    mend(lint([path], ALL).read, ALL.rules(), True)
    assert path.read_bytes() == "import torch\r\nname = 'é'; m = torch.load(name, weights_only=True)\r\n".encode()


def test_a_shell_script_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "run.sh"
    assert (
        mended("python -m torch.distributed.launch --nproc_per_node=2 t.py\n", path)
        == "torchrun --nproc_per_node=2 t.py\n"
    )


def test_edits_that_overlap_are_refused() -> None:
    assert applied("abc", [Edit((1, 0), (1, 2), "x"), Edit((1, 1), (1, 3), "y")]) is None
    assert applied("ab\ncd", [Edit((2, 0), (2, 1), "x"), Edit((1, 2), (1, 2), "!")]) == "ab!\nxd"
