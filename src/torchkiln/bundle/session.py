"""ONNX Runtime: one model file, asked batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.bundle.manifest import Manifest, ModelFile
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.errors import BundleError
from torchkiln.runs import environment

BATCH = 64
_TYPES = {
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(bool)": "bool",
    **{f"tensor({sign}int{bits})": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""What ONNX Runtime calls the types that NumPy has."""


class Session:
    """A model of a bundle in ONNX Runtime, on the CPU.

    Args:
        file: The .onnx file, checked.
        manifest: Of its bundle.
        model: Which of the manifest's models it is.
        threads: Of one call; None goes by what this process may use.

    Raises:
        BundleError: ONNX Runtime refuses the file, or it takes other tensors than the manifest says.
    """

    def __init__(self, file: Path, manifest: Manifest, model: ModelFile, threads: int | None = None) -> None:
        import onnxruntime

        self.inputs, self.outputs, self.model = manifest.inputs, manifest.outputs, model
        self.threads = threads or cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 4
        # Waiting threads that spin take the cores of the requests beside them.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's classes share no base
            raise BundleError(f"{file}: ONNX Runtime {onnxruntime.__version__} cannot load it ({error})") from error
        self._names = [model.outputs.get(t.name, t.name) for t in self.outputs]
        for says, theirs in (
            ({model.inputs.get(t.name, t.name): t.dtype for t in self.inputs}, self._session.get_inputs()),
            (dict(zip(self._names, (t.dtype for t in self.outputs), strict=True)), self._session.get_outputs()),
        ):
            has = {t.name: _TYPES.get(t.type, t.type) for t in theirs}
            if says != has:
                raise BundleError(f"{file} has the tensors {has} and the manifest says {says}")

    def run(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one batch; inputs are brought to the dtype that the model takes."""
        feed = {
            self.model.inputs.get(t.name, t.name): np.ascontiguousarray(arrays[t.name], t.dtype) for t in self.inputs
        }
        found: Sequence[Any] = self._session.run(self._names, feed)
        return {t.name: np.asarray(value) for t, value in zip(self.outputs, found, strict=True)}

    def compute(self, arrays: Arrays, batch_size: int = BATCH) -> dict[str, Array]:
        """Outputs by name for any number of rows; those of like length share a batch, so that little is padded."""
        rows = len(next(iter(arrays.values())))
        out: dict[str, Array] = {}
        for indices in self._batches(arrays, rows, batch_size):
            found = self.run({n: a.padded(indices) if isinstance(a, Ragged) else a[indices] for n, a in arrays.items()})
            for name, value in found.items():
                if name not in out:
                    out[name] = np.empty((rows, *value.shape[1:]), value.dtype)
                out[name][indices] = value
        return out or {t.name: np.empty((0, *(n or 0 for n in t.shape[1:])), t.dtype) for t in self.outputs}

    def _batches(self, arrays: Arrays, rows: int, batch_size: int) -> Iterator[npt.NDArray[np.int64]]:
        """Indices of rows that go together: of like length, and of the very same where the net knows no padding."""
        lengths = {name: a.lengths for name, a in arrays.items() if isinstance(a, Ragged)}
        order = np.lexsort(list(lengths.values())[::-1]) if lengths else np.arange(rows)
        apart = np.zeros(max(0, rows - 1), bool)
        for tensor in self.inputs:
            if tensor.name in lengths and tensor.pad is None:
                apart |= np.diff(lengths[tensor.name][order]) != 0
        for group in np.split(order, np.flatnonzero(apart) + 1):
            for start in range(0, len(group), batch_size):
                yield group[start : start + batch_size]


def cores() -> int:
    """Threads that can compute at once here: processors of this process, or fewer where control groups grant less."""
    granted = quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return environment.cores() if granted is None else max(1, min(environment.cores(), math.ceil(granted)))


def quota(root: Path, own: Path) -> float | None:
    """Processors that control groups, of version 1 or 2, grant a process; None without a limit.

    A container may not see the path that the system names, but its own group as the root; and every group
    above holds too.

    Args:
        root: Where control groups are mounted.
        own: The process's list of its groups.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return None
    found: list[float] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root / controllers, root / "cpu"] if controllers else [root, root / "unified"]
        for mount in mounts:
            group = mount / path.lstrip("/")
            found += [share for folder in (group, *group.parents) if folder.is_relative_to(mount)
                      if (share := _granted(folder)) is not None]  # fmt: skip
    return min(found, default=None)


def _granted(group: Path) -> float | None:
    """Processors of one group: version 2 writes `QUOTA PERIOD` into one file, 1 into two; -1 is none."""
    try:
        if (group / "cpu.max").is_file():
            words = (group / "cpu.max").read_text().split()
        else:
            words = [(group / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period")]
        share = int(words[0]) / int(words[1])
    except (OSError, ValueError, IndexError, ZeroDivisionError):  # `max` is no number, and means none
        return None
    return share if share > 0 else None
