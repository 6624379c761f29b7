from __future__ import annotations

import math

import pytest

from torchkiln.report import words

NAN, INF = math.nan, math.inf
MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("value", "low", "high", "score", "interval"),
    [
        (0.87412, 0.86712, 0.88112, "0.874", "0.867 to 0.881"),
        (48076.3, 46576.0, 49576.0, "48,076", "46,576 to 49,576"),
        (0.5, 0.1, 0.9, "0.50", "0.10 to 0.90"),
        (0.123456, None, None, "0.1235", ""),
        (0.5, 0.5, 0.5, "0.5000", "0.5000 to 0.5000"),
        (-0.25, -0.31, -0.19, f"{MINUS}0.25", f"{MINUS}0.31 to {MINUS}0.19"),
        (-0.0001, -0.02, 0.01, "0.000", f"{MINUS}0.020 to 0.010"),
        (None, None, None, words.MISSING, ""),
        (NAN, NAN, NAN, "not a number", ""),
        (1e-9, 0.0, 2e-9, "0.000000", "0.000000 to 0.000000"),
    ],
)
def test_a_score_has_the_decimals_its_interval_can_carry(
    value: float, low: float, high: float, score: str, interval: str
) -> None:
    assert words.score(value, low, high) == score
    assert words.interval(value, low, high) == interval


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.14159, "3.142"),
        (123456.0, "123,456"),
        (0.00003, f"3.000e{MINUS}5"),
        (-0.5, f"{MINUS}0.5000"),
        (NAN, "not a number"),
        (INF, "infinity"),
        (-INF, "minus infinity"),
        ("three", words.MISSING),
        (True, words.MISSING),
    ],
)
def test_figures(value: float, text: str) -> None:
    assert words.figure(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (22.25, "22.25"),
        (62751.2, "62,751"),
        (-122.23, f"{MINUS}122.23"),
        (2.0, "2"),
        (1e12, "1,000,000,000,000"),
        (0.0, "0"),
        (100.0, "100"),
        (1.5e-7, f"1.500e{MINUS}7"),
    ],
)
def test_numbers_of_the_data(value: float, text: str) -> None:
    assert words.plain(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00013, "under 0.01 s"),
        (0.423, "0.42 s"),
        (37.4, "37 s"),
        (59.7, "1 min 0 s"),
        (252, "4 min 12 s"),
        (7500, "2 h 5 min"),
        (NAN, words.MISSING),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_counts_shares_and_sizes() -> None:
    assert (words.count(22500), words.count(None), words.count(NAN)) == (
        "22,500",
        words.MISSING,
        words.MISSING,
    )
    assert [words.short_count(n) for n in (4096, 11_200_000, 1.5e9)] == [
        "4,096",
        "11.2 million",
        "1.5 billion",
    ]
    assert [words.share(x) for x in (0, 0.8534, 1)] == ["0\u00a0%", "85.3\u00a0%", "100\u00a0%"]
    assert (words.memory(412.3), words.memory(3200)) == ("412 MB", "3.2 GB")
    assert (words.plural(1, "class", "classes"), words.plural(1200, "row")) == ("1 class", "1,200 rows")
    assert words.signed(0.0123, 0.01, 0.015) == "+0.0123"
    assert words.signed(-0.0123, -0.02, 0.01) == f"{MINUS}0.012"


def test_names_and_cuts() -> None:
    assert [words.measure(n) for n in ("val_macro_f1", "rmse", "my_own")] == ["macro F1", "RMSE", "my own"]
    assert words.cut("abc", 3) == "abc"
    assert words.cut("abcdef", 4) == "abc\N{HORIZONTAL ELLIPSIS}"
    assert words.bound("95 % of 10 %") == "95\u00a0% of 10\u00a0%"
