from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from torchkiln.checks.diagnose import facts

FOLDER = Path(facts.__file__).parent / "outside"


def run(code: str, folder: Path | None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(FOLDER), **({} if folder is None else {facts.FACTS: str(folder)})}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def test_facts_of_a_program_that_fails(tmp_path: Path) -> None:
    assert run("raise ValueError('x')", tmp_path).returncode == 1
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text())["chain"][0]["kind"] == "ValueError"


def test_nothing_is_left_by_one_that_ends_well(tmp_path: Path) -> None:
    assert run("import sys; assert 'torchkiln' not in sys.modules", tmp_path).returncode == 0
    assert not list(tmp_path.iterdir())


def test_without_a_folder_nothing_is_loaded() -> None:
    assert run("import sys; assert '_torchkiln_facts' not in sys.modules", None).returncode == 0
