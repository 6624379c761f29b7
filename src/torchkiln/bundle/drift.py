"""How the rows that are asked about lie beside those of training: histograms, and their distance.

What is counted is what the model sees: the codec's arrays and the predictions, never the raw values, so a
reference holds no row of anyone's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torchkiln.codec.base import Array, Arrays, InputCodec, Ragged
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.table import BEARINGS, CategoryField, DateField, NumberField, TableCodec
from torchkiln.codec.text import NgramCodec
from torchkiln.errors import BundleError

REFERENCE = "reference.json"
BINS, MOST_CODES = 10, 20
"""Of numbers, equally many rows each; of names, the most frequent."""
CLEAR = 0.2
"""The index of population stability (PSI) from which practice speaks of a shift."""
WINDOW = 10_000
"""Rows after which older ones count half."""
_WAITING = 512  # rows that are counted together: one at a time costs as much as the model itself


@dataclass(frozen=True)
class Numbers:
    """A feature that is a number: values of shape [rows]."""

    values: Array


@dataclass(frozen=True)
class Codes:
    """A feature that is one of several: codes of shape [rows], and what each is called.

    Args:
        unseen: The code for what training did not see; None where there is none.
    """

    values: Array
    names: list[str]
    unseen: int | None = None


Features = dict[str, Numbers | Codes]


def make(
    codec: InputCodec | None, arrays: Arrays, outputs: Mapping[str, Array], classes: list[str], kind: str
) -> dict[str, Any]:
    """The content of reference.json.

    Args:
        codec: What made the arrays; None for plain tensors.
        arrays, outputs: Of rows of the training split, and what the model says of them.
        classes: Names of the classes.
        kind: `classes`, `number` or `tensor`.
    """
    found = features(codec, arrays, outputs, classes, kind)
    rows = len(next(iter(found.values())).values) if found else 0
    return {"format": 1, "rows": rows, "features": {name: _reference(one) for name, one in found.items()}}


def features(
    codec: InputCodec | None, arrays: Arrays, outputs: Mapping[str, Array], classes: list[str], kind: str
) -> Features:
    """What is counted of each row, by name; what is of the answer begins with `prediction`."""
    made: Features = {}
    if isinstance(codec, TableCodec):
        made |= _of_table(codec, arrays)
    elif isinstance(codec, ImageCodec):
        pixels = np.asarray(arrays["image"]).reshape(len(arrays["image"]), -1)
        made |= {"brightness": Numbers(pixels.mean(axis=1)), "contrast": Numbers(pixels.std(axis=1))}
    else:
        made |= _of_lengths(codec, arrays)
    answer = next(iter(outputs.values()))
    if kind == "classes":
        made |= {"prediction": Codes(answer.argmax(axis=1), classes), "prediction confidence": Numbers(answer.max(1))}
    elif kind == "number":
        made["prediction"] = Numbers(answer)
    return made


class Drift:
    """Counts of the rows that were asked about, beside the reference.

    Args:
        reference: The content of reference.json.
        codec, classes, kind: As for `make`.
    """

    def __init__(self, reference: Mapping[str, Any], codec: InputCodec | None, classes: list[str], kind: str) -> None:
        self._reference = reference
        self._codec, self._classes, self._kind = codec, classes, kind
        self._counts = {name: np.zeros(len(one["counts"])) for name, one in reference["features"].items()}
        self._rows = 0.0
        self._waiting: list[tuple[Arrays, Mapping[str, Array]]] = []
        self._waiting_rows = 0

    def add(self, arrays: Arrays, outputs: Mapping[str, Array]) -> None:
        """Count a batch; most calls only put it by."""
        self._waiting.append((arrays, outputs))
        self._waiting_rows += len(next(iter(outputs.values())))
        if self._waiting_rows >= _WAITING:
            self._count()

    def report(self) -> dict[str, Any]:
        """How far each feature lies from training.

        Returns:
            `rows` that count, and `features` by name: `psi`, the index of population stability; `clear`, whether
            it is above 0.2 and beyond what chance gives so few rows; `unseen`, the share of names that training
            did not see, for features that have them, and `unseen_in_training`.
        """
        self._count()
        found: dict[str, Any] = {}
        for name, one in self._reference["features"].items():
            counts, then = self._counts[name], np.asarray(one["counts"], float)
            index, chance = stability(then, counts)
            found[name] = {"psi": index, "clear": index > max(CLEAR, chance)}
            if one.get("unseen") is not None:
                found[name] |= {
                    "unseen": _share(counts, one["unseen"]),
                    "unseen_in_training": _share(then, one["unseen"]),
                }
        return {"rows": round(self._rows), "features": found}

    def _count(self) -> None:
        waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
        for arrays, outputs in waiting:
            found = features(self._codec, arrays, outputs, self._classes, self._kind)
            for name, counts in self._counts.items():
                if name in found:
                    counts += _counted(self._reference["features"][name], found[name].values)
            self._rows += len(next(iter(outputs.values())))
            if self._rows > 2 * WINDOW:
                self._rows /= 2
                for counts in self._counts.values():
                    counts /= 2


def read(folder: Path, codec: InputCodec | None, classes: list[str], kind: str) -> Drift | None:
    """The counter for a bundle; None where it has no reference.

    Raises:
        BundleError: reference.json cannot be read.
    """
    file = folder / REFERENCE
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_bytes())
        if content["format"] != 1:
            raise ValueError(f"it is of format {content['format']}")
        return Drift(content, codec, classes, kind)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file} cannot be read ({type(error).__name__}: {error}); export the run again") from error


def stability(then: npt.NDArray[Any], now: npt.NDArray[Any]) -> tuple[float, float]:
    """The index of population stability (PSI) between two counts, and what chance alone seldom exceeds.

    Half a row is added to each bin, so that an empty one stays finite. Without a shift the index, divided by
    1/n + 1/m, has about a chi-squared law with one degree of freedom less than there are bins.

    Args:
        then, now: Rows in each bin, of shape [bins].

    References:
        Yurdakul, "Statistical properties of the population stability index", 2018.
    """
    n, m = float(then.sum()), float(now.sum())
    if len(then) < 2 or n == 0 or m == 0:
        return 0.0, math.inf
    p, q = ((x + 0.5) / (x.sum() + 0.5 * len(x)) for x in (then, now))
    free = len(then) - 1
    chance = (free + 4 * math.sqrt(2 * free)) * (1 / n + 1 / m)
    return float(((p - q) * np.log(p / q)).sum()), chance


def _of_table(codec: TableCodec, arrays: Arrays) -> Features:
    numeric, categorical = np.asarray(arrays["numeric"]), np.asarray(arrays["categorical"])
    made: Features = {}
    names = [name for field in codec.fields for name in _parts(field)]
    names += [f"{p.latitude} and {p.longitude} at {b} degrees" for p in codec.places for b in BEARINGS]
    made |= {name: Numbers(numeric[:, i]) for i, name in enumerate(names)}
    gaps = [f.column for f in codec.fields if not isinstance(f, CategoryField) and getattr(f, "indicator", True)]
    for i, name in enumerate(gaps):
        made[f"{name} is missing"] = Codes((numeric[:, len(names) + i] > 0).astype(np.int64), ["no", "yes"])
    fields = [f for f in codec.fields if isinstance(f, CategoryField)]
    for i, field in enumerate(fields):
        called = ["(unseen)", *field.names, *(["(missing)"] if field.missing else [])]
        made[field.column] = Codes(categorical[:, i], called, unseen=0)
    return made


def _parts(field: Any) -> list[str]:
    if isinstance(field, DateField):
        return [f"{field.column}: {part}" for part in field.parts]
    return [field.column] if isinstance(field, NumberField) else []


def _of_lengths(codec: InputCodec | None, arrays: Arrays) -> Features:
    """Lengths of sequences; of texts by words also which share of them training knew; of tensors their means."""
    made: Features = {}
    for name, array in arrays.items():
        if isinstance(array, Ragged):
            made[f"length of {name}"] = Numbers(array.lengths)
        else:
            made[f"mean of {name}"] = Numbers(array.reshape(len(array), -1).mean(axis=1))
    words = arrays.get("words")
    if isinstance(codec, NgramCodec) and isinstance(words, Ragged):
        known = np.concatenate([[0], np.cumsum(words.values == 1)])
        unknown = known[words.offsets[1:]] - known[words.offsets[:-1]]
        made["share of unknown words"] = Numbers(unknown / np.maximum(words.lengths, 1))
    return made


def _reference(feature: Numbers | Codes) -> dict[str, Any]:
    if isinstance(feature, Numbers):
        values = np.asarray(feature.values, np.float64)
        made: dict[str, Any] = {"edges": _edges(values)}
        return {**made, "counts": _counted(made, values).tolist()}
    counts = np.bincount(feature.values, minlength=len(feature.names))
    kept = [i for i in np.argsort(-counts, kind="stable").tolist() if i != feature.unseen][:MOST_CODES]
    first = [] if feature.unseen is None else [feature.unseen]
    codes = first + sorted(kept)
    made = {"codes": codes, "names": [feature.names[i] for i in codes], "of": len(feature.names)}
    unseen = {} if feature.unseen is None else {"unseen": 0}
    return {**made, **unseen, "counts": _counted(made, feature.values).tolist()}


def _edges(values: npt.NDArray[np.float64]) -> list[float]:
    """Rising bounds between bins of about equally many rows; a value on a bound belongs below it."""
    if not len(values):
        return []
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))
    below = np.unique(values)[-2:-1]  # a bound at the very top would part nothing
    edges = np.unique(np.minimum(edges, below[0])) if len(below) else edges[:0]
    return [float(e) for e in edges]


def _counted(one: Mapping[str, Any], values: Array) -> npt.NDArray[np.int64]:
    """Rows in each bin: of numbers by edges; of codes one a code, and a last one for all others."""
    if "edges" in one:
        return np.bincount(np.searchsorted(one["edges"], values, side="left"), minlength=len(one["edges"]) + 1)
    place = np.full(one["of"], len(one["codes"]))
    place[one["codes"]] = np.arange(len(one["codes"]))
    return np.bincount(place[values], minlength=len(one["codes"]) + 1)


def _share(counts: npt.NDArray[Any], place: int) -> float:
    total = float(counts.sum())
    return float(counts[place]) / total if total else 0.0
