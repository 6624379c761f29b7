"""Which machine compiled code is for: elsewhere it would die of an instruction that is not there."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from torchkiln.errors import BundleError
from torchkiln.runs import environment

_CPUINFO = Path("/proc/cpuinfo")
_MATTERS = ("sse4", "avx", "fma", "amx", "bmi", "f16c", "asimd", "sve", "i8mm", "bf16")
"""Beginnings of the names of instruction sets that compilers use."""


def describe(torch: str) -> dict[str, str]:
    """What code that is compiled here needs: for `ModelFile.machine`.

    Args:
        torch: The version of torch that compiled it.
    """
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": environment.cpu_model(),
        "instructions": " ".join(sorted(instructions())),
        "torch": torch,
    }


def check(what: str, machine: Mapping[str, str], torch: str | None) -> None:
    """Refuse a file that was compiled for another machine, before any of it runs.

    Args:
        what: The file, as it is called in the error.
        machine: As `describe` gave it where the file was made; a part that is not there is not compared.
        torch: The version that is installed here; None without torch.

    Raises:
        BundleError: Says what differs.
    """
    here = f"{platform.system()} {platform.machine()}"
    again = "export the run on a machine like this one, or use its model.onnx"
    if machine.get("system", here) != here:
        raise BundleError(f"{what} was compiled for {machine['system']} and this is {here}; {again}")
    if lacking := sorted(set(machine.get("instructions", "").split()) - instructions()):
        raise BundleError(
            f"{what} was compiled for {machine.get('cpu', 'another CPU')}, and this CPU ({environment.cpu_model()}) "
            f"lacks its instructions {', '.join(lacking)}; {again}"
        )
    if "torch" in machine and machine["torch"] != torch:
        has = f"torch {torch}" if torch else "no torch"
        raise BundleError(f"{what} was made by torch {machine['torch']} and here is {has}; {again}")


def instructions() -> set[str]:
    """Instruction sets of this CPU that compiled code may use, as the system names them."""
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    flags = (line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features")))
    return {flag for flag in next(flags, []) if flag.startswith(_MATTERS)}
