"""What a run ran on: versions, platform, git. Needs no torch; what torch knows is handed in."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("torchkiln", "torch", "torchvision", "lightning", "numpy", "polars", "scikit-learn", "pillow",
            "safetensors", "tokenizers", "transformers", "timm")  # fmt: skip


def describe(folder: Path) -> dict[str, Any]:
    """Python, packages, platform, and the git commit of the folder the person works in.

    Args:
        folder: The working directory.
    """
    return {
        "versions": {"python": platform.python_version(), "torch": version("torch"),
                     "lightning": version("lightning")},
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "git": git(folder),
    }  # fmt: skip


def version(package: str) -> str | None:
    """An installed package's version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def git(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout around `folder` and whether it has changes; None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return {"commit": commit, "changed": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
