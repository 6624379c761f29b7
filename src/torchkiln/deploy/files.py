"""The files of a bundle that hold the model: each written, loaded in a fresh process, and run at other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.export import ExportedProgram

from torchkiln.bundle.machine import describe
from torchkiln.codec.base import Array
from torchkiln.deploy import causes, fresh, program, to_aoti, to_onnx, to_pt2, to_torchscript
from torchkiln.deploy.graph import Graph
from torchkiln.errors import ExportError, KilnError

FORMATS = ("onnx", "pt2", "aoti", "torchscript")
"""What `write` makes, in the order in which it is made and shown."""
NAMES = {"onnx": "model.onnx", "pt2": "model.pt2", "aoti": "model.aoti.pt2", "torchscript": "model.torchscript.pt"}
"""Of the files, by format."""
_CLOSE = 1e-2
"""Share of an output's spread within which a file must lie at every size; the proof on real rows is stricter."""


@dataclass(frozen=True)
class Written:
    """A file that was written, loaded and run.

    Args:
        form: onnx, pt2, ...
        file: Its name in the bundle.
        names: Our names of inputs and outputs to those in the file.
        machine: What it needs to run, where that is not so everywhere: see `bundle.machine`.
    """

    form: str
    file: str
    names: dict[str, str]
    machine: dict[str, str] | None = None


def write(graph: Graph, forms: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[Written]:
    """Make each file from one export of the graph.

    Args:
        graph: To export.
        forms: Of `FORMATS`.
        folder: To write into.
        say: Told which file is being made.

    Raises:
        ExportError: The net cannot be exported, or a file does not answer as the net does.
    """
    if "aoti" in forms:
        to_aoti.check_compiler()
    cases = graph.cases()
    answers = [_eager(graph, case) for case in cases]
    _check_rows(graph, cases[1])
    try:
        made = program.trace(graph)
    except ExportError:
        raise
    except Exception as error:  # of many kinds
        raise ExportError(f"the net cannot be exported: {causes.explain(error)}") from error
    found = []
    for form in (f for f in FORMATS if f in forms):
        say(form)
        one = _write_one(form, made, graph, folder)
        _check(one, folder, cases, answers)
        found.append(one)
    return found


def _write_one(form: str, made: ExportedProgram, graph: Graph, folder: Path) -> Written:
    file = folder / NAMES[form]
    names = {name: name for name in [*(spec.name for spec in graph.inputs), *graph.outputs]}
    machine: dict[str, str] | None = None
    try:
        if form == "onnx":
            names = to_onnx.write(made, graph, file)
        elif form == "pt2":
            to_pt2.write(made, file)
            machine = {"torch": str(torch.__version__)}
        elif form == "aoti":
            to_aoti.write(made, file)
            machine = describe(str(torch.__version__))
        else:
            to_torchscript.write(graph, file)
    except (OSError, KilnError):
        raise
    except Exception as error:  # of many kinds
        raise ExportError(f"the net cannot be written as {form}: {causes.explain(error)}") from error
    return Written(form, file.name, names, machine)


def _eager(graph: Graph, case: fresh.Named) -> dict[str, Array]:
    """What the net itself gives, which it must at every size."""
    try:
        return graph.run(case)
    except Exception as error:  # the person's own code
        raise ExportError(f"the net itself does not take {_sizes(case)}: {causes.explain(error)}") from error


def _check_rows(graph: Graph, case: fresh.Named) -> None:
    """Whether the net answers the same when asked again, and for a row alone as among others."""
    once, again = _eager(graph, case), _eager(graph, case)
    alone = _eager(graph, {name: array[:1] for name, array in case.items()})
    for name, value in once.items():
        if not np.array_equal(value, again[name], equal_nan=True):
            left = [n.removeprefix("net.") for n, module in graph.module.named_modules() if module.training]
            where = f" ({left[0]} is in training mode)" if left else ""
            raise ExportError(f"the net gives another {name} each time it is asked{where}; {causes.IN_TRAINING}")
        if fault := _differs(alone[name], value[:1]):
            raise ExportError(f"the net gives {name} {fault} for a row alone than beside others; its first dimension "
                              f"must be the batch, each answer of its own row: {causes.IN_TRAINING}")  # fmt: skip


def _check(one: Written, folder: Path, cases: Sequence[fresh.Named], answers: Sequence[fresh.Named]) -> None:
    """Whether the file gives what the net gives at every size."""
    found = fresh.run(one.form, folder / one.file, cases, one.names)
    for case, wanted, got in zip(cases, answers, found, strict=True):
        for name, value in wanted.items():
            if (fault := _differs(got[name], value)) is not None:
                raise ExportError(f"{one.file} gives {name} {fault} than the net for {_sizes(case)}: a size or a "
                                  "branch became a constant when the net was traced")  # fmt: skip


def _differs(found: Array, wanted: Array) -> str | None:
    if found.shape != wanted.shape:
        return f"of another shape ({found.shape}, not {wanted.shape})"
    close = np.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * float(wanted.std()) + 1e-6, equal_nan=True)
    return None if close else "of other values"


def _sizes(case: fresh.Named) -> str:
    """`ids of 2x8`, for sentences."""
    return ", ".join(f"{name} of {'x'.join(map(str, array.shape))}" for name, array in case.items())
