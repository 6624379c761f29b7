"""Files held beside the net: every batch size, the codec and the extremes can each bring a proof down."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.bundle.proof import Truth
from torchkiln.codec.base import Array, Arrays, Ragged
from torchkiln.deploy.prove import Sample, Trial, Ways, batch, by_length, computed, prove, sample, samples, spread
from torchkiln.errors import DataError

WEIGHTS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def net(feeds: Mapping[str, Array]) -> Array:
    raw = np.exp(feeds["x"] @ WEIGHTS)
    made: Array = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    return made


def rows(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32)


def whole(n: int = 200) -> Sample:
    x = rows(n)
    return Sample(np.arange(n), {"x": x}, net({"x": x}))


def proven(runner: Any, kind: str = "onnx", extremes: Sample | None = None, held_out: Sample | None = None) -> Trial:
    found, _ = prove([held_out or whole()], extremes, {"file": (kind, runner)}, classes=True, truth=None)
    return found["file"]


def test_a_file_that_answers_alike_is_proven() -> None:
    target = net({"x": rows(200)}).argmax(axis=1)
    truth = Truth(target, lambda t, p: float(np.mean(p.argmax(1) == t)), "accuracy", True)
    found, answers = prove([whole()], whole(5), {"a": ("onnx", net), "b": ("int8", net)}, classes=True, truth=truth)
    assert {name: t.verdict for name, t in found.items()} == {"a": "proven", "b": "proven"}
    assert list(found["a"].batches) == [1, 2, 7, 64]
    assert max(found["a"].batches.values()) < 1e-6
    assert found["a"].as_json()["held_out"]["metric"] == {"name": "accuracy", "reference": 1.0, "file": 1.0}
    assert sorted(answers) == ["a", "b", "reference", "rows"]


def test_what_is_not_finite_is_told_as_json() -> None:
    truth = Truth(np.zeros(200, np.int64), lambda t, p: float("nan"), "accuracy", True)
    found, _ = prove(
        [whole()], None, {"f": ("onnx", lambda feeds: net(feeds) * np.float32("nan"))}, classes=True, truth=truth
    )
    assert found["f"].verdict == "unproven"
    text = json.dumps(found["f"].as_json(), allow_nan=False)
    assert json.loads(text)["batch_sizes"] == {"1": None, "2": None, "7": None, "64": None}


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_file_that_errs_at_one_batch_size_is_found(size: int) -> None:
    trial = proven(lambda feeds: net(feeds) + (0.01 if len(feeds["x"]) == size else 0.0))
    assert trial.verdict == "unproven"
    assert any(f"batch size {size} " in one or (size == 64 and "deviation" in one) for one in trial.faults)
    assert [s for s, most in trial.batches.items() if most > 0.001] == [size]


def test_a_file_that_errs_on_an_extreme_record_alone_is_found() -> None:
    x = np.array([[20, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    odd = Sample(np.arange(2), {"x": x}, net({"x": x}))
    trial = proven(lambda feeds: np.where(np.abs(feeds["x"]).max() > 10, 0.5, 1.0) * net(feeds), extremes=odd)
    assert trial.faults[0].startswith("on extreme records it differs by")


def test_a_codec_that_makes_other_arrays_is_found() -> None:
    one = whole()
    trial = proven(net, held_out=Sample(one.rows, one.arrays, one.reference, {"x": "differs in 1 of 800 values"}))
    assert trial.verdict == "unproven"
    assert trial.faults == ["the bundle's codec: x differs in 1 of 800 values"]


def test_a_net_that_says_one_thing_proves_nothing() -> None:
    constant = np.tile(np.array([0.2, 0.3, 0.5], np.float32), (200, 1))
    trial = proven(
        lambda feeds: constant[: len(feeds["x"])], held_out=Sample(np.arange(200), {"x": rows(200)}, constant)
    )
    assert trial.verdict == "void"
    assert trial.as_json()["why"] == ["the trained net gives one and the same class to all rows"]


def test_an_int8_file_may_differ_where_an_exact_one_may_not() -> None:
    def near(feeds: Mapping[str, Array]) -> Array:
        return np.round(net(feeds) * 255) / 255

    assert proven(near).verdict == "unproven"
    assert proven(near, "int8").verdict == "proven"


def padded_sum(feeds: Mapping[str, Array]) -> Array:
    return (feeds["ids"] * feeds["weights"]).sum(axis=1)


def ragged(n: int = 30) -> Arrays:
    lengths = np.arange(n) % 11
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    values = np.random.default_rng(0).integers(1, 9, offsets[-1]).astype(np.float32)
    return {"ids": Ragged(values, offsets), "weights": Ragged(np.ones_like(values), offsets)}


def test_rows_of_unequal_length_come_back_in_their_places() -> None:
    arrays = ragged()
    expected = [part.sum() for part in np.split(arrays["ids"].values, arrays["ids"].offsets[1:-1])]  # type: ignore[union-attr]
    assert computed(padded_sum, arrays, 4) == pytest.approx(expected)
    lengths = arrays["ids"].lengths[by_length(arrays)]  # type: ignore[union-attr]
    assert (np.diff(lengths) >= 0).all()


def test_short_rows_are_computed_beside_long_ones() -> None:
    """A file that minds the padding is found, though batches of like length would hide it."""
    arrays = ragged()
    good = Sample(np.arange(30), arrays, computed(padded_sum, arrays, 1))

    def minds(feeds: Mapping[str, Array]) -> Array:
        return padded_sum(feeds) + 0.5 * (feeds["ids"] == 0).all(axis=1) * (feeds["ids"].shape[1] > 5)

    found, _ = prove([good], None, {"f": ("onnx", padded_sum), "g": ("onnx", minds)}, classes=False, truth=None)
    assert found["f"].verdict == "proven"
    assert found["g"].batches[2] == 0.5


def ways(refuses: float = 1e9) -> Ways:
    def served(records: list[dict[str, Any]]) -> Arrays:
        for i, one in enumerate(records):
            if one["a"] > refuses:
                raise DataError(f"records[{i}].a: found {one['a']}")
        return {"x": np.array([[r["a"], 0, 0, 1] for r in records], np.float32).reshape(-1, 4)}

    def trained(frame: pl.DataFrame) -> Arrays:
        return {"x": np.array([[a, 0, 0, 1] for a in frame["a"]], np.float32).reshape(-1, 4)}

    return Ways(trained, lambda arrays: net({"x": arrays["x"]}), served)  # type: ignore[dict-item]


def test_rows_go_both_ways() -> None:
    frame = pl.DataFrame({"a": np.linspace(-3, 3, 1100)})
    parts = list(samples(frame, ways(), pl.DataFrame.to_dicts))
    assert [len(p.rows) for p in parts] == [512, 512, 76]
    assert np.concatenate([p.rows for p in parts]).tolist() == list(range(1100))
    found, answers = prove(parts, None, {"f": ("onnx", net)}, classes=True, truth=None)
    assert found["f"].verdict == "proven"
    assert len(answers["f"]) == 1100


def test_rows_that_the_bundle_refuses_are_left_out_and_counted() -> None:
    frame = pl.DataFrame({"a": [*np.linspace(-3, 3, 300), 100.0]})
    one = sample(frame, frame.to_dicts(), ways(refuses=50))
    assert one.refused == ["records[0].a: found 100.0"]
    assert one.rows.tolist() == list(range(300))
    found, _ = prove([one], None, {"f": ("onnx", net)}, classes=True, truth=None)
    assert found["f"].verdict == "proven"
    assert found["f"].as_json()["refused"]["held_out"] == [1, "records[0].a: found 100.0"]
    several = sample(frame, frame.to_dicts(), ways(refuses=2))
    found, _ = prove([several], None, {"f": ("onnx", net)}, classes=True, truth=None)
    assert found["f"].faults[0].startswith("the bundle refuses 51 validation rows, such as: records[0].a: found")
    nothing = sample(frame, frame.to_dicts(), ways(refuses=-9))
    found, _ = prove([nothing], None, {"f": ("onnx", net)}, classes=True, truth=None)
    assert found["f"].verdict == "unproven"


def test_spread_takes_first_and_last() -> None:
    assert spread(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert spread(101, 3).tolist() == [0, 50, 100]
    assert batch({"x": np.arange(4)}, np.array([3, 0]))["x"].tolist() == [3, 0]
