"""What stands beside a net's score: a guess that knows nothing, and the classical way of its field.

All are fitted on the training split only. Each names what it is, and says so where it saw but a part of
the rows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln import randomness
from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec, picture, square
from torchkiln.codec.table import (
    CategoryField,
    DateField,
    NumberField,
    TableCodec,
    date_part,
    read_dates,
    read_names,
    read_numbers,
)
from torchkiln.codec.target import Labels
from torchkiln.tasks._base import Array

Floats = npt.NDArray[np.float64]
_BOOSTING_CELLS = 15_000_000
"""Rows times columns times classes that boosting sees at most: about half a minute on one core."""
_MOST_ROWS = 200_000
_MOST_CATEGORIES = 254
"""Of one column; scikit-learn's boosting takes no more."""
_MOST_CHARACTERS = 5_000_000
_MOST_WEIGHTS = 4_000_000
"""Features times classes of the text model; its solver keeps 25 copies of its weights."""
_PIXELS, _LARGEST_PICTURE, _MOST_PICTURES = 16, 64, 10_000


@dataclass(frozen=True)
class Baseline:
    """Predictions of something simpler on the same rows.

    Args:
        name: What it is.
        prediction: As the task's: probabilities float [n, classes] or numbers [n].
        seconds: Fitting and predicting, on the wall.
        notes: What to know about it, such as rows left out.
    """

    name: str
    prediction: Array
    seconds: float
    notes: list[str] = field(default_factory=list)


def trivial(train_target: Array, rows: int, classes: int | None) -> Baseline:
    """The training split's shares of the classes, or its mean, for every row.

    Args:
        train_target: Class indices [n] or numbers [n], as encoded.
        rows: How many to predict.
        classes: How many there are; None for numbers.
    """
    start = time.perf_counter()
    if classes is None:
        mean = np.full(rows, train_target.mean(dtype=np.float64), np.float32)
        return Baseline("mean", mean, time.perf_counter() - start)
    shares = np.bincount(train_target, minlength=classes) / len(train_target)
    prediction = np.tile(shares.astype(np.float32), (rows, 1))
    return Baseline("majority class", prediction, time.perf_counter() - start)


def classical(
    train: pl.DataFrame, train_target: Array, test: pl.DataFrame, codec: Codec, text: str | None, seed: int
) -> Baseline | None:
    """The classical model for the kind of data; None where there is none.

    Tables: boosted trees as scikit-learn sets them. Text: TF-IDF of words and characters with logistic
    regression. Small pictures: logistic regression on their pixels.

    Args:
        train, test: Raw rows.
        train_target: Encoded, [n].
        codec: Says which columns the net uses and how their cells are read.
        text: The column of texts, if that is what the data is.
    """
    start = time.perf_counter()
    fit = _Fit(train, train_target, test, codec, seed)
    if isinstance(codec.inputs, TableCodec):
        name, made = "HistGradientBoosting", _boosting(fit, codec.inputs)
    elif isinstance(codec.inputs, ImageCodec):
        if codec.inputs.size > _LARGEST_PICTURE:
            return None
        name, made = f"logistic regression on {_PIXELS} x {_PIXELS} pixels", _pixels(fit, codec.inputs)
    elif text is not None and isinstance(codec.target, Labels):
        name, made = "TF-IDF + logistic regression", _tfidf(fit, text)
    else:
        return None
    prediction, seen = made
    notes = [] if seen == len(train) else [f"{name} was fitted on {seen:,} of {len(train):,} training rows."]
    return Baseline(name, prediction, time.perf_counter() - start, notes)


@dataclass(frozen=True)
class _Fit:
    """What each classical model is fitted on."""

    train: pl.DataFrame
    target: Array
    test: pl.DataFrame
    codec: Codec
    seed: int

    @property
    def classes(self) -> int | None:
        return len(self.codec.target.classes) if isinstance(self.codec.target, Labels) else None

    def part(self, most: int) -> _Fit:
        """At most this many training rows, drawn by the seed."""
        if len(self.train) <= most:
            return self
        kept = np.sort(randomness.permutation(self.seed, "baseline rows", 0, len(self.train))[:most])
        return _Fit(self.train[kept], self.target[kept], self.test, self.codec, self.seed)

    def predicted(self, model: Any, features: Any) -> Array:
        """The model's predictions in the form of the task's; 0 for a class that its rows did not hold."""
        if self.classes is None:
            return np.asarray(model.predict(features), np.float32)
        out = np.zeros((features.shape[0], self.classes), np.float32)
        out[:, model.classes_] = model.predict_proba(features)
        return out


_Made = tuple[Array, int]
"""Predictions, and how many training rows were seen."""


# Tables


def _boosting(fit: _Fit, codec: TableCodec) -> _Made:
    """Histogram gradient boosting with scikit-learn's own settings; missing values stay missing."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    outputs = 1 if fit.classes in (None, 2) else int(fit.classes or 1)
    cells = max(1, len(codec.fields) * outputs)
    fit = fit.part(min(_MOST_ROWS, max(2_000, _BOOSTING_CELLS // cells)))
    features, later, categorical = _table_features(codec, fit.train, fit.test)
    kind = HistGradientBoostingRegressor if fit.classes is None else HistGradientBoostingClassifier
    state = randomness.key(fit.seed, "baseline") % 2**32
    model = kind(categorical_features=categorical, random_state=state)
    model.fit(features, fit.target)
    return fit.predicted(model, later), len(fit.train)


def _table_features(
    codec: TableCodec, train: pl.DataFrame, test: pl.DataFrame
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """The columns that the net uses, as float64 [n, F] with NaN for missing; and which are categories."""
    columns: list[tuple[Floats, Floats]] = []
    categorical: list[bool] = []
    for one in codec.fields:
        if isinstance(one, CategoryField):
            columns.append(_categories(train[one.column], test[one.column]))
        elif isinstance(one, NumberField):
            columns.append(_both(train, test, one.column, _number_reader(one)))
        elif isinstance(one, DateField):
            for part in one.parts:
                columns.append(_both(train, test, one.column, _date_reader(one, part)))
        else:
            columns.append(_both(train, test, one.column, _presence))
        categorical += [isinstance(one, CategoryField)] * (len(columns) - len(categorical))
    return (
        np.stack([c[0] for c in columns], axis=1),
        np.stack([c[1] for c in columns], axis=1),
        np.array(categorical),
    )


def _both(
    train: pl.DataFrame, test: pl.DataFrame, column: str, read: Callable[[pl.Series], Floats]
) -> tuple[Floats, Floats]:
    return read(train[column]), read(test[column])


def _number_reader(one: NumberField) -> Callable[[pl.Series], Floats]:
    return lambda values: read_numbers(values, one.words)[0]


def _date_reader(one: DateField, part: str) -> Callable[[pl.Series], Floats]:
    return lambda values: date_part(read_dates(values, one.formats)[0], part)


def _presence(values: pl.Series) -> Floats:
    return read_names(values).is_not_null().to_numpy().astype(np.float64)


def _categories(train: pl.Series, test: pl.Series) -> tuple[Floats, Floats]:
    """Whole numbers for the most frequent names; NaN for the others, for new ones and for missing ones."""
    names = read_names(train).drop_nulls()
    frequent = names.value_counts(sort=True, name="n").head(_MOST_CATEGORIES)[names.name]
    codes = {name: i for i, name in enumerate(sorted(frequent.to_list()))}

    def coded(values: pl.Series) -> Floats:
        numbers = read_names(values).replace_strict(codes, default=None, return_dtype=pl.Float64)
        return np.asarray(numbers.fill_null(np.nan).to_numpy(), np.float64)

    return coded(train), coded(test)


# Text


def _tfidf(fit: _Fit, column: str) -> _Made:
    """Words, pairs of words and 2 to 5 characters inside words, each row of length 1, C = 10.

    Of C = 1, 3, 10 and 100 the third had the best or nearly the best validation accuracy and log loss on
    two public sets of 2 and 77 classes. The tolerance is ten times the solver's own: accuracy was the
    same, in half the time.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean_length = max(1.0, float(_texts(fit.train, column).str.len_chars().mean() or 1.0))  # type: ignore[arg-type]
    fit = fit.part(max(5_000, int(_MOST_CHARACTERS / mean_length)))
    vectorizer = _vectorizer(int(np.clip(_MOST_WEIGHTS // (fit.classes or 1), 4_000, 200_000)) // 2)
    texts, later = _texts(fit.train, column).to_list(), _texts(fit.test, column).to_list()
    features = vectorizer.fit_transform(texts)
    model = LogisticRegression(C=10.0, tol=1e-3, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, fit.target)
    return fit.predicted(model, vectorizer.transform(later)), len(texts)


def _vectorizer(most: int) -> Any:
    """TF-IDF of words beside that of characters, `most` features of each."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    same = {"sublinear_tf": True, "dtype": np.float32, "max_features": most}
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]", **same)
    characters = TfidfVectorizer(ngram_range=(2, 5), analyzer="char_wb", **same)
    return FeatureUnion([("words", words), ("characters", characters)])


def _texts(frame: pl.DataFrame, column: str) -> pl.Series:
    return frame[column].cast(pl.String).fill_null("")


# Pictures


def _pixels(fit: _Fit, codec: ImageCodec) -> _Made:
    """The whole picture at a few pixels a side: what colours and coarse shapes alone can tell."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    fit = fit.part(_MOST_PICTURES)
    train, test = _small(codec, fit.train), _small(codec, fit.test)
    mean, deviation = train.mean(axis=0), train.std(axis=0) + 1e-3
    model = LogisticRegression(C=0.01, tol=1e-3, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit((train - mean) / deviation, fit.target)
    return fit.predicted(model, (test - mean) / deviation), len(train)


def _small(codec: ImageCodec, frame: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Pictures as float32 [n, pixels * pixels * 3] in 0..1."""
    raws, names = codec.raw(frame)
    rows = [square(picture(r, n, at_least=_PIXELS), _PIXELS) for r, n in zip(raws, names, strict=True)]
    return np.stack(rows).reshape(len(rows), -1).astype(np.float32) / 255.0
