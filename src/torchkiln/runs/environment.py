"""What a run ran on: versions, platform, git. Needs no torch; what torch knows is handed in."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("torchkiln", "torch", "torchvision", "lightning", "numpy", "polars", "scikit-learn", "pillow",
            "safetensors", "tokenizers", "transformers", "timm")  # fmt: skip

FLAGS = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "ATEN_CPU_CAPABILITY",
         "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
         "ONEDNN_DEFAULT_FPMATH_MODE")  # fmt: skip
"""Variables that change the bits of a result. No others are read: some hold secrets."""
_CALLED = {"model": "the CPU", "kernels": "the kind of kernels for the CPU", "threads": "the number of threads"}


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
        "cpu": {"model": cpu_model(), "threads": cores()},
        "flags": {name: os.environ[name] for name in FLAGS if os.environ.get(name)},
        "git": git(folder),
    }  # fmt: skip


def differences(then: Mapping[str, Any], now: Mapping[str, Any], threads_matter: bool) -> list[str]:
    """What differs between two lives of a run and may change bits, a phrase each.

    Args:
        then, now: As in environment.json; what one of them lacks is no difference, but for flags.
        threads_matter: Whether the number of threads goes by the machine and is not said by the recipe.
    """
    found = []
    for part in ("versions", "packages", "cpu"):
        old, new = then.get(part) or {}, now.get(part) or {}
        for name in old:
            known = part == "packages" and name in (then.get("versions") or {})
            if name not in new or known or (name == "threads" and not threads_matter):
                continue
            if old[name] != new[name]:
                found.append(f"{_CALLED.get(name, name)} was {old[name]} and is {new[name]}")
    devices = [(life.get("device") or {}).get("name") for life in (then, now)]
    if all(devices) and devices[0] != devices[1]:
        found.append(f"the device was {devices[0]} and is {devices[1]}")
    if "flags" in then:
        old, new = then["flags"] or {}, now.get("flags") or {}
        found += [f"{name} was {old.get(name, 'unset')} and is {new.get(name, 'unset')}"
                  for name in sorted({*old, *new}) if old.get(name) != new.get(name)]  # fmt: skip
    return found


def cpu_model() -> str:
    """The processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def spare_waiting() -> None:
    """Have waiting threads of libgomp go to sleep soon; it is read once, when torch is loaded.

    They else spin while they wait, which on a machine with neighbours costs several times the CPU and the time
    of the work itself.
    """
    if "OMP_WAIT_POLICY" not in os.environ and "torch" not in sys.modules:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")


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
