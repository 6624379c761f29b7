"""An exported program compiled to machine code by AOTInductor: quick to start without Python, and of one machine."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler
from torch.export import ExportedProgram

from torchkiln.deploy.packing import repacked
from torchkiln.errors import ExportError

SOURCES = (".cpp", ".data/serialization_id")
"""What the package does not need: C++ with the paths of this machine, and a number that follows from it."""


def write(program: ExportedProgram, file: Path) -> None:
    """Compile the program and write its package.

    Raises:
        ExportError: There is no C++ compiler.
    """
    check_compiler()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, file.name)
        # Lines of the source are left out: they would name folders of this machine.
        settings = {"aot_inductor.enable_line_tables": False}
        torch._inductor.aoti_compile_and_package(program, package_path=str(package), inductor_configs=settings)
        file.write_bytes(repacked(package.read_bytes(), SOURCES))


def check_compiler() -> None:
    """Whether there is a C++ compiler, which is told before anything else is done.

    Raises:
        ExportError: There is none.
    """
    try:
        found = shutil.which(get_cpp_compiler())
    except InvalidCxxCompiler:
        found = None
    if found is None:
        raise ExportError("--format aoti compiles C++ and there is no compiler here: install g++, or name one in CXX")
