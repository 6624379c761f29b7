"""What several files of faults start from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of twenty small pictures."""
    random_colours = np.random.default_rng(0)
    for name in ("ants", "bees"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            pixels = random_colours.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i:02}.png")
    return tmp_path / "pictures"


@pytest.fixture
def small_shared_memory() -> list[str]:
    """A command before another, which then sees a /dev/shm of a few megabytes; skips where that is not allowed."""
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c",
               'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "sh"]  # fmt: skip
    if not shutil.which("unshare") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mounts of one's own")
    return command
