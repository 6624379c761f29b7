"""Drift is told where there is one, and not where chance makes a few rows lie otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundles
import numpy as np
import pytest

from torchkiln import bundle
from torchkiln.bundle import drift
from torchkiln.codec.base import Ragged
from torchkiln.errors import BundleError


def rows(count: int, seed: int, **changes: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "age": float(rng.normal(40, 12)),
            "height": None if rng.random() < 0.14 else float(rng.integers(150, 200)),
            "town": ["Ulm", "Bonn", "Kiel", None][rng.integers(4)],
            "since": f"2020-{rng.integers(1, 13):02}-{rng.integers(1, 29):02}",
            **{name: value(rng) for name, value in changes.items()},
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(bundles.table(tmp_path_factory.mktemp("drift") / "b"))


@pytest.fixture(scope="module")
def reference(made: bundle.Bundle) -> dict[str, Any]:
    assert made.codec
    arrays = made.encode(rows(2000, 0))
    return drift.make(made.codec.inputs, arrays, made.compute(arrays), bundles.CLASSES, "classes")


def seen(made: bundle.Bundle, reference: dict[str, Any], asked: list[dict[str, Any]]) -> dict[str, Any]:
    assert made.codec
    counter = drift.Drift(json.loads(json.dumps(reference)), made.codec.inputs, bundles.CLASSES, "classes")
    for start in range(0, len(asked), 7):
        arrays = made.encode(asked[start : start + 7])
        counter.add(arrays, made.compute(arrays))
    return counter.report()


def clear(report: dict[str, Any]) -> set[str]:
    return {name for name, one in report["features"].items() if one["clear"]}


@pytest.mark.parametrize("count", [1, 20, 600])
def test_the_same_kind_of_rows_is_no_drift(count: int, made: bundle.Bundle, reference: dict[str, Any]) -> None:
    report = seen(made, reference, rows(count, 1))
    assert report["rows"] == count and clear(report) == set()
    assert report["features"]["town"]["unseen"] == 0


SHIFTS: dict[str, tuple[dict[str, Any], str]] = {
    "older people": ({"age": lambda rng: float(rng.normal(60, 12))}, "age"),
    "more gaps": ({"height": lambda rng: None}, "height is missing"),
    "a town that was rare": ({"town": lambda rng: "Ulm"}, "town"),
    "unheard-of towns": ({"town": lambda rng: "Rom"}, "town"),
    "later years": ({"since": lambda rng: f"2024-{rng.integers(1, 13):02}-01"}, "since: days"),
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_told(shift: str, made: bundle.Bundle, reference: dict[str, Any]) -> None:
    change, feature = SHIFTS[shift]
    report = seen(made, reference, rows(300, 2, **change))
    assert feature in clear(report), report
    assert report["features"]["town"]["unseen"] == (1.0 if shift == "unheard-of towns" else 0.0)


def test_predictions_drift_too(made: bundle.Bundle, reference: dict[str, Any]) -> None:
    asked = rows(2000, 3)
    sure = [r for r, a in zip(asked, made.predict(asked), strict=True) if a["prediction"] == "yes"]
    assert "prediction" in clear(seen(made, reference, sure))


def test_old_rows_fade(made: bundle.Bundle, reference: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "WINDOW", 200)
    strange = rows(150, 4, town=lambda rng: "Rom")
    report = seen(made, reference, strange + rows(2000, 5))
    assert report["rows"] <= 400 and report["features"]["town"]["unseen"] < 0.01


def test_a_reference_holds_no_row(reference: dict[str, Any]) -> None:
    assert reference["rows"] == 2000
    for one in reference["features"].values():
        assert sum(one["counts"]) == 2000 and len(one["counts"]) <= drift.MOST_CODES + 2


def test_numbers_that_are_mostly_one_are_parted_from_the_rest() -> None:
    for values in (np.r_[np.zeros(95), np.ones(5)], np.r_[np.zeros(5), np.ones(95)], np.arange(3.0)):
        assert len(drift._edges(values)) >= 1
        counts = drift._counted({"edges": drift._edges(values)}, values)
        assert (counts > 0).sum() >= 2
    assert drift._edges(np.ones(9)) == []


def test_texts_pictures_and_tensors_have_features(tmp_path: Path) -> None:
    for make, record, expected in (
        (bundles.text, {"text": "a zebra"}, "share of unknown words"),
        (bundles.pictures, {"image": bundles.png()}, "brightness"),
        (bundles.tensors, {"x": [[1, 2, 3]]}, "mean of x"),
    ):
        one = bundle.load(make(tmp_path / expected))
        arrays, kind = one.encode([record]), one.manifest.prediction_kind
        codec = one.codec.inputs if one.codec else None
        found = drift.features(codec, arrays, one.compute(arrays), bundles.CLASSES, kind)
        assert expected in found
        if expected == "share of unknown words":
            assert found[expected].values.tolist() == [0.5]
    assert drift._of_lengths(None, {"x": Ragged(np.zeros(3), np.array([0, 1, 3]))})["length of x"].values.tolist() == [
        1,
        2,
    ]


def test_a_bundle_without_a_reference_has_no_drift_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    assert drift.read(tmp_path, None, [], "tensor") is None
    for content in ("{", "[]", '{"format": 2}', '{"format": 1, "features": {"x": 3}}'):
        (tmp_path / drift.REFERENCE).write_text(content)
        with pytest.raises(BundleError, match=r"reference\.json cannot be read"):
            drift.read(tmp_path, None, [], "tensor")
