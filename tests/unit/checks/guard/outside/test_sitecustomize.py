from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from torchkiln.checks.guard import launch
from torchkiln.checks.guard.hook import FOLDER


def python(code: str, path: list[Path], folder: Path, *options: str) -> str:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), FOLDER: str(folder)}
    done = subprocess.run([sys.executable, *options, "-c", code], env=env, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_the_persons_own_runs_after_it(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.mine = True\n")
    code = "import sys; print(sys.mine, sys.modules['sitecustomize'].__file__, sys.path)"
    said = python(code, [launch.OUTSIDE, tmp_path], tmp_path)
    assert said.startswith(f"True {tmp_path}") and str(launch.OUTSIDE) not in said


def test_nothing_heavy_is_imported_before_torch(tmp_path: Path) -> None:
    code = "import sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pydantic', 'typer'}))"
    assert python(code, [launch.OUTSIDE], tmp_path) == "[]\n"
    assert list(tmp_path.iterdir()) == []


def test_torchkiln_is_found_where_the_program_has_none(tmp_path: Path) -> None:
    code = "import sys; from torchkiln.checks.guard import hook; print(hook.FOLDER, sys.flags.no_site)"
    assert FOLDER in python(code, [launch.OUTSIDE], tmp_path)
