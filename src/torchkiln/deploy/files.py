"""The files of a bundle that hold the model: each written, loaded in a fresh process, and run at other sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.export import ExportedProgram

from torchkiln.codec.base import Array
from torchkiln.deploy import fresh, program, to_onnx, to_pt2
from torchkiln.deploy.graph import Graph
from torchkiln.errors import ExportError

FORMATS = ("onnx", "pt2")
"""What `write` makes, in the order in which it is made and shown."""
_CLOSE = 1e-2
"""Share of an output's spread within which a file must lie at every size; the proof on real rows is stricter."""


@dataclass(frozen=True)
class Written:
    """A file that was written, loaded and run.

    Args:
        form: onnx, pt2, ...
        file: Its name in the bundle.
        names: Our names of inputs and outputs to those in the file.
    """

    form: str
    file: str
    names: dict[str, str]


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
    made = program.trace(graph)
    cases = graph.cases()
    answers = [graph.run(case) for case in cases]
    found = []
    for form in forms:
        say(form)
        one = _write_one(form, made, graph, folder)
        _check(one, folder, cases, answers)
        found.append(one)
    return found


def _write_one(form: str, made: ExportedProgram, graph: Graph, folder: Path) -> Written:
    names = {name: name for name in [*(spec.name for spec in graph.inputs), *graph.outputs]}
    if form == "onnx":
        return Written(form, "model.onnx", to_onnx.write(made, graph, folder / "model.onnx"))
    to_pt2.write(made, folder / "model.pt2")
    return Written(form, "model.pt2", names)


def _check(one: Written, folder: Path, cases: Sequence[fresh.Named], answers: Sequence[fresh.Named]) -> None:
    """Whether the file gives what the net gives at every size."""
    found = fresh.run(one.form, folder / one.file, cases, one.names)
    for case, wanted, got in zip(cases, answers, found, strict=True):
        for name, value in wanted.items():
            if (fault := _differs(got[name], value)) is not None:
                size = ", ".join(f"{n} {'x'.join(map(str, a.shape))}" for n, a in case.items())
                raise ExportError(f"{one.file} gives {name} {fault} where {size} goes in: a size or a branch became a "
                                  "constant when the net was traced")  # fmt: skip


def _differs(found: Array, wanted: Array) -> str | None:
    if found.shape != wanted.shape:
        return f"of shape {found.shape} and the net {wanted.shape}"
    close = np.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE * float(wanted.std()) + 1e-6, equal_nan=True)
    return None if close else "other values than the net"
