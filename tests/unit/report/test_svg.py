from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from torchkiln.report import svg
from torchkiln.report.svg import Axis

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize("log", [False, True])
def test_an_axis_holds_all_its_values(log: bool) -> None:
    values = np.array([0.003, 12.0, math.nan, 4.0])
    axis = Axis.over(values, 200.0, 20.0, log=log)
    at = axis.at(values)
    assert math.isnan(at[2])
    assert (at[[0, 1, 3]] < 200).all()
    assert (at[[0, 1, 3]] > 20).all()
    assert at[0] > at[3] > at[1]


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 1e-12, 1e12])
def test_an_axis_of_one_value_puts_it_in_the_middle(value: float) -> None:
    axis = Axis.over(np.array([value, value]), 0.0, 100.0)
    assert float(axis.at(value)) == pytest.approx(50)
    assert len(axis.ticks()) >= 2


def test_an_axis_of_nothing_is_still_one() -> None:
    assert Axis.over(np.array([math.nan, math.inf]), 0.0, 100.0).ticks() != []
    assert Axis.over(np.empty(0), 0.0, 100.0).ticks() != []


@pytest.mark.parametrize(
    ("low", "high", "log", "labels"),
    [
        (0, 1, False, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (-150_000, 150_000, False, [f"{MINUS}100k", "0", "100k"]),
        (0, 3e-5, False, ["0", "1e-5", "2e-5", "3e-5"]),
        (0.8, 0.9, False, ["0.80", "0.82", "0.84", "0.86", "0.88", "0.90"]),
        (0, 2_000_000, False, ["0", "0.5M", "1M", "1.5M", "2M"]),
        (0.0009, 1.1, True, ["0.001", "0.01", "0.1", "1"]),
        (0.2, 9, True, ["0.2", "0.5", "1", "2", "5"]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, labels: list[str]) -> None:
    ticks = Axis(low, high, 0, 100, log).ticks()
    assert [t.replace(MINUS, "-") for t in svg.tick_labels(ticks, log=log)] == [t.replace(MINUS, "-") for t in labels]
    assert all(low - 1e-9 <= t <= high * (1 + 1e-9) for t in ticks)


def test_a_line_has_a_gap_where_a_value_is_missing() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert svg.path(x, np.array([1.0, 2.0, math.nan, 4.0]), "line") == (
        '<path class="line" d="M0.0 1.0L1.0 2.0M3.0 4.0"/>'
    )
    assert svg.path(x, np.full(4, math.nan), "line") == ""


def test_a_picture_can_be_named_and_holds_no_markup_of_strangers() -> None:
    drawn = svg.picture("p", 100, "<b>", "a & b", [svg.text(0, 0, "<script>", "tick"), svg.dot(1, 1, 2, "dot", "<i>")])
    root = ET.fromstring(drawn)
    assert root.get("role") == "img"
    title, desc = list(root)[:2]
    assert (title.text, desc.text) == ("<b>", "a & b")
    assert root.get("aria-labelledby") == f"{title.get('id')} {desc.get('id')}"
    assert [e.tag for e in root.iter() if e.tag in ("script", "b", "i")] == []


def test_rectangles_never_have_a_negative_size() -> None:
    assert 'width="0.0"' in svg.rect(0, 0, -3, 2, "fill")
