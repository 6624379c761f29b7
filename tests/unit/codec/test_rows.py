"""Records straight to arrays give the bits of the data frame's way, or leave it to that way."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln.codec import table_fit
from torchkiln.codec.rows import MOST_ROWS, RowReader
from torchkiln.codec.table import TableCodec
from torchkiln.codec.text import TokenCodec

TOWNS = ["Ulm", "Bonn", "7", "true"]


def fitted() -> TableCodec:
    """Numbers with and without gaps, skewed ones, a place on the map, and categories."""
    rng = np.random.default_rng(0)
    n = 400
    frame = pl.DataFrame(
        {
            "latitude": rng.uniform(40, 50, n),
            "longitude": rng.uniform(0, 10, n),
            "skewed": np.exp(rng.normal(0, 3, n)),
            "gaps": [None if i % 5 == 0 else float(i % 17) for i in range(n)],
            "since": [None if i % 9 == 0 else f"{1990 + i % 40}-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(n)],
            "town": [TOWNS[i % 4] for i in range(n)],
            "kind": [None if i % 6 == 0 else "ab"[i % 2] for i in range(n)],
        }
    )
    target = (frame["latitude"].to_numpy() > 45).astype(np.int64)
    return table_fit.fit(frame, target, classes=True, exclude=[])[0]


CODEC = fitted()
READER = RowReader.of(CODEC)
NUMBERS = st.one_of(
    st.none(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False, width=64).map(lambda x: x / 8),
)
RECORDS = st.fixed_dictionaries(
    {
        **dict.fromkeys(["latitude", "longitude", "skewed", "gaps"], NUMBERS),
        "since": st.none() | st.dates().map(str),
        "town": st.sampled_from([*TOWNS, None]),
        "kind": st.sampled_from(["a", "b", None]),
    }
)


def test_the_codec_holds_all_that_is_to_be_held_equal() -> None:
    assert CODEC.places and CODEC.indicators and any(f.kind == "category" for f in CODEC.fields)
    assert any(f.kind == "date" and f.indicator for f in CODEC.fields)  # type: ignore[union-attr]
    assert any(f.scaling.log for f in CODEC.fields if f.kind == "number")  # type: ignore[union-attr]


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_the_bits_are_those_of_a_frame(records: list[dict[str, Any]]) -> None:
    assert READER is not None
    found = READER.read(records)
    if found is None:  # a sum of huge numbers; there is no other reason here
        assert sum(abs(v) for r in records for v in r.values() if isinstance(v, float)) > 1e300
        return
    numbers = ["latitude", "longitude", "skewed", "gaps"]
    columns: dict[str, Any] = {n: pl.Series(n, [r[n] for r in records], pl.Float64, strict=False) for n in numbers}
    columns |= {n: pl.Series(n, [r[n] for r in records], pl.String) for n in ("since", "town", "kind")}
    expected = CODEC.encode(pl.DataFrame(columns))
    for name in ("numeric", "categorical"):
        assert found[name].dtype == expected[name].dtype and found[name].shape == expected[name].shape
        assert found[name].tobytes() == expected[name].tobytes()


PLAIN = {
    "latitude": 1.0,
    "longitude": 2,
    "skewed": 3.5,
    "gaps": None,
    "since": "2020-02-29",
    "town": "Ulm",
    "kind": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"latitude": "1"},
        {"latitude": True},
        {"latitude": float("nan")},
        {"gaps": float("nan")},
        {"latitude": float("inf")},
        {"latitude": 2**60},
        {"latitude": 10**400},
        {"since": "2021-02-29"},
        {"since": "2020-02-29 10:00"},
        {"since": "29.02.2020"},
        {"since": 2020},
        {"town": " Ulm"},
        {"town": "Kiel"},
        {"town": "NA"},
        {"town": 1.0},
        {"town": True},
        {"more": 1},
    ],
)
def test_what_is_unusual_is_left(change: dict[str, Any]) -> None:
    assert READER is not None and READER.read([PLAIN]) is not None
    assert READER.read([{**PLAIN, **change}]) is None
    assert READER.read([PLAIN, {**PLAIN, **change}]) is None


def test_what_is_missing_is_left() -> None:
    assert READER is not None
    for name in PLAIN:
        assert READER.read([{n: v for n, v in PLAIN.items() if n != name}]) is None
    assert READER.read([PLAIN] * (MOST_ROWS + 1)) is None


def test_a_whole_number_is_a_name() -> None:
    assert READER is not None
    as_number, as_name = READER.read([{**PLAIN, "town": 7}]), READER.read([{**PLAIN, "town": "7"}])
    assert as_number is not None and as_name is not None
    assert (as_number["categorical"] == as_name["categorical"]).all()


def test_other_codecs_have_no_such_reader() -> None:
    frame = pl.DataFrame({"when": [f"{1 + i % 28:02}.01.2020" for i in range(100)], "x": np.arange(100.0)})
    dated = table_fit.fit(frame, np.arange(100) % 2, classes=True, exclude=[])[0]
    assert RowReader.of(dated) is None and RowReader.of(None) is None
    tokens = TokenCodec.fit(pl.DataFrame({"text": ["a b c", "d e f"]}), "text", 8, 300)
    assert RowReader.of(tokens) is None
