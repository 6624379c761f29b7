"""Which rows are for training, validation and the test.

What the data gives is kept; what is missing is taken from the rows that are nobody's yet, or from
train. A split is a function of the seed and of the rows in their order. Rows that are equal in every
column (pictures: in every byte) always land on the same side of a split made here, since a copy in the
test would measure memory.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln import randomness
from torchkiln.data.facts import as_dates
from torchkiln.data.source import SPLITS, Finding, Source
from torchkiln.data.sources_tables import SPLIT_WORDS
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe.schema import Data
from torchkiln.registry import did_you_mean

Ints = npt.NDArray[np.int64]
_COVERED = 5
"""Units of a class from which each split gets at least one of them."""
_TRIES = 32
"""Drawn group splits, of which the one with the evenest classes is taken."""


@dataclass(frozen=True)
class Units:
    """Rows bound together, which are given to a split as one.

    Args:
        of_row: The unit of each row, int64 [rows].
        classes: Rows of each unit by class, int64 [units, classes]; one class where the target is a number.
    """

    of_row: Ints
    classes: Ints

    @property
    def sizes(self) -> Ints:
        """Rows of each unit, int64 [units]."""
        return np.asarray(self.classes.sum(axis=1))


def assign(source: Source, data: Data, target: str, classification: bool, seed: int) -> Source:
    """The source with each row given to train, val or test.

    Args:
        source: As read; `split` is null where the data does not say it.
        data: The recipe's `data`, whose `split` says how.
        target: The target's column.
        classification: Whether it holds classes.
        seed: Of the run.

    Returns:
        No null is left in `split`; findings say in which way it was made, and how many rows each has.

    Raises:
        DataError: The target's or the split's column is missing, or cannot be read as what it is for.
        RecipeError: The way does not fit the target.
    """
    _column(source.frame, target, "data.target")
    by = data.split.by
    frame = _by_words(source.frame, data.split.column or "") if by == "column" else source.frame
    given = [s for s in SPLITS if s in frame["split"]]
    shares = {s: share for s, share in (("test", data.split.test), ("val", data.split.val)) if s not in given}
    taken = {s: share for s, share in shares.items() if share > 0}
    way = _way(by, classification)
    if taken:
        free = frame["split"].is_null() if not given else frame["split"] == "train"
        places = np.flatnonzero(free.fill_null(True).to_numpy()).astype(np.int64)
        classes = target if classification else None
        chosen = _divide(source, frame[places], way, data.split.column, classes, taken, seed)
        split = np.array(frame["split"].fill_null("train").to_list(), dtype=object)
        split[places] = chosen
        frame = frame.with_columns(pl.Series("split", split.tolist(), pl.String))
    frame = frame.with_columns(pl.col("split").fill_null("train"))
    findings = _say(frame, data, by, way, given, taken)
    return replace(source, frame=frame, findings=source.findings + findings)


# Ways


def _way(by: str, classification: bool) -> str:
    if by == "stratified" and not classification:
        raise RecipeError("data.split.by: stratified needs classes, and the target is a number; write random")
    if by in ("auto", "column"):
        return "stratified" if classification else "random"
    return by


def _divide(
    source: Source,
    rows: pl.DataFrame,
    way: str,
    column: str | None,
    target: str | None,
    shares: dict[str, float],
    seed: int,
) -> Sequence[str]:
    """Train, val or test for each of the rows; the test is taken first, and val from what is left."""
    if way == "time":
        return _by_time(_times(_column(rows, column)), shares)
    units = _units(_groups(_column(rows, column)) if way == "group" else _equal_rows(source, rows), rows, target)
    if way == "group":
        where = _by_group(units, shares, seed)
    else:
        where = _by_class(units, shares, seed, stratified=way == "stratified")
    found: list[str] = np.array(SPLITS, object)[_with_all_classes(where, units)[units.of_row]].tolist()
    return found


def _by_class(units: Units, shares: dict[str, float], seed: int, stratified: bool) -> Ints:
    """Index in `SPLITS` for each unit; stratified: the same share of each class."""
    order = randomness.permutation(seed, "split", 0, len(units.sizes))
    strata = units.classes[order].argmax(axis=1) * stratified
    order = order[np.argsort(strata, kind="stable")]
    left = np.split(order, np.cumsum(np.bincount(strata))[:-1])
    where = np.zeros(len(order), np.int64)
    sizes = units.sizes
    covered = np.array([len(m) >= _COVERED for m in left])
    for split, share in shares.items():
        wanted = _allot(np.array([sizes[m].sum() for m in left]), share, covered)
        for place, (mine, rows) in enumerate(zip(left, wanted.tolist(), strict=True)):
            taken = _fill(sizes[mine], rows)
            where[mine[taken]] = SPLITS.index(split)
            left[place] = mine[~taken]
    return where


def _with_all_classes(where: Ints, units: Units) -> Ints:
    """Gives train the smallest unit of each class that it lacks."""
    where = where.copy()
    for missing in np.flatnonzero(units.classes[where == 0].sum(axis=0) == 0).tolist():
        holders = np.flatnonzero(units.classes[:, missing])
        where[holders[units.sizes[holders].argmin()]] = 0
    return where


def _allot(sizes: Ints, share: float, covered: npt.NDArray[np.bool_]) -> Ints:
    """How many rows of each class a split takes: the sum is right, and each as near as can be.

    Largest remainders decide who gets the rows that rounding leaves. A class that is `covered` gives at
    least one, and each keeps one.
    """
    exact = sizes * share
    rows = np.floor(exact).astype(np.int64)
    open_rows = round(float(exact.sum())) - int(rows.sum())
    rows[np.argsort(rows - exact, kind="stable")[:open_rows]] += 1
    rows = np.where(covered, np.maximum(rows, 1), rows)
    return np.asarray(np.minimum(rows, np.maximum(sizes - 1, 0)))


def _fill(sizes: Ints, rows: int, keep: int = 1) -> npt.NDArray[np.bool_]:
    """Which units, in their order, come nearest to `rows` rows together; `keep` units are left."""
    taken: list[int] = []
    total = 0
    if sizes.max(initial=1) == 1:
        return np.arange(len(sizes)) < min(rows, len(sizes) - keep)
    for place, size in enumerate(sizes.tolist()):
        if total >= rows or len(taken) >= len(sizes) - keep:
            break
        if total + size / 2 <= rows:
            taken.append(place)
            total += size
    mask = np.zeros(len(sizes), bool)
    mask[taken] = True
    return mask


def _by_group(units: Units, shares: dict[str, float], seed: int) -> Ints:
    """Index in `SPLITS` for each group: of several draws the one with the evenest sizes and classes."""
    sizes = units.sizes
    if len(sizes) <= len(shares):
        raise DataError(f"data.split: {len(shares) + 1} groups or more are needed, the column has {len(sizes)}")
    best, best_score = np.zeros(len(sizes), np.int64), np.inf
    for attempt in range(_TRIES):
        left = randomness.permutation(seed, "split", attempt, len(sizes))
        where = np.zeros(len(sizes), np.int64)
        for keep, (split, share) in zip((len(shares), 1), shares.items(), strict=False):
            taken = _fill(sizes[left], max(1, round(float(sizes[left].sum()) * share)), keep)
            if not taken.any():  # all are larger than the whole share
                taken[sizes[left].argmin()] = True
            where[left[taken]] = SPLITS.index(split)
            left = left[~taken]
        score = _unevenness(units, where, shares)
        if score < best_score:
            best, best_score = where, score
    return best


def _unevenness(units: Units, where: Ints, shares: dict[str, float]) -> float:
    """How far sizes and class shares are from what was asked; a class that train lacks counts most."""
    total = units.classes.sum(axis=0)
    mine = np.stack([units.classes[where == i].sum(axis=0) for i in range(len(SPLITS))])
    wanted = np.zeros(len(SPLITS))
    rest = 1.0
    for split, share in shares.items():
        wanted[SPLITS.index(split)] = rest * share
        rest *= 1 - share
    wanted[0] = rest
    off = np.abs(mine / np.maximum(total, 1) - wanted[:, None])
    sizes = np.abs(mine.sum(axis=1) / total.sum() - wanted)
    return float(off.mean() + sizes.sum() + ((mine[0] == 0) & (total > 0)).sum())


def _by_time(times: Ints, shares: dict[str, float]) -> Sequence[str]:
    """The latest rows are the test, those before them val; rows of one time stay together."""
    order = np.argsort(times, kind="stable")
    split = np.full(len(times), "train", object)
    end = len(times)
    for name, share in shares.items():
        start = end - max(1, round(end * share))
        ahead = np.searchsorted(times[order[:end]], times[order[start]], "left")
        behind = np.searchsorted(times[order[:end]], times[order[start]], "right")
        nearer = behind if start - ahead > behind - start and behind < end else ahead
        if nearer == 0:
            raise DataError("data.split: by time needs more different times than splits to make")
        split[order[nearer:end]] = name
        end = int(nearer)
    found: list[str] = split.tolist()
    return found


def _by_words(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The frame with its splits as the words of a column say."""
    words = _column(frame, column).cast(pl.String).str.strip_chars().str.to_lowercase()
    unknown = sorted(set(words.drop_nulls().unique()) - set(SPLIT_WORDS))
    if unknown or words.null_count():
        found = repr(unknown[0]) if unknown else f"{words.null_count():,} empty cells"
        raise DataError(f"data.split: column {column!r} holds {found}; accepted are {', '.join(SPLIT_WORDS)}")
    split = words.replace_strict(SPLIT_WORDS, return_dtype=pl.String)
    if "train" not in split:
        raise DataError(f"data.split: column {column!r} gives no row to train")
    return frame.with_columns(split.alias("split")).drop(column)


# Units and columns


def _column(frame: pl.DataFrame, column: str | None, key: str = "data.split.column") -> pl.Series:
    own = [c for c in frame.columns if c not in ("key", "split")]
    if column not in own:
        raise DataError(f"{key}: the data has no column {column!r}{did_you_mean(column or '', own)}")
    return frame[column]


def _units(of_row: Ints, rows: pl.DataFrame, target: str | None) -> Units:
    classes = np.zeros(len(rows), np.int64) if target is None else _numbered(rows[target].cast(pl.String).fill_null(""))
    units, kinds = int(of_row.max()) + 1, int(classes.max()) + 1
    counts = np.bincount(of_row * kinds + classes, minlength=units * kinds)
    return Units(of_row, counts.reshape(units, kinds))


def _groups(values: pl.Series) -> Ints:
    """Rows numbered by their value; a row without one is a group of its own."""
    names = values.cast(pl.String)
    alone = pl.Series([f"\0{i}" for i in range(len(names))])
    return _numbered(names.zip_with(names.is_not_null(), alone))


def _numbered(values: pl.Series) -> Ints:
    """0, 1, 2 ... in the order in which values first occur."""
    first = pl.DataFrame({"v": values}).with_row_index("i").select(pl.col("i").min().over("v")).to_series().to_numpy()
    firsts = first == np.arange(len(first))
    return np.asarray((np.cumsum(firsts) - 1)[first], np.int64)


def _equal_rows(source: Source, rows: pl.DataFrame) -> Ints:
    """Number of the first row equal to each, renumbered without gaps."""
    if source.kind == "images" and rows.schema["image"] == pl.String:
        return _numbered(_contents(rows["image"]))
    own = rows.drop("key", "split")
    return _numbered(own.hash_rows() if own.width else pl.Series(range(len(rows))))


def _contents(paths: pl.Series) -> pl.Series:
    """Something equal for equal files: the size where no other has it, else the digest of the bytes."""
    listed = paths.fill_null("").to_list()
    sizes = [os.path.getsize(p) if os.path.isfile(p) else -1 - i for i, p in enumerate(listed)]
    often = Counter(sizes)
    return pl.Series([str(s) if often[s] == 1 else _digest(p) for p, s in zip(listed, sizes, strict=True)])


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _times(values: pl.Series) -> Ints:
    """The column as whole numbers in the order of time; a row without a time counts as the earliest."""
    dates = as_dates(values)
    if dates is not None:
        numbers = dates.dt.epoch("us")
    elif values.dtype.is_numeric():
        numbers = values.rank("dense").cast(pl.Int64)
    else:
        held = values.drop_nulls()
        found = repr(held[0]) if len(held) else "nothing"
        raise DataError(f"data.split: column {values.name!r} holds {found}, neither a date nor a number")
    return np.asarray(numbers.fill_null(np.iinfo(np.int64).min).to_numpy().astype(np.int64))


# Findings


def _say(
    frame: pl.DataFrame, data: Data, by: str, way: str, given: list[str], taken: dict[str, float]
) -> list[Finding]:
    counts = Counter(dict(frame["split"].value_counts().rows()))
    sizes = ", ".join(f"{counts[s]:,} {s}" for s in SPLITS)
    if not taken:
        return [Finding("split", "note", f"split as given: {sizes}"), *_missing(counts)]
    how = f"{way} by {data.split.column!r}" if way in ("group", "time") else way
    auto = " (auto)" if by == "auto" else ""
    if not given:
        return [Finding("split", "note", f"split {how}{auto}: {sizes}"), *_missing(counts)]
    made = " and ".join(taken)
    text = f"split: {' and '.join(given)} as given, {made} taken from train, {how}{auto}: {sizes}"
    return [Finding("split", "note", text), *_missing(counts)]


def _missing(counts: Counter[str]) -> list[Finding]:
    return [
        Finding(f"no_{split}", "warn", f"no row is in {split}: {what}")
        for split, what in (("val", "the best epoch cannot be told"), ("test", "nothing will be measured"))
        if not counts[split]
    ]
