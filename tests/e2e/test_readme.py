"""The blocks of the README, run word for word by someone who has the data it speaks of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = [text for language, text in BLOCKS if language == "sh" and not text.startswith("make ")]
SCRIPTS = [text for language, text in BLOCKS if language == "python"]

TRAINING = """
import torch

net = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(5):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(torch.randn(8, 4)), torch.randint(0, 2, (8,))).backward()
    optimizer.step()
"""


def test_the_blocks_are_found() -> None:
    assert (len(BLOCKS), len(COMMANDS), len(SCRIPTS)) == (7, 5, 1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, customers: Path, houses: Path) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copy(customers, folder)
    shutil.copy(houses, folder)
    (folder / "src").mkdir()
    for file in ("train.py", "src/train.py"):
        (folder / file).write_text(TRAINING, encoding="utf-8")
    return folder


@pytest.mark.parametrize("block", COMMANDS, ids=lambda text: text.split("\n")[0])
def test_commands(block: str, place: Path, command: Path, environment: dict[str, str]) -> None:
    path = f"{command.parent}{os.pathsep}{environment['PATH']}"
    # a server goes on until it is told to end, and then ends well
    block = re.sub(r"^(torchkiln serve \S+).*$", r"timeout --preserve-status 8 \1 --port 0", block, flags=re.MULTILINE)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=place,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert any(place.glob("runs/*/report.html"))


def test_scripts(place: Path, environment: dict[str, str]) -> None:
    (place / "own.py").write_text(SCRIPTS[0], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "own.py"], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout
