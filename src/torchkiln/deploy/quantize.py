"""An INT8 file of a net, kept where it pays: inside the gate of answers, and faster on this machine.

Activations are UInt8, weights Int8 by channel. Signed activations would be slower by up to 3.5 times here.
"""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    create_calibrator,
    quantize_dynamic,
    quantize_static,
    save_tensors_data,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from torchkiln.bundle.proof import GATES, Truth, compare, distance
from torchkiln.codec.base import Array, Arrays
from torchkiln.deploy import fresh
from torchkiln.deploy.prove import Runner, Sample, batch, by_length, computed
from torchkiln.deploy.timing import cpu_in_turns

CALIBRATION_ROWS = 256
MOST_JUDGED = 2_000
"""Validation rows that candidates are judged on; what is kept is proven on all of them."""
TIMED = (1, 32)
"""Rows a batch."""
METHODS: dict[str, tuple[CalibrationMethod, dict[str, Any]]] = {
    "min-max": (CalibrationMethod.MinMax, {}),
    # With its own 128 bins for 128 levels there is nothing to choose, and the range is that of min-max.
    "entropy": (CalibrationMethod.Entropy, {"num_bins": 1024}),
    "percentile": (CalibrationMethod.Percentile, {"percentile": 99.99, "symmetric": False}),
}
LAYERS_LEFT = (1, 2, 4, 8)
"""How many of the most sensitive layers are left in FP32, one after the other."""
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "Flatten", "GlobalAveragePool", "LeakyRelu", "MaxPool", "Mul",
            "Pad", "Relu", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze")  # fmt: skip
"""Operators that work in 8 bits if what is around them does; a softmax or a norm in 8 bits costs too much."""
_TYPES = sorted((*_WEIGHTED, *_BETWEEN))
_ROWS_A_BATCH = 32
_SENSITIVITY_ROWS = 64


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
        held_out: Beside the eager net, JSON-ready.
        faults: What of its answers does not hold, in phrases.
        cpu: Milliseconds of CPU a call by rows a batch: [the FP32 file, this file].
        fast: Whether that is little enough at one of them.
    """

    choice: Choice
    held_out: dict[str, Any]
    faults: list[str]
    cpu: dict[str, list[float]]
    fast: bool

    @property
    def good(self) -> bool:
        """Whether it may be kept."""
        return self.fast and not self.faults

    @property
    def ratio(self) -> float:
        """Of the CPU time of FP32, at the batch size where it is least."""
        return min(own / plain for plain, own in self.cpu.values())

    def __str__(self) -> str:
        times = ", ".join(f"{100 * own / plain:.0f} % at batch {n}" for n, (plain, own) in self.cpu.items())
        said = [*self.faults, *([f"CPU time {times} of that in FP32"] if times else [])]
        return f"{self.choice}: {'; '.join(said)}"


@dataclass(frozen=True)
class Int8:
    """What came of it.

    Args:
        kept: The choice whose file was written; None where INT8 does not pay.
        tried: In the order of trial.
        refused: Why the file that was chosen is not kept after all.
    """

    kept: Choice | None
    tried: list[Tried]
    refused: list[str] = field(default_factory=list)

    @property
    def why(self) -> str:
        """One sentence with the figures."""
        said = " | ".join([*map(str, self.tried), *self.refused])
        return f"INT8 by {self.kept}; tried: {said}" if self.kept else f"INT8 does not pay here; tried: {said}"

    def as_json(self) -> dict[str, Any]:
        """What is the same on each export: nothing that a clock said but the verdict."""
        tried = [{**asdict(t.choice), "held_out": t.held_out, "faults": t.faults, "fast": t.fast} for t in self.tried]
        return {"kept": self.kept and asdict(self.kept), "tried": tried, "refused": self.refused}

    @property
    def cpu(self) -> list[dict[str, list[float]]]:
        """Milliseconds of each that was tried, as `Tried.cpu`."""
        return [t.cpu for t in self.tried]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Int8:
        """From `as_json` and, as `cpu`, what the clock said."""
        tried = [
            Tried(_choice(t), t["held_out"], t["faults"], cpu, t["fast"])
            for t, cpu in zip(found["tried"], found["cpu"], strict=True)
        ]
        return cls(_choice(found["kept"]) if found["kept"] else None, tried, found["refused"])


@dataclass(frozen=True)
class Material:
    """What a file is quantised and judged by.

    Args:
        source: The FP32 file.
        names: Our name of each input to the file's.
        calibration: Training rows as the codec makes them.
        judged: Validation rows, with the eager net's predictions.
        classes: Whether those are probabilities of classes.
        truth: Of the judged rows.
    """

    source: Path
    names: Mapping[str, str]
    calibration: Arrays
    judged: Sample
    classes: bool
    truth: Truth | None = None


def quantize(material: Material, out: Path, decided: Int8 | None = None) -> Int8:
    """Write an INT8 file to `out` if one pays.

    First min-max calibration, which tells how fast INT8 is at all. Where it is fast and wrong: entropy, percentile,
    then the most sensitive layers left in FP32. Nets without convolutions may be quantised dynamically too.

    Args:
        material: The file, and what it is judged by.
        out: The file to write.
        decided: What an earlier export of the same file found on this machine: made again, not measured anew, since
            a file that is kept or not by what the clock says would not be the same twice.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        try:
            maker = _Maker(material, Path(folder))
        except Exception as error:  # of many kinds; the FP32 file is none the worse for it
            return Int8(None, [], [f"it cannot be made ready: {_first_line(error)}"])
        found = decided or _chosen(maker)
        if found.kept:
            maker.make(found.kept, out)
    return found


def _chosen(maker: _Maker) -> Int8:
    tried: list[Tried] = []
    for choice in _choices(maker, tried):
        tried.append(_try(maker, choice))
    good = [one for one in tried if one.good]
    return Int8(min(good, key=lambda one: one.ratio).choice if good else None, tried)


def runner(file: Path, names: Mapping[str, str]) -> Runner:
    """Batches by our names through an ONNX file with one output, on one thread."""
    opened = fresh.opened("onnx", file)
    return lambda feeds: np.asarray(opened({theirs: feeds[ours] for ours, theirs in names.items()})[0])


def _choices(maker: _Maker, tried: list[Tried]) -> Iterator[Choice]:
    """What to try next, by what was found so far."""
    yield Choice("static", "min-max")
    if not maker.convolutions:
        yield Choice("dynamic")
    if any(one.good for one in tried) or not tried[0].fast:
        return
    for method in ("entropy", "percentile"):
        yield Choice("static", method)
        if tried[-1].good:
            return
    sensitive = maker.sensitive()
    for count in (n for n in LAYERS_LEFT if n < len(sensitive)):
        yield Choice("static", "min-max", tuple(sensitive[:count]))
        if tried[-1].good or not tried[-1].fast:
            return


def _try(maker: _Maker, choice: Choice) -> Tried:
    material, file = maker.material, maker.folder / "tried.onnx"
    try:
        maker.make(choice, file)
        run = runner(file, material.names)
        answer = computed(run, material.judged.arrays)
    except Exception as error:  # the quantiser and ONNX Runtime know operators that they cannot do in 8 bits
        return Tried(choice, {}, [f"it cannot be made: {_first_line(error)}"], {}, False)
    found = compare(material.judged.reference, answer, classes=material.classes, truth=material.truth)
    cpu = {str(size): maker.timed(run, size) for size in TIMED}
    beside = _hangs_on_neighbours(run, material.judged.arrays) if choice.form == "dynamic" else []
    most = GATES["int8"].cpu
    fast = most is None or min(own / plain for plain, own in cpu.values()) <= most
    faults = [*GATES["int8"].faults(found), *[found.void] * bool(found.void), *beside]
    return Tried(choice, found.as_json(), faults, cpu, fast)


def _hangs_on_neighbours(run: Runner, arrays: Arrays) -> list[str]:
    """What is to be said where a row is answered otherwise in a batch than alone, as a phrase or none.

    Activations that are scaled anew in each call take their scale from all its rows: with one extreme row beside it a
    server would answer nonsense to another.
    """
    rows = by_length(arrays)[:_ROWS_A_BATCH]
    together = run(batch(arrays, rows))
    alone = np.concatenate([run(batch(arrays, rows[i : i + 1])) for i in range(len(rows))])
    apart = compare(alone, together, classes=False).over_std
    most = GATES["onnx"].over_std
    assert most is not None
    return [f"a row's answer hangs on the rows beside it, by {apart:.2g} of the spread"] if apart > most else []


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _choice(found: Mapping[str, Any]) -> Choice:
    return Choice(found["form"], found["calibration"], tuple(found["fp32"]))


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
        self.ranks = {one.name: len(one.dims) for one in model.graph.initializer}
        self.left = self._left()
        self.convolutions = any(node.op_type in ("Conv", "ConvTranspose") for node in self.nodes)
        self.plain = runner(material.source, material.names)

    def make(self, choice: Choice, file: Path) -> None:
        """Write the file of a choice."""
        if choice.form == "dynamic":
            types = ["MatMul", "Gemm"]
            quantize_dynamic(
                self.prepared, file, types, per_channel=True, weight_type=QuantType.QInt8, nodes_to_exclude=self.left
            )
        else:
            self._static(file, choice.calibration, exclude=[*choice.fp32, *self.left])
        _without_doc(file)

    def timed(self, run: Runner, size: int) -> list[float]:
        """CPU milliseconds of the FP32 file and of another for a batch of so many rows."""
        arrays = self.material.judged.arrays
        rows = np.resize(by_length(arrays), size)
        times = cpu_in_turns({"plain": self.plain, "own": run}, batch(arrays, rows))
        return [times["plain"], times["own"]]

    def sensitive(self) -> list[str]:
        """Layers with weights, the one first whose quantisation alone moves the answers furthest."""
        judged, moved = self.material.judged, {}
        rows = by_length(judged.arrays)[:_SENSITIVITY_ROWS]
        feeds = batch(judged.arrays, rows)
        plain, file = self.plain(feeds), self.folder / "one.onnx"
        for node in (n for n in self.nodes if n.op_type in _WEIGHTED and n.name not in self.left):
            self._static(file, "min-max", only=[node.name])
            far = distance(plain, runner(file, self.material.names)(feeds))
            moved[node.name] = float(far.mean())
        return sorted(moved, key=lambda name: -moved[name])

    def _static(self, file: Path, method: str, *, only: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        quantize_static(
            self.prepared,
            file,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_TYPES,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(only),
            nodes_to_exclude=list(exclude),
            calibrate_method=METHODS[method][0],
            calibration_cache_path=self._ranges(method),
        )

    def _ranges(self, method: str) -> Path:
        """The file of the tensors' ranges by a calibration, computed once."""
        found = self.folder / f"{method}.json"
        if not found.exists():
            kind, options = METHODS[method]
            augmented = str(self.folder / "augmented.onnx")
            calibrator = create_calibrator(self.prepared, _TYPES, augmented, kind, extra_options=options)
            calibrator.collect_data(_Reader(self.material.calibration, self.material.names))
            save_tensors_data(calibrator.compute_data(), found)
        return found

    def _left(self) -> list[str]:
        """Nodes that never come in 8 bits.

        Those behind the last layer with weights, so that the answer itself is not cut to 256 levels; and products
        with a stack of matrices, for which ONNX Runtime takes no scale by channel.
        """
        needed: set[str] = set()
        left = []
        for node in reversed(self.nodes):
            stacked = node.op_type == "MatMul" and any(self.ranks.get(name, 2) > 2 for name in node.input)
            if node.op_type in _WEIGHTED or needed & set(node.output):
                needed |= set(node.input)
            else:
                stacked = True
            left += [node.name] * stacked
        return left


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Batches of calibration rows, of like length."""

    def __init__(self, arrays: Arrays, names: Mapping[str, str]) -> None:
        order = by_length(arrays)
        parts = [order[i : i + _ROWS_A_BATCH] for i in range(0, len(order), _ROWS_A_BATCH)]
        self._batches = ({n: batch(arrays, rows)[k] for k, n in names.items()} for rows in parts)

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
