"""ONNX Runtime: one model file, asked batch by batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchkiln.bundle.manifest import Manifest, ModelFile, Tensor
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.errors import BundleError
from torchkiln.runs import environment

BATCH = 64


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
        for ours, theirs in (
            ([model.inputs.get(t.name, t.name) for t in self.inputs], self._session.get_inputs()),
            (self._names, self._session.get_outputs()),
        ):
            if sorted(ours) != sorted(t.name for t in theirs):
                raise BundleError(f"{file} has the tensors {[t.name for t in theirs]} and the manifest says {ours}")

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
        ragged = [a for a in arrays.values() if isinstance(a, Ragged)]
        order = np.argsort(ragged[0].lengths, kind="stable") if ragged else np.arange(rows)
        out: dict[str, Array] = {}
        for start in range(0, rows, batch_size):
            indices = order[start : start + batch_size]
            found = self.run({n: a.padded(indices) if isinstance(a, Ragged) else a[indices] for n, a in arrays.items()})
            for name, value in found.items():
                if name not in out:
                    out[name] = np.empty((rows, *value.shape[1:]), value.dtype)
                out[name][indices] = value
        return out or {t.name: _none(t) for t in self.outputs}


def cores() -> int:
    """Threads that compute at once here: the processors of this process, less where a quota holds it back."""
    quota = _quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, min(environment.cores(), math.ceil(quota) if quota else os.cpu_count() or 1))


def _quota(root: Path, own: Path) -> float | None:
    """Processors that control groups grant, of version 1 or 2; None without a limit."""
    return None


def _none(tensor: Tensor) -> Array:
    return np.empty((0, *(size or 0 for size in tensor.shape[1:])), tensor.dtype)
