"""Whether a file answers as the trained net does: what is compared, and what must hold.

Shapes: n rows, C classes. A prediction is probabilities [n, C], numbers [n], or for a net of the person's own
any float array [n, ...].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.codec.base import Array, Arrays, Ragged

MARGIN = 1e-4
"""Where a reference's two likeliest classes lie closer, rounding alone decides between them."""
LEAST_SPREAD = 1e-6
LEAST_CLASS_ROWS = 50
_ROUNDING = 1e-9
NEAR = 0.1
"""Numbers that differ by less than this many deviations of the reference agree."""


@dataclass(frozen=True)
class Truth:
    """What is known of the rows besides their inputs.

    Args:
        target: Class indices int64 [n] or numbers [n].
        metric: (target, prediction) -> the figure that compares.
        name: Of the metric.
        higher_is_better: Its direction.
    """

    target: Array
    metric: Callable[[Array, Array], float]
    name: str
    higher_is_better: bool

    def at(self, rows: Array) -> Truth:
        """Of these rows alone."""
        return replace(self, target=self.target[rows])


@dataclass(frozen=True)
class Comparison:
    """One output of a file beside the trained net's.

    Args:
        rows: n.
        max_abs: Largest difference; infinite where one side is finite and the other is not.
        over_std: The same over the reference's deviation over rows.
        p999: The difference that 99.9 % of the numbers stay within.
        agreement: Share of rows with the same likeliest class, or with numbers that lie near.
        flips: Rows of another class though the reference's margin is `MARGIN` or more.
        void: Why the rows can prove nothing; empty where they can.
        metric: Name and both sides' value; empty where the target is not known.
        loss: How much worse the file's metric is, in points: hundredths of a score, percents of an error.
        class_loss: The most points of recall that a class of `LEAST_CLASS_ROWS` rows or more loses, and its index.
    """

    rows: int
    max_abs: float
    over_std: float
    p999: float
    agreement: float
    flips: int
    void: str = ""
    metric: dict[str, Any] = field(default_factory=dict)
    loss: float = 0.0
    class_loss: tuple[float, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; None in place of what is not finite."""
        found = {name: finite(value) for name, value in asdict(self).items()}
        found["metric"] = {name: finite(value) for name, value in self.metric.items()}
        found["class_loss"] = list(self.class_loss or ()) or None
        return {k: v for k, v in found.items() if v not in ("", None, {})}


@dataclass(frozen=True)
class Gate:
    """What a kind of file must hold.

    Args:
        over_std: Most of max abs / std(reference); None: not asked.
        agreement: Least share of rows with the same answer.
        flips: Whether labels may differ at all where the reference's margin is `MARGIN` or more.
        points: Most points of the metric that may be lost; None: it is equal to 4 digits.
        class_points: Most points of a class's recall; None: not asked.
        cpu: Most of the FP32 file's CPU time, at batch 1 or 32; None: not asked.
    """

    over_std: float | None = None
    agreement: float = 0.0
    flips: bool = True
    points: float | None = None
    class_points: float | None = None
    cpu: float | None = None

    def faults(self, found: Comparison) -> list[str]:
        """One phrase for each thing that does not hold; speed is measured elsewhere."""
        said = []
        if self.over_std is not None and not found.over_std <= self.over_std:
            said.append(
                f"differs by {found.over_std:.1e} of the outputs' deviation, at most {self.over_std:.0e} passes"
            )
        if not self.flips and found.flips:
            said.append(f"{found.flips} of {found.rows:,} rows get another label though the net was not in doubt")
        if found.agreement < self.agreement:
            said.append(f"{found.agreement:.4f} of the answers agree, at least {self.agreement} must")
        if found.metric and self.points is None and not same_digits(*_sides(found)):
            first, second = _sides(found)
            said.append(
                f"{found.metric['name']} is {second:.6g} where the net's is {first:.6g}: 4 digits must be equal"
            )
        if self.points is not None and not found.loss <= self.points + _ROUNDING:
            said.append(f"{found.metric['name']} loses {found.loss:.2f} points, at most {self.points} may go")
        if self.class_points is not None and found.class_loss and found.class_loss[0] > self.class_points + _ROUNDING:
            lost, which = found.class_loss
            said.append(f"class {which} loses {lost:.1f} points of recall, at most {self.class_points:g} may go")
        return said


EXACT = Gate(over_std=1e-4, flips=False)
"""Files of the same numbers in FP32."""
HALF = Gate(over_std=5e-2, agreement=0.995, points=0.2)
INT8 = Gate(agreement=0.98, points=0.5, class_points=3.0, cpu=0.9)
GATES = {
    "onnx": EXACT,
    "pt2": EXACT,
    "aoti": EXACT,
    "torchscript": EXACT,
    "bf16": HALF,
    "fp16": HALF,
    "int8": INT8,
}
"""By the name of a file in the manifest."""


def compare(reference: Array, answer: Array, *, classes: bool, truth: Truth | None = None) -> Comparison:
    """How far a file's answers are from the trained net's for the same rows.

    Args:
        reference: The trained net's predictions.
        answer: The file's, of the same shape.
        classes: Whether they are probabilities of classes.
        truth: Of the same rows.

    Raises:
        ValueError: The shapes differ.
    """
    if reference.shape != answer.shape:
        raise ValueError(f"the file answers with shape {answer.shape} where the net gives {reference.shape}")
    apart = distance(reference, answer)
    spread = deviation(reference)
    same, flips = _agreement(reference, answer, apart, spread, classes)
    most = float(apart.max(initial=0.0))
    return Comparison(
        rows=len(reference),
        max_abs=most,
        over_std=most / spread if spread > 0 else (0.0 if most == 0.0 else math.inf),
        p999=float(np.quantile(apart, 0.999, method="inverted_cdf")) if apart.size else 0.0,
        agreement=float(same.mean()) if len(same) else 1.0,
        flips=flips,
        void=_void(reference, spread, classes),
        **({} if truth is None else _judged(reference, answer, truth, classes)),
    )


def distance(reference: Array, answer: Array) -> npt.NDArray[np.float64]:
    """|difference| of each number; 0 where both are the same, infinite where only one side is finite."""
    first, second = reference.astype(np.float64), answer.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(first - second)
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def deviation(reference: Array) -> float:
    """Over the rows, the root of the mean of the columns' variances: what is alike in all rows counts for nothing."""
    if not len(reference):
        return 0.0
    columns = reference.reshape(len(reference), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(columns.var(axis=0).mean())) if columns.size else 0.0


def finite(value: Any) -> Any:
    """None in place of a number that is not finite and so is no JSON."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def same_digits(first: float, second: float, digits: int = 4) -> bool:
    """Whether two figures differ by no more than half a unit of the last digit; two undefined ones are the same."""
    if not math.isfinite(first) or not math.isfinite(second):
        return math.isnan(first) and math.isnan(second)
    largest = max(abs(first), abs(second))
    if largest == 0.0:
        return True
    unit = 10.0 ** (math.floor(math.log10(largest)) + 1 - digits)
    return abs(first - second) <= 0.5 * unit


def different_arrays(trained: Arrays, served: Arrays) -> dict[str, str]:
    """Where a codec's arrays are not bit for bit the ones that training made: name to what differs; empty where none.

    Args:
        trained: Of the training pipeline.
        served: Of the bundle, for the same rows.
    """
    found = dict.fromkeys(sorted(set(trained) ^ set(served)), "is there on one side only")
    for name in sorted(set(trained) & set(served)):
        parts = [(_parts(trained[name])[i], part) for i, part in enumerate(_parts(served[name]))]
        for first, second in parts:
            if first.dtype != second.dtype or first.shape != second.shape:
                found[name] = f"is {second.dtype} {list(second.shape)}, not {first.dtype} {list(first.shape)}"
                break
            if wrong := _different_bits(first, second):
                found[name] = f"differs in {wrong:,} of {first.size:,} values"
                break
    return found


def _different_bits(first: Array, second: Array) -> int:
    if not first.size:
        return 0
    apart = first.reshape(-1).view(np.uint8) != second.reshape(-1).view(np.uint8)
    return int(apart.reshape(first.size, -1).any(axis=1).sum())


def _parts(array: Array | Ragged) -> list[Array]:
    whole = [array.values, array.offsets] if isinstance(array, Ragged) else [array]
    return [np.atleast_1d(np.ascontiguousarray(one)) for one in whole]


def _agreement(
    reference: Array, answer: Array, apart: npt.NDArray[np.float64], spread: float, classes: bool
) -> tuple[npt.NDArray[np.bool_], int]:
    """Which rows have the same answer, and how many have another label for no good reason."""
    if not classes:
        near = np.asarray((apart <= NEAR * spread).reshape(len(reference), -1).all(axis=1))
        return near, 0
    same = reference.argmax(axis=1) == answer.argmax(axis=1)
    first = np.sort(reference, axis=1)
    margin = first[:, -1] - first[:, -2] if reference.shape[1] > 1 else np.full(len(reference), np.inf)
    return same, int((~same & (margin >= MARGIN)).sum())


def _void(reference: Array, spread: float, classes: bool) -> str:
    if not len(reference):
        return "there are no rows"
    if not np.isfinite(reference).all():
        return "the trained net's own answers are not all finite"
    if classes and len(np.unique(reference.argmax(axis=1))) == 1:
        return "the trained net gives one and the same class to all rows"
    scale = 1.0 if classes else float(np.abs(reference).max(initial=0.0))
    return "the trained net answers all rows alike" if spread <= LEAST_SPREAD * scale else ""


def _judged(reference: Array, answer: Array, truth: Truth, classes: bool) -> dict[str, Any]:
    with np.errstate(all="ignore"):
        first, second = (truth.metric(truth.target, p) for p in (reference, answer))
    worse = first - second if truth.higher_is_better else second - first
    of = 1.0 if truth.higher_is_better else abs(first)  # a score is at most 1, an error has the target's unit
    found: dict[str, Any] = {
        "metric": {"name": truth.name, "reference": first, "file": second},
        "loss": 100.0 * worse / of if of else (0.0 if worse <= 0 else math.inf),
    }
    if classes:
        found["class_loss"] = _class_loss(reference, answer, truth.target)
    return found


def _class_loss(reference: Array, answer: Array, target: Array) -> tuple[float, int] | None:
    rows = np.bincount(target, minlength=reference.shape[1])
    kept = np.flatnonzero(rows >= LEAST_CLASS_ROWS)
    if not len(kept):
        return None
    hits = [np.bincount(target[p.argmax(axis=1) == target], minlength=len(rows)) for p in (reference, answer)]
    lost = 100.0 * (hits[0] - hits[1])[kept] / rows[kept]
    worst = int(lost.argmax())
    return float(lost[worst]), int(kept[worst])


def _sides(found: Comparison) -> tuple[float, float]:
    return found.metric["reference"], found.metric["file"]
