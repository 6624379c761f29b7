"""An INT8 file of a net, kept where it pays: inside the gate of answers, and faster on this machine.

Activations are UInt8, weights Int8 by channel. Signed activations would be slower by up to 3.5 times here.
"""

from __future__ import annotations

import io
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from torchkiln.bundle.proof import GATES, Comparison, Gate, Truth, compare, deviation, distance
from torchkiln.codec.base import Array, Arrays
from torchkiln.deploy.prove import Runner, Sample, batch, by_length, computed

CALIBRATION_ROWS = 256
MOST_JUDGED = 2_000
"""Validation rows that candidates are judged on; what is kept is proven on all of them."""
TIMED = (1, 32)
"""Rows a batch."""
METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
LAYERS_LEFT = (1, 2, 4, 8)
"""How many of the most sensitive layers are left in FP32, one after the other."""
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul", "Pad",
            "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")  # fmt: skip
"""Operators that work in 8 bits if what is around them does; a softmax or a norm in 8 bits costs too much."""
_ROWS_A_BATCH = 32
_SENSITIVITY_ROWS = 64
_ROUNDS, _LEAST_SECONDS = 9, 0.004


@dataclass(frozen=True)
class Choice:
    """One way to quantise.

    Args:
        form: `static`, or `dynamic`: activations scaled anew in each call.
        calibration: Of static: a key of `METHODS`.
        fp32: Names of the layers that are left as they are.
    """

    form: str
    calibration: str = ""
    fp32: tuple[str, ...] = ()

    def __str__(self) -> str:
        left = f", {', '.join(self.fp32)} left in FP32" if self.fp32 else ""
        return f"{self.form}{f' {self.calibration}' if self.calibration else ''}{left}"


@dataclass(frozen=True)
class Tried:
    """What a choice gave.

    Args:
        choice: How it was quantised.
        comparison: Beside the eager net.
        cpu: Milliseconds of CPU a call by rows a batch: (FP32 file, this file).
        faults: Why it is not kept, in phrases; empty: it may be.
    """

    choice: Choice
    comparison: Comparison
    cpu: Mapping[int, tuple[float, float]]
    faults: list[str]

    @property
    def ratio(self) -> float:
        """Of the CPU time of FP32, at the batch size where it is least."""
        return min(own / plain for plain, own in self.cpu.values())

    def as_json(self) -> dict[str, Any]:
        """What does not change from one export to the next: no seconds."""
        return {**asdict(self.choice), "held_out": self.comparison.as_json()}


@dataclass(frozen=True)
class Int8:
    """What came of it.

    Args:
        kept: The choice whose file was written; None where INT8 does not pay.
        tried: In the order of trial.
        why: One sentence.
    """

    kept: Choice | None
    tried: list[Tried]
    why: str


@dataclass(frozen=True)
class Material:
    """What a file is quantised and judged by.

    Args:
        source: The FP32 file.
        names: Our name of each input to the file's.
        calibration: Training rows as the codec makes them.
        judged: Validation rows, with the eager net's predictions.
        classes: Whether those are probabilities of classes.
        truth: Of the validation rows.
        gate: What must hold.
    """

    source: Path
    names: Mapping[str, str]
    calibration: Arrays
    judged: Sample
    classes: bool
    truth: Truth | None = None
    gate: Gate = field(default_factory=lambda: GATES["int8"])


def quantize(material: Material, out: Path, decided: Choice | None = None) -> Int8:
    """Write an INT8 file to `out` if one pays.

    First min-max calibration, which tells how fast INT8 is at all. Where it is fast and wrong: entropy, percentile,
    then the most sensitive layers left in FP32. Nets without convolutions may be quantised dynamically too.

    Args:
        material: The file, and what it is judged by.
        out: The file to write.
        decided: What an earlier export of the same file chose on this machine: made again, not chosen anew.
    """
    tried: list[Tried] = []
    with tempfile.TemporaryDirectory() as folder, _quiet():
        maker = _Maker(material, Path(folder))
        for choice in [decided] if decided else _choices(maker, tried):
            tried.append(_try(maker, choice, out.parent / f"{out.name}.part"))
        good = [one for one in tried if not one.faults]
        best = min(good, key=lambda one: one.ratio) if good else None
        if best is None:
            return Int8(None, tried, _why_not(tried))
        maker.make(best.choice, out)
    return Int8(best.choice, tried, f"{best.choice}: {100 * best.ratio:.0f} % of the CPU time of FP32")


def session(file: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    """A file ready to run on so many threads of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


def runner(file: Path, names: Mapping[str, str], threads: int = 1) -> Runner:
    """Batches by our names through an ONNX file with one output."""
    loaded = session(file, threads)

    def run(feeds: Mapping[str, Array]) -> Array:
        return np.asarray(loaded.run(None, {names[k]: v for k, v in feeds.items()})[0])

    return run


def cpu_in_turns(runners: Mapping[str, Runner], feeds: Mapping[str, Array], rounds: int = _ROUNDS) -> dict[str, float]:
    """Median milliseconds of this thread's CPU a call, run A B A B, so that what the machine does meets all alike."""
    calls, found = {}, {name: [] for name in runners}
    for name, run in runners.items():
        run(feeds)  # the first call makes ready
        begun = time.thread_time()
        run(feeds)
        calls[name] = max(1, round(_LEAST_SECONDS / max(time.thread_time() - begun, 1e-6)))
    for _ in range(rounds):
        for name, run in runners.items():
            begun = time.thread_time()
            for _ in range(calls[name]):
                run(feeds)
            found[name].append(1e3 * (time.thread_time() - begun) / calls[name])
    return {name: statistics.median(times) for name, times in found.items()}


def _choices(maker: _Maker, tried: list[Tried]) -> Iterator[Choice]:
    """What to try next, by what was found so far."""
    yield Choice("static", "min-max")
    if not maker.convolutions:
        yield Choice("dynamic")
    if any(not one.faults for one in tried) or not _fast(tried[0], maker.material.gate):
        return
    for method in ("entropy", "percentile"):
        yield Choice("static", method)
        if not tried[-1].faults:
            return
    sensitive = maker.sensitive()
    for count in (n for n in LAYERS_LEFT if n < len(sensitive)):
        yield Choice("static", "min-max", tuple(sensitive[:count]))
        if not tried[-1].faults or not _fast(tried[-1], maker.material.gate):
            return


def _try(maker: _Maker, choice: Choice, file: Path) -> Tried:
    material = maker.material
    try:
        maker.make(choice, file)
        run = runner(file, material.names)
        answer = computed(run, material.judged.arrays)
        found = compare(material.judged.reference, answer, classes=material.classes, truth=material.truth)
        cpu = {size: maker.timed(run, size) for size in TIMED}
    finally:
        file.unlink(missing_ok=True)
    one = Tried(choice, found, cpu, [*material.gate.faults(found), *([found.void] if found.void else [])])
    if not _fast(one, material.gate):
        slow = ", ".join(f"{100 * own / plain:.0f} % at batch {n}" for n, (plain, own) in cpu.items())
        one.faults.append(f"its CPU time is {slow} of FP32's, at most {100 * (material.gate.cpu or 0):.0f} % pays")
    return one


def _fast(one: Tried, gate: Gate) -> bool:
    return gate.cpu is None or one.ratio <= gate.cpu


def _why_not(tried: Sequence[Tried]) -> str:
    said = "; ".join(f"{one.choice}: {', '.join(one.faults)}" for one in tried)
    return f"INT8 does not pay here ({said})"


class _Maker:
    """Makes the files of choices, each calibration computed once."""

    def __init__(self, material: Material, folder: Path) -> None:
        self.material, self.folder = material, folder
        self.prepared = folder / "prepared.onnx"
        plain = onnx.load(material.source)
        del plain.graph.value_info[:]  # those of the exporter contradict what the quantiser infers
        onnx.save(plain, folder / "plain.onnx")
        quant_pre_process(folder / "plain.onnx", self.prepared, skip_symbolic_shape=True)
        model = onnx.load(self.prepared)
        self.nodes = list(model.graph.node)
        self.convolutions = any(node.op_type in ("Conv", "ConvTranspose") for node in self.nodes)
        self.plain = runner(material.source, material.names)

    def make(self, choice: Choice, file: Path) -> None:
        """Write the file of a choice."""
        if choice.form == "dynamic":
            types = ["MatMul", "Gemm"]
            quantize_dynamic(self.prepared, file, types, per_channel=True, weight_type=QuantType.QInt8)
        else:
            self._static(file, choice.calibration, exclude=[*choice.fp32, *self._behind()])
        _without_doc(file)

    def timed(self, run: Runner, size: int) -> tuple[float, float]:
        """CPU milliseconds of the FP32 file and of another for a batch of so many rows."""
        arrays = self.material.judged.arrays
        rows = np.resize(by_length(arrays), size)
        times = cpu_in_turns({"plain": self.plain, "own": run}, batch(arrays, rows))
        return times["plain"], times["own"]

    def sensitive(self) -> list[str]:
        """Layers with weights, the one first whose quantisation alone moves the answers furthest."""
        judged, moved = self.material.judged, {}
        rows = by_length(judged.arrays)[:_SENSITIVITY_ROWS]
        feeds = batch(judged.arrays, rows)
        plain, file = self.plain(feeds), self.folder / "one.onnx"
        for node in (n for n in self.nodes if n.op_type in _WEIGHTED):
            self._static(file, "min-max", only=[node.name])
            far = distance(plain, runner(file, self.material.names)(feeds))
            moved[node.name] = float(far.mean())
        return sorted(moved, key=lambda name: -moved[name])

    def _static(self, file: Path, method: str, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        quantize_static(
            self.prepared,
            file,
            _Reader(self.material.calibration, self.material.names),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted((*_WEIGHTED, *_BETWEEN)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(only),
            nodes_to_exclude=list(exclude),
            calibrate_method=METHODS[method],
            calibration_cache_path=self.folder / f"{method}.json",
        )

    def _behind(self) -> list[str]:
        """Nodes behind the last layer with weights: the answer itself is not cut to 256 levels."""
        needed: set[str] = set()
        behind = []
        for node in reversed(self.nodes):
            if node.op_type in _WEIGHTED or needed & set(node.output):
                needed |= set(node.input)
            else:
                behind.append(node.name)
        return behind


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches of calibration rows, of like length."""

    def __init__(self, arrays: Arrays, names: Mapping[str, str]) -> None:
        order = by_length(arrays)
        parts = [order[i : i + _ROWS_A_BATCH] for i in range(0, len(order), _ROWS_A_BATCH)]
        self._batches = ({names[k]: v for k, v in batch(arrays, rows).items()} for rows in parts)

    def get_next(self) -> dict[str, Array] | None:
        return next(self._batches, None)


def _without_doc(file: Path) -> None:
    """Leave out what is not the same in two exports, such as the names of temporary folders."""
    model = onnx.load(file)
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    onnx.save(model, file)


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantiser advises through the root logger at each call, and prints what it calibrates."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
