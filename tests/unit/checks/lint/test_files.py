from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchkiln.checks.lint import files


def notebook(*cells: str) -> str:
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "# x"}]
                       + [{"cell_type": "code", "source": c.splitlines(keepends=True)} for c in cells]})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("a.py", b"def f(:\n", "no Python that can be read: line 1"),
        ("a.py", b"x = 1\0\n", "null bytes"),
        ("a.py", b"x = '\xff'\n", "is not UTF-8"),
        ("a.py", b"# coding: nothing\n", "no Python"),
        ("a.py", b"#" * (files.LARGEST + 1), "are not read"),
        ("a.py", b"(" * 5000, "a.py"),
        ("a.ipynb", b"{", "no notebook"),
        ("a.ipynb", b'{"cells": []}', "without cells"),
    ],
)
def test_bad_input_is_one_sentence_and_the_rest_is_read(name: str, raw: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "good.py").write_text("x = 1\n")
    done = files.read([tmp_path])
    (fault,) = done.faults
    assert said in fault and "\n" not in fault and len(done.sources) == 1


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    (empty,) = files.read([tmp_path]).faults
    (gone,) = files.read([tmp_path / "gone"]).faults
    assert "holds no Python files" in empty and "does not exist" in gone


def test_folders_of_others_are_passed_over(tmp_path: Path) -> None:
    for name in ("a.py", ".git/b.py", "node_modules/c.py", "env7/pyvenv.cfg", "env7/d.py", "old/e.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    done = files.read([tmp_path, tmp_path / "a.py"], exclude=["old"])
    assert [Path(s.name).name for s in done.sources] == ["a.py"]


def test_cells_in_order_without_magics(tmp_path: Path) -> None:
    file = tmp_path / "n.ipynb"
    file.write_text(
        notebook("%matplotlib inline\nimport torch\n!ls\nfiles = !ls", "%%bash\nls", "x = (", "torch.load('x')\n")
    )
    done = files.read([file])
    (source,) = done.sources
    assert "import torch" in source.text and "bash" not in source.text
    assert done.cells[str(file)][-1] == (5, 1) and "cell 4" in done.faults[0]
