"""Comparisons and gates: each gate is seen to close."""

import math
from dataclasses import replace

import numpy as np
import pytest

from torchkiln.bundle.proof import EXACT, GATES, HALF, INT8, Truth, compare, different_arrays, same_digits
from torchkiln.codec.base import Array, Ragged


def probabilities(n: int = 400, classes: int = 3, seed: int = 0) -> Array:
    raw = np.exp(np.random.default_rng(seed).normal(size=(n, classes)) * 2)
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def accuracy(target: Array, prediction: Array) -> float:
    return float(np.mean(prediction.argmax(axis=1) == target))


def rmse(target: Array, prediction: Array) -> float:
    return float(np.sqrt(np.mean((prediction - target) ** 2)))


def flipped(reference: Array, rows: int) -> Array:
    """The same, with the two likeliest classes of the first rows changed for one another."""
    answer = reference.copy()
    order = np.argsort(reference, axis=1)
    for i in range(rows):
        a, b = order[i, -1], order[i, -2]
        answer[i, [a, b]] = reference[i, [b, a]]
    return answer


def test_the_same_answers_hold_every_gate() -> None:
    reference = probabilities()
    truth = Truth(reference.argmax(axis=1), accuracy, "accuracy", True)
    found = compare(reference, reference.copy(), classes=True, truth=truth)
    assert (found.max_abs, found.agreement, found.flips, found.void) == (0.0, 1.0, 0, "")
    assert [gate.faults(found) for gate in GATES.values()] == [[]] * len(GATES)


def test_figures_of_a_known_difference() -> None:
    reference = np.array([0.0, 1.0, 2.0, 3.0], np.float32)
    found = compare(reference, reference + np.array([0, 0, 0, 0.5], np.float32), classes=False)
    assert found.max_abs == 0.5
    assert found.over_std == pytest.approx(0.5 / np.std(reference))
    assert found.agreement == 0.75  # half a unit is more than a tenth of the deviation
    assert found.p999 == 0.5


def test_what_is_alike_in_all_rows_does_not_hide_a_difference() -> None:
    reference = np.stack([np.linspace(0.40, 0.41, 50), np.linspace(0.60, 0.59, 50)], axis=1)
    found = compare(reference, reference + 1e-3, classes=True)
    assert found.over_std == pytest.approx(1e-3 / np.linspace(0.40, 0.41, 50).std())


@pytest.mark.parametrize(
    ("off", "passes"), [(0.5e-4, True), (1.5e-4, False)], ids=["within 1e-4 of the deviation", "beyond"]
)
def test_the_gate_of_fp32_files(off: float, passes: bool) -> None:
    reference = np.linspace(-3, 3, 500)
    answer = reference.copy()
    answer[250] += off * reference.std()
    assert (EXACT.faults(compare(reference, answer, classes=False)) == []) is passes


def test_another_label_is_forgiven_only_where_the_net_was_in_doubt() -> None:
    reference = probabilities()
    found = compare(reference, flipped(reference, 1), classes=True)
    assert found.flips == 1
    assert any("gets another label" in one or "get another label" in one for one in EXACT.faults(found))
    reference[0] = [0.500_02, 0.499_98, 0.0]
    found = compare(reference, flipped(reference, 1), classes=True)
    assert (found.flips, found.agreement) == (0, 1 - 1 / 400)
    assert EXACT.faults(replace(found, over_std=0.0)) == []


def test_the_metric_must_be_equal_to_four_digits() -> None:
    assert same_digits(0.83334, 0.83338)
    assert not same_digits(0.8333, 0.8334)
    assert same_digits(45_678.0, 45_682.0)
    assert not same_digits(45_678.0, 45_690.0)
    assert same_digits(math.nan, math.nan)
    assert not same_digits(0.5, math.nan)
    reference = np.linspace(0, 1, 100)
    found = compare(reference, reference + 1e-4, classes=False, truth=Truth(reference + 0.01, rmse, "rmse", False))
    assert any("4 digits must be equal" in one for one in EXACT.faults(found))


@pytest.mark.parametrize(("wrong", "passes"), [(8, True), (9, False)])
def test_int8_must_agree_on_98_of_a_hundred(wrong: int, passes: bool) -> None:
    reference = probabilities()
    assert (INT8.faults(compare(reference, flipped(reference, wrong), classes=True)) == []) is passes


def test_int8_may_lose_half_a_point() -> None:
    reference = probabilities(1000)
    truth = Truth(reference.argmax(axis=1), accuracy, "accuracy", True)
    assert INT8.faults(compare(reference, flipped(reference, 5), classes=True, truth=truth)) == []
    assert INT8.faults(compare(reference, flipped(reference, 6), classes=True, truth=truth))[0].startswith(
        "accuracy loses 0.60 points"
    )
    better = Truth(flipped(reference, 10).argmax(axis=1), accuracy, "accuracy", True)
    found = compare(reference, flipped(reference, 10), classes=True, truth=better)
    assert found.loss == pytest.approx(-1.0)
    assert INT8.faults(found) == []


def test_an_error_loses_points_in_percent_of_itself() -> None:
    target = np.zeros(100)
    reference = np.ones(100)
    found = compare(reference, reference * 1.004, classes=False, truth=Truth(target, rmse, "rmse", False))
    assert found.loss == pytest.approx(0.4)
    assert HALF.faults(replace(found, agreement=1.0, over_std=0.0))[0].startswith("rmse loses 0.40 points")


@pytest.mark.parametrize(("rows", "told"), [(50, True), (49, False)])
def test_a_class_may_lose_three_points_of_recall_if_it_has_rows_enough(rows: int, told: bool) -> None:
    n = 2000
    reference = np.tile(np.array([0.9, 0.1, 0.0], np.float32), (n, 1))
    reference[:rows] = [0.0, 0.1, 0.9]
    truth = Truth(reference.argmax(axis=1), accuracy, "accuracy", True)
    answer = reference.copy()
    answer[:2] = [0.9, 0.1, 0.0]  # 0.1 points of all, 4 of that class
    said = INT8.faults(compare(reference, answer, classes=True, truth=truth))
    assert said == (["class 2 loses 4.0 points of recall, at most 3 may go"] if told else [])


@pytest.mark.parametrize(
    ("reference", "classes", "why"),
    [
        (np.full((20, 2), 0.5, np.float32), True, "one and the same class"),
        (np.tile([[0.2, 0.8]], (20, 1)) + np.linspace(0, 0.1, 20)[:, None], True, "one and the same class"),
        (np.full(20, 7.5), False, "all rows alike"),
        (1e6 + np.arange(20) * 1e-3, False, "all rows alike"),
        (np.array([[np.nan, 1.0]]), True, "not all finite"),
        (np.zeros((0, 2)), True, "no rows"),
    ],
)  # fmt: skip
def test_what_has_no_spread_proves_nothing(reference: Array, classes: bool, why: str) -> None:
    assert why in compare(reference, reference.copy(), classes=classes).void


def test_small_numbers_have_a_spread_of_their_own() -> None:
    tiny = np.linspace(1e-9, 2e-9, 30)
    assert compare(tiny, tiny, classes=False).void == ""


def test_what_is_not_finite_on_one_side_is_infinitely_far() -> None:
    reference = np.array([1.0, 2.0, np.nan])
    assert compare(reference, reference.copy(), classes=False).max_abs == 0.0
    found = compare(np.array([1.0, 2.0, 3.0]), np.array([1.0, np.nan, 3.0]), classes=False)
    assert found.max_abs == math.inf
    assert EXACT.faults(found) != []
    assert "max_abs" not in found.as_json()  # infinity is no JSON


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 1\) where the net gives \(3,\)"):
        compare(np.zeros(3), np.zeros((3, 1)), classes=False)


def test_arrays_of_a_codec_are_compared_bit_by_bit() -> None:
    def ragged(values: list[int], offsets: list[int]) -> Ragged:
        return Ragged(np.array(values, np.int32), np.array(offsets, np.int64))

    trained = {"x": np.array([[1.0, np.nan]], np.float32), "ids": ragged([1, 2, 3], [0, 1, 3])}
    assert different_arrays(trained, {**trained}) == {}
    assert different_arrays(trained, {"x": trained["x"]}) == {"ids": "is there on one side only"}
    near = np.array([[np.nextafter(np.float32(1), 2), np.nan]], np.float32)
    assert different_arrays(trained, {**trained, "x": near}) == {"x": "differs in 1 of 2 values"}
    assert different_arrays(trained, {**trained, "x": trained["x"].astype(np.float64)}) == {
        "x": "is float64 [1, 2], not float32 [1, 2]"
    }
    assert different_arrays(trained, {**trained, "ids": ragged([1, 2, 4], [0, 1, 3])}) == {
        "ids": "differs in 1 of 3 values"
    }
    assert different_arrays(trained, {**trained, "ids": ragged([1, 2, 3], [0, 2, 3])}) == {
        "ids": "differs in 1 of 3 values"
    }
