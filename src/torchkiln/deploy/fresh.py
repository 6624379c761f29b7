"""A file loaded and run in a process of its own, as whoever gets it will: only then does it count as written.

As a program: `python -m torchkiln.deploy.fresh KIND FILE CASES ANSWERS`, where CASES is an .npz of `CASE/INPUT`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.errors import ExportError

Named = Mapping[str, npt.NDArray[Any]]
PATIENCE = 600
"""Seconds after which a file that answers nothing is given up."""


def run(kind: str, file: Path, cases: Sequence[Named], names: Mapping[str, str]) -> list[dict[str, npt.NDArray[Any]]]:
    """The file's outputs for batches, from a process that knows nothing but the file.

    Args:
        kind: onnx, pt2, aoti or torchscript.
        file: Of this kind.
        cases: Batches by our names, in the order of the module's inputs.
        names: Our names of inputs and outputs to the file's; the outputs behind the inputs.

    Raises:
        ExportError: It cannot be loaded, or run with one of the batches.
    """
    inputs = list(cases[0])
    outputs = [name for name in names if name not in inputs]
    with tempfile.TemporaryDirectory() as folder:
        given, answers = Path(folder, "cases.npz"), Path(folder, "answers.npz")
        batches: dict[str, Any] = {f"{i}/{names[n]}": a for i, case in enumerate(cases) for n, a in case.items()}
        np.savez(given, **batches)
        command = [sys.executable, "-m", "torchkiln.deploy.fresh", kind, str(file), str(given), str(answers)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"{file.name} did not answer within {PATIENCE} s") from error
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
            raise ExportError(f"{file.name} cannot be run in a fresh process: {said[-1][:300]}")
        with np.load(answers) as found:
            return [{n: found[f"{i}/{j}"] for j, n in enumerate(outputs)} for i in range(len(cases))]


Runner = Callable[[dict[str, npt.NDArray[Any]]], Sequence[npt.NDArray[Any]]]


def _onnx(file: str) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, batch)


def opened(kind: str, file: str | Path) -> Runner:
    """A file ready to run in this process: a batch by the file's names, in the order of its inputs, to its outputs."""
    return _onnx(str(file)) if kind in ("onnx", "int8") else _torch(_loaded(kind, str(file)))


def _torch(module: Any) -> Runner:
    import torch

    def answer(batch: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(a) for a in batch.values()))
        return [out.numpy() for out in ((found,) if isinstance(found, torch.Tensor) else found)]

    return answer


def _loaded(kind: str, file: str) -> Any:
    import torch

    if kind == "pt2":
        return torch.export.load(file).module()
    if kind == "aoti":
        return torch._inductor.aoti_load_package(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every door of TorchScript warns that it is deprecated, which we say ourselves
        return torch.jit.load(file)  # type: ignore[no-untyped-call]


def main(kind: str, file: str, cases: str, answers: str) -> None:
    """What the fresh process does."""
    if kind != "onnx":
        import torch

        torch.set_num_threads(1)
    runner = opened(kind, file)
    batches: dict[str, dict[str, npt.NDArray[Any]]] = {}
    with np.load(cases) as given:
        for name in given.files:
            case, _, tensor = name.partition("/")
            batches.setdefault(case, {})[tensor] = given[name]
    found: dict[str, Any] = {
        f"{case}/{i}": out for case, batch in batches.items() for i, out in enumerate(runner(batch))
    }
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
