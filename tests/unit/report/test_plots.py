from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

from torchkiln.report import plots
from torchkiln.report.plots import Score, Series

Floats = Any


def series(y: Floats, name: str = "validation", css: str = "ours") -> Series:
    return Series(name, css, np.arange(len(y), dtype=float), np.asarray(y, dtype=float))


def drawn(markup: str) -> ET.Element:
    """The drawing, once every number in it is known to be finite and inside of the frame."""
    assert "nan" not in markup.lower().replace("finance", "")
    assert "inf" not in markup
    root = ET.fromstring(markup)
    wide = float(root.get("viewBox", "").split()[2])
    for one in root.iter():
        for key in ("x", "cx", "x1", "x2"):
            if one.get(key):
                assert -1 <= float(one.get(key, "")) <= wide + 1, (one.tag, one.attrib)
    return root


def curves(*lines: Series, **how: Any) -> ET.Element:
    return drawn(plots.curves("c", "Loss", lines, x_label="epoch", y_label="loss", **how))


def classes(root: ET.Element, css: str) -> list[ET.Element]:
    return [e for e in root.iter() if css in (e.get("class") or "").split()]


def test_curves_draw_each_series_and_mark_the_best_epoch() -> None:
    root = curves(series([3, 2, 1], "training", "other"), series([3, 2.5, 2.75]), mark=(1.0, "best: epoch 1"))
    assert len([e for e in classes(root, "line") if e.tag == "path"]) == 2
    assert len(classes(root, "ring")) == 1
    assert any("best: epoch 1, 2.500" in (e.text or "") for e in root.iter("text"))
    assert "validation: from 3.000 to 2.750, lowest 2.500, highest 3.000." in (root[1].text or "")


def test_a_loss_that_is_not_finite_is_a_gap_with_a_mark() -> None:
    root = curves(series([3, math.nan, 1, math.inf]))
    assert len(classes(root, "bad")) == 2
    (line,) = [e for e in classes(root, "line") if e.tag == "path" and "bad" not in e.get("class", "")]
    assert line.get("d", "").count("M") == 2


def test_nothing_but_nan_and_one_epoch_alone_can_be_drawn() -> None:
    root = curves(series([math.nan, math.nan]), log=True)
    assert any(e.text == "no finite value" for e in root.iter("text"))
    assert len(classes(curves(series([0.5])), "dot")) == 1
    curves(series([0.0, 0.0, 0.0]), log=True, zero=True)


def test_a_logarithmic_axis_is_only_for_values_above_zero() -> None:
    def label(y: list[float]) -> bool:
        return any("log scale" in (e.text or "") for e in curves(series(y), log=True).iter("text"))

    assert label([100, 1, 0.01])
    assert not label([100, 0, 0.01])


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_long_lines_are_thinned_and_keep_their_peaks_and_gaps(n: int) -> None:
    y = np.sin(np.arange(n) / 50.0)
    y[n // 3], y[n // 2] = 40.0, math.nan
    x, kept = plots.thin(np.arange(n, dtype=float), y)
    assert len(x) <= 2.2 * plots.MOST_POINTS
    assert np.nanmax(kept) == 40.0
    assert np.isnan(kept).any()
    assert (np.diff(x) > 0).all()
    assert (x[0], x[-1]) == (0, n - 1)
    markup = plots.curves("c", "t", [series(y)], x_label="step", y_label="loss")
    assert len(markup) < 30_000


def test_intervals_show_value_interval_and_who_is_ours() -> None:
    scores = [Score("this run", True, 0.87, 0.86, 0.88), Score("majority", False, 0.1, None, None)]
    root = drawn(plots.intervals("s", "Accuracy", scores, "accuracy"))
    told = [e.text for e in root.iter("text")]
    assert "0.870 (0.860 to 0.880)" in told
    assert len(classes(root, "fill")) == 1
    assert "this run: 0.870 (0.860 to 0.880); majority: 0.1000." in (root[1].text or "")


def test_small_plots_fit_a_cell() -> None:
    root = drawn(plots.whisker(0.5, 0.2, 0.9, (0.2, 0.9), 0.6))
    assert root.get("role") == "img"
    assert len(classes(root, "best")) == 1
    drawn(plots.whisker(1.0, 1.0, 1.0, (1.0, 1.0), None))
    for part in (-1.0, 0.0, 0.5, 7.0):
        root = drawn(plots.bar(part, "<half>"))
        assert 0 <= float(classes(root, "fill")[0].get("width", "")) <= 120
        assert root[0].text == "<half>"


def test_reliability_orders_its_bins_and_counts() -> None:
    confidence, accuracy = np.array([0.9, 0.5]), np.array([0.8, 0.55])
    root = drawn(plots.reliability("r", confidence, accuracy, np.array([0.25, 0.75]), np.array([3, 9])))
    assert (root[1].text or "").replace("\u00a0", " ") == "50.0 % sure, 55.0 % right; 90.0 % sure, 80.0 % right."
    short, tall = (float(e.get("height", "")) for e in classes(root, "plain"))
    assert tall == pytest.approx(3 * short, rel=0.05)
    drawn(plots.reliability("r", confidence[:1], accuracy[:1], np.array([0.5]), np.array([0])))


def test_agreement_is_points_when_few_and_cells_when_many() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=5000)
    few = drawn(plots.agreement("a", target[:50], target[:50] + 0.1, "price"))
    many = drawn(plots.agreement("a", target, target + rng.normal(size=5000), "price"))
    assert len(classes(few, "dot")) == 50
    assert classes(many, "dot") == []
    assert sum(int((e[0].text or "0").replace(",", "")) for e in classes(many, "fill")) == 5000


def test_a_histogram_counts_every_value() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=999), [1e9]])
    root = drawn(plots.histogram("h", values, "Errors", "error"))
    assert sum(int((e[0].text or "").split()[0].replace(",", "")) for e in classes(root, "fill")) == 1000
    drawn(plots.histogram("h", np.zeros(3), "Errors", "error"))
