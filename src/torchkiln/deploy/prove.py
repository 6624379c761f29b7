"""The proof that a file answers as the trained net does, from the raw record on.

Two ways lead from the same raw rows to predictions: training's (its codec, its net) and the bundle's (its
codec read back, the file). The arrays between must be equal bit for bit, the answers within the file's gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln.bundle.proof import (
    GATES,
    Comparison,
    Gate,
    Truth,
    compare,
    deviation,
    different_arrays,
    distance,
    finite,
)
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.errors import KilnError

Indices = npt.NDArray[np.int64]
Runner = Callable[[Mapping[str, Array]], Array]
"""One batch through a file: inputs padded, by our names -> predictions."""
MOST_ROWS = 10_000
WHOLE, SMALL = 64, (1, 2, 7)
"""Rows a batch: for all rows, and for some of them besides."""
_CHUNK = 512
"""Rows encoded at once: pictures of 10,000 rows would fill the memory."""
_IN_SMALL_BATCHES = 42
"""Rows of a chunk that are computed alone, in twos and in sevens too."""
_MOST_REFUSED = 0.01


@dataclass(frozen=True)
class Ways:
    """Both ways from raw rows to what they are compared by.

    Args:
        trained: Training's codec: rows of a frame -> arrays.
        predict: The eager net: arrays -> predictions.
        served: The bundle's codec: raw records -> arrays; refuses by a KilnError.
    """

    trained: Callable[[pl.DataFrame], Arrays]
    predict: Callable[[Arrays], Array]
    served: Callable[[list[dict[str, Any]]], Arrays]


@dataclass(frozen=True)
class Sample:
    """Some rows as both ways see them.

    Args:
        rows: Where they stand among all rows, int64 [n].
        arrays: What the bundle's codec made of them.
        reference: The trained net's predictions by training's way, [n, ...].
        different: Where training's codec made other arrays: name to what differs.
        refused: What the bundle said of each row that it did not take; those are in none of the above.
    """

    rows: Indices
    arrays: Arrays
    reference: Array
    different: Mapping[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """What one file was found to do.

    Args:
        gate: What it must hold.
        held_out: Beside the net on the validation rows.
        batches: The largest difference at each batch size.
        extremes: Beside the net on extreme records; None where there are none.
        refused: What the bundle said of validation rows and of extreme records that it did not take.
        codec: Where the codec's arrays differ.
        faults: What does not hold, in phrases.
    """

    gate: Gate
    held_out: Comparison
    batches: dict[int, float]
    extremes: Comparison | None
    refused: tuple[list[str], list[str]]
    codec: dict[str, str]
    faults: list[str]

    @property
    def verdict(self) -> str:
        """`proven`, `void` where the rows can prove nothing, or `unproven`."""
        return "unproven" if self.faults else "void" if self.held_out.void else "proven"

    def as_json(self) -> dict[str, Any]:
        """For parity.json."""
        return {
            "verdict": self.verdict,
            "why": self.faults or [self.held_out.void] * bool(self.held_out.void),
            "held_out": self.held_out.as_json(),
            "batch_sizes": {str(size): finite(most) for size, most in sorted(self.batches.items())},
            "extremes": None if self.extremes is None else self.extremes.as_json(),
            "refused": dict(zip(("held_out", "extremes"), ([len(r), *r[:3]] for r in self.refused), strict=True)),
            "codec": self.codec or "equal",
        }


def prove(
    held_out: Iterable[Sample],
    extremes: Sample | None,
    files: Mapping[str, tuple[str, Runner]],
    *,
    classes: bool,
    truth: Truth | None,
) -> tuple[dict[str, Trial], dict[str, Array]]:
    """Hold each file to its gate.

    Args:
        held_out: The validation rows.
        extremes: Records at the edges, if there are any.
        files: By name, the kind of gate (of `GATES`) and how a batch runs through it.
        classes: Whether predictions are probabilities of classes.
        truth: Of all rows that `Sample.rows` counts among; None where they have no target.

    Returns:
        What was found of each file; and predictions on the validation rows by name, the net's as `reference`, the
        rows as `rows`.
    """
    runs = {name: _Run(runner) for name, (_, runner) in files.items()}
    seen: list[Sample] = []
    for one in held_out:
        seen.append(Sample(one.rows, {}, one.reference, one.different, one.refused))  # the arrays may go
        for run in runs.values():
            run.answer(one)
    rows, reference = np.concatenate([s.rows for s in seen]), np.concatenate([s.reference for s in seen])
    known = None if truth is None else truth.at(rows)
    different = {k: v for s in [*seen, *([extremes] if extremes else [])] for k, v in s.different.items()}
    refused = ([r for s in seen for r in s.refused], extremes.refused if extremes else [])
    found, answers = {}, {"rows": rows, "reference": reference}
    for name, (kind, _) in files.items():
        run, gate = runs[name], GATES[kind]
        answers[name] = np.concatenate(run.answers) if run.answers else reference
        main, beside = compare(reference, answers[name], classes=classes, truth=known), None
        if extremes is not None and len(extremes.rows):
            beside = compare(extremes.reference, run.beside(extremes), classes=classes)
        faults = [f"the bundle's codec: {name} {what}" for name, what in different.items()]
        if len(refused[0]) > _MOST_REFUSED * (len(rows) + len(refused[0])):
            faults.append(f"the bundle refuses {len(refused[0]):,} validation rows, such as: {refused[0][0]}")
        faults += gate.faults(main) + _beside_the_rows(gate, run.apart, beside, deviation(reference))
        batches = {**run.apart, WHOLE: main.max_abs}
        found[name] = Trial(gate, main, batches, beside, refused, different, faults)
    return found, answers


def samples(
    frame: pl.DataFrame, ways: Ways, records: Callable[[pl.DataFrame], list[dict[str, Any]]]
) -> Iterator[Sample]:
    """At most 10,000 of a frame's rows, spread evenly, by both ways, some hundred at a time.

    Args:
        frame: As training reads it.
        ways: Both.
        records: Its rows as a request holds them.
    """
    kept = spread(len(frame), MOST_ROWS)
    for start in range(0, len(kept), _CHUNK):
        rows = kept[start : start + _CHUNK]
        yield sample(frame[rows], records(frame[rows]), ways, rows)


def sample(frame: pl.DataFrame, records: list[dict[str, Any]], ways: Ways, rows: Indices | None = None) -> Sample:
    """Rows by both ways.

    Args:
        frame: As training reads them.
        records: The same, raw.
        rows: Where they stand among all; None: as they come.
    """
    rows = np.arange(len(frame)) if rows is None else rows
    try:
        served, refused = ways.served(records), []
    except KilnError:
        said = [_refusal(ways, record) for record in records]
        kept = [i for i, words in enumerate(said) if words is None]
        frame, rows, refused = frame[kept], rows[kept], [words for words in said if words is not None]
        served = ways.served([records[i] for i in kept])
    trained = ways.trained(frame)
    return Sample(rows, served, ways.predict(trained), different_arrays(trained, served), refused)


def spread(n: int, most: int) -> Indices:
    """At most `most` of n rows, evenly from first to last."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def computed(runner: Runner, arrays: Arrays, size: int = WHOLE) -> Array:
    """Predictions of all rows, `size` a batch; those of like length share one, as at the server."""
    order = by_length(arrays)
    out: Array | None = None
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        answer = runner(batch(arrays, rows))
        out = np.empty((len(order), *answer.shape[1:]), answer.dtype) if out is None else out
        out[rows] = answer
    return np.zeros(0, np.float32) if out is None else out


def by_length(arrays: Arrays) -> Indices:
    """Rows from short to long; as they stand where they have no length."""
    ragged = [a for a in arrays.values() if isinstance(a, Ragged)]
    n = len(next(iter(arrays.values())))
    return np.argsort(ragged[0].lengths, kind="stable").astype(np.int64) if ragged else np.arange(n)


def batch(arrays: Arrays, rows: Indices) -> dict[str, Array]:
    """The rows as a file takes them, shorter ones padded behind."""
    return {name: a.padded(rows) if isinstance(a, Ragged) else a[rows] for name, a in arrays.items()}


class _Run:
    """What one file answers, chunk by chunk."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.answers: list[Array] = []
        self.apart = dict.fromkeys(SMALL, 0.0)

    def answer(self, one: Sample) -> None:
        """Keep the answers to a chunk, and how far those in small batches are from the net's."""
        if not len(one.rows):
            return
        self.answers.append(computed(self.runner, one.arrays))
        self._in_small_batches(one)

    def beside(self, extremes: Sample) -> Array:
        """The answers to extreme records, farthest of what they are all at once and in small batches."""
        alone = computed(self.runner, extremes.arrays, 1)
        together = self.runner(batch(extremes.arrays, np.arange(len(extremes.rows))))
        farther = distance(extremes.reference, together) > distance(extremes.reference, alone)
        return np.where(farther, together, alone)

    def _in_small_batches(self, one: Sample) -> None:
        """The shortest rows beside the longest, so that their tails are padding alone."""
        rows = by_length(one.arrays)[spread(len(one.rows), _IN_SMALL_BATCHES)]
        place = np.arange(len(rows))
        rows = rows[np.argsort(np.minimum(place, place[::-1]), kind="stable")]
        for size in SMALL:
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                far = distance(one.reference[part], self.runner(batch(one.arrays, part)))
                self.apart[size] = max(self.apart[size], float(far.max(initial=0.0)))


def _beside_the_rows(gate: Gate, apart: Mapping[int, float], beside: Comparison | None, deviated: float) -> list[str]:
    """What does not hold at other batch sizes and on extreme records; asked only where numbers must be near."""
    if gate.over_std is None or deviated == 0.0:
        return []
    near = gate.over_std * deviated
    said = [
        f"at batch size {size} it differs by {most / deviated:.1e} of the outputs' deviation"
        for size, most in sorted(apart.items())
        if not most <= near
    ]
    if beside is not None and not beside.max_abs <= near:
        said.append(f"on extreme records it differs by {beside.max_abs / deviated:.1e} of the outputs' deviation")
    if beside is not None and beside.flips and not gate.flips:
        said.append(f"{beside.flips} of {beside.rows} extreme records get another label")
    return said


def _refusal(ways: Ways, record: dict[str, Any]) -> str | None:
    """What the bundle says of a record that it does not take."""
    try:
        ways.served([record])
    except KilnError as error:
        return str(error)
    return None
