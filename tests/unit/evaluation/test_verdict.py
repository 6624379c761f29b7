"""The sentence says who wins, and where the rows cannot tell."""

from __future__ import annotations

import math

import pytest

from torchkiln.evaluation.scores import Interval
from torchkiln.evaluation.verdict import Standing, verdict
from torchkiln.tasks import _metrics

ACCURACY = _metrics.classification(["a", "b"])[0]
RMSE = _metrics.regression()[0]
OURS = Interval(0.87, 0.86, 0.88)
MAJORITY = Standing("majority class", Interval(0.76, 0.75, 0.77), Interval(0.11, 0.10, 0.12))


def _boosting(low: float, high: float) -> Standing:
    middle = (low + high) / 2
    return Standing("HistGradientBoosting", Interval(0.87 - middle, 0.8, 0.9), Interval(middle, low, high))


@pytest.mark.parametrize(
    ("low", "high", "beats", "words"),
    [
        (0.01, 0.02, True, "That beats the majority class at 0.7600 and HistGradientBoosting at 0.855."),
        (
            -0.02,
            -0.01,
            False,
            "HistGradientBoosting at 0.885 does better (difference -0.0150, 95 % interval -0.0200 to -0.0100)",
        ),
        (
            -0.01,
            0.02,
            False,
            "These rows do not show whether it beats HistGradientBoosting at 0.865 (difference 0.0050",
        ),
    ],
)
def test_the_classical_model_is_beaten_wins_or_is_level(low: float, high: float, beats: bool, words: str) -> None:
    found = verdict(ACCURACY, 16281, OURS, [MAJORITY, _boosting(low, high)])
    assert found["beats_trivial"] is True
    assert found["beats_classical"] is beats
    assert words in found["text"]
    assert "Accuracy is 0.8700 (95 % interval 0.8600 to 0.8800) on 16,281 test rows." in found["text"]
    assert "That beats the majority class at 0.7600" in found["text"]


def test_where_lower_is_better_a_smaller_error_wins() -> None:
    mean = Standing("mean", Interval(1.0, 0.9, 1.1), Interval(-0.5, -0.6, -0.4))
    found = verdict(RMSE, 50, Interval(0.5, 0.4, 0.6), [mean])
    assert found == {
        "text": "RMSE is 0.500 (95 % interval 0.400 to 0.600) on 50 test rows. That beats the mean at 1.000.",
        "beats_trivial": True,
        "beats_classical": None,
    }


def test_a_net_no_better_than_a_guess_is_told_so() -> None:
    level = Standing("majority class", Interval(0.86, 0.8, 0.9), Interval(0.01, -0.01, 0.03))
    found = verdict(ACCURACY, 50, OURS, [level])
    assert found["beats_trivial"] is False
    assert "These rows do not show whether it beats the majority class at 0.860" in found["text"]
    worse = Standing("majority class", Interval(0.9, 0.8, 0.95), Interval(-0.03, -0.05, -0.01))
    found = verdict(ACCURACY, 50, OURS, [worse])
    assert found["beats_trivial"] is False
    assert "It does worse than the majority class at 0.900" in found["text"]
    assert "has learnt nothing of use" in found["text"]


def test_no_score_beats_nothing() -> None:
    none = Interval(math.nan, math.nan, math.nan)
    found = verdict(ACCURACY, 50, none, [Standing("majority class", OURS, none), _boosting(0.1, 0.2)])
    assert found["text"] == "The net has no accuracy on the 50 test rows: see the notes."
    assert (found["beats_trivial"], found["beats_classical"]) == (False, False)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (Interval(46186.4, 45200.0, 47100.0), "46,186 (95 % interval 45,200 to 47,100)"),
        (Interval(0.393263, 0.3102, 0.4827), "0.393 (95 % interval 0.310 to 0.483)"),
        (Interval(1.0, 1.0, 1.0), "1.0000 (95 % interval 1.0000 to 1.0000)"),
    ],
)
def test_figures_have_no_more_digits_than_the_interval_bears(interval: Interval, said: str) -> None:
    assert said in verdict(RMSE, 50, interval, [])["text"]
