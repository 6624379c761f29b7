from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.data.findings import check
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.sources import look
from torchkiln.data.splits import assign
from torchkiln.recipe.schema import Data


def source(kind: Kind = "table", parts: dict[str, int] | None = None, **columns: Any) -> Source:
    """Rows given to the splits in turn, as `parts` says how many each has."""
    n = len(next(iter(columns.values())))
    parts = parts or {"train": n - 2 * (n // 5), "val": n // 5, "test": n // 5}
    split = [s for s, count in parts.items() for _ in range(count)]
    frame = pl.DataFrame({"key": [f"t.csv:{i + 1}" for i in range(n)], "split": split, **columns})
    return Source(kind, frame, Path("."), "")


def found(given: Source, target: str = "y", classification: bool = True, **data: Any) -> dict[str, tuple[str, str]]:
    """Level and text by code."""
    checked = check(given, Data(path="t.csv", **data), target, classification)
    return {f.code: (f.level, f.text) for f in checked.findings}


def table(n: int = 100, **columns: Any) -> dict[str, Any]:
    x = np.random.default_rng(0).normal(size=n)
    return {"x": x, "z": -x[::-1], "y": [("a", "b")[i % 2] for i in range(n)], **columns}


def test_good_data_brings_notes_only() -> None:
    assert {code: level for code, (level, _) in found(source(**table(200))).items()} == {"label_counts": "note"}


def test_missing_labels_stop_the_run_unless_dropped() -> None:
    labels = [None if i in (3, 70) else "ab"[i % 2] for i in range(100)]
    level, text = found(source(**table(y=labels)))["missing_labels"]
    assert level == "stop"
    assert [w for w in ("2 of 100", "'y'", "t.csv:4", "unlabelled: drop") if w not in text] == []
    checked = check(source(**table(y=labels)), Data(path="t.csv", unlabelled="drop"), "y", True)
    assert len(checked.frame) == 98
    assert next(f.level for f in checked.findings if f.code == "missing_labels") == "warn"


def test_a_target_of_nan_is_missing() -> None:
    numbers = [float(i) for i in range(99)] + [float("nan")]
    level, text = found(source(**table(y=numbers)), classification=False)["missing_labels"]
    assert (level, text[:8]) == ("stop", "1 of 100")


def test_labels_that_were_words_for_missing_are_explained() -> None:
    given = source(**table(y=[None] * 5 + ["a", "b"] * 47 + ["a"]))
    given.findings.append(Finding("missing_words", "note", "read as missing: 'y' 5 times"))
    assert "NA and ?" in found(given)["missing_labels"][1]


def test_three_rows() -> None:
    stops = found(source(**table(3)))
    assert list(stops) == ["too_few_rows"]
    assert stops["too_few_rows"] == (
        "stop",
        "3 rows are too few to learn from and to test on; 10 are the least",
    )


def test_an_empty_split_stops_the_run() -> None:
    labels = ["a", "b"] * 45 + [None] * 10
    given = source(parts={"train": 60, "val": 30, "test": 10}, **table(y=labels))
    assert found(given, unlabelled="drop")["empty_split"] == (
        "stop",
        "test is empty: none of its rows can be used",
    )


def test_a_small_test_is_said() -> None:
    assert found(source(**table(100)))["small_test"][0] == "warn"
    assert "small_test" not in found(source(**table(150)))


def test_one_class() -> None:
    level, text = found(source(**table(y=["yes"] * 100)))["one_class"]
    assert level == "stop"
    assert "'yes' in every row; two classes" in text
    labels = ["yes"] * 60 + ["yes", "no"] * 20
    assert found(source(**table(y=labels)))["one_class"][0] == "stop"


def test_a_class_that_training_never_saw() -> None:
    labels = ["a", "b"] * 40 + ["a"] * 17 + ["wasp"] * 3
    level, text = found(source(**table(y=labels)))["unseen_class"]
    assert level == "stop"
    assert [w for w in ("test has", "'wasp'", "3 rows", "t.csv:98") if w not in text] == []


def test_a_class_that_is_never_measured() -> None:
    labels = ["a", "b", "c"] * 20 + ["a", "b"] * 20
    level, text = found(source(**table(y=labels)))["absent_class"]
    assert (level, "'c'" in text) == ("warn", True)


def test_uneven_and_tiny_classes() -> None:
    labels = (["a"] * 38 + ["b", "c"]) * 5
    findings = found(source(parts={"train": 120, "val": 40, "test": 40}, **table(200, y=labels)))
    assert findings["tiny_class"][0] == "warn"
    assert "114 training rows of 'a', 3 of 'c'" in findings["uneven_classes"][1]


def test_ids_are_no_classes() -> None:
    level, text = found(source(**table(y=[f"id {i}" for i in range(100)])))["too_many_classes"]
    assert (level, "right column" in text) == ("stop", True)


@pytest.mark.parametrize(
    ("values", "code", "level", "word"),
    [
        (["1"] * 99 + ["abc"], "target_no_number", "stop", "t.csv:100 has 'abc'"),
        ([1.0] * 99 + [float("inf")], "target_infinite", "stop", "t.csv:100"),
        ([5.0] * 100, "constant_target", "stop", "is 5 in every training row"),
        ([0.0, 1.0] * 50, "two_valued_target", "warn", "table_classification"),
    ],
)
def test_numbers_that_are_no_target(values: list[Any], code: str, level: str, word: str) -> None:
    said = found(source(**table(y=values)), classification=False)[code]
    assert said[0] == level
    assert word in said[1]


def test_a_target_that_is_cut_off() -> None:
    values = np.minimum(np.random.default_rng(0).normal(10, 1, 1000), 11.5)
    level, text = found(source(**table(1000, y=values)), classification=False)["capped_target"]
    assert (level, "11.5" in text) == ("note", True)


def test_equal_rows_across_splits() -> None:
    columns = table(200)
    columns["x"][-1], columns["z"][-1] = columns["x"][0], columns["z"][0]
    checked = check(source(**columns), Data(path="t.csv"), "y", True)
    finding = next(f for f in checked.findings if f.code == "duplicates_across_splits")
    assert (finding.level, finding.samples) == ("warn", ["t.csv:200 = t.csv:1"])
    assert "1 of 40 test rows (2.5%)" in finding.text
    conflict = next(f for f in checked.findings if f.code == "conflicting_labels")
    assert (conflict.level, conflict.samples) == ("warn", ["t.csv:1", "t.csv:200"])


def test_row_numbers_do_not_hide_equal_rows() -> None:
    columns = {"n": list(range(200)), **table(200)}
    columns["x"][-1], columns["z"][-1] = columns["x"][0], columns["z"][0]
    assert "but those that number the rows" in found(source(**columns))["duplicates_across_splits"][1]


def test_a_test_that_is_a_copy_of_train_stops_the_run() -> None:
    half = table(100)
    twice = {name: np.concatenate([values, values]) for name, values in half.items()}
    given = source(parts={"train": 100, "test": 100}, **twice)
    assert found(given)["duplicates_across_splits"][0] == "stop"


def test_rows_that_repeat_by_nature_do_not_stop_the_run() -> None:
    random = np.random.default_rng(0)
    columns = {"p": random.integers(0, 2, 300), "q": random.integers(0, 2, 300), "y": ["a", "b"] * 150}
    findings = check(source(**columns), Data(path="t.csv"), "y", True).findings
    copies = [f for f in findings if f.code == "duplicates_across_splits"]
    assert [f.level for f in copies] == ["warn", "warn"]
    assert "60 of 60 test rows (100.0%)" in copies[0].text


def test_texts_are_compared_without_case_and_punctuation() -> None:
    texts = [f"this is text number {i}" for i in range(200)]
    texts[-1] = "This is TEXT, number 0!"
    labels = ["a", "b"] * 100
    findings = found(source("text", t=texts, y=labels), text="t")
    assert "t.csv:200 = t.csv:1" in findings["duplicates_across_splits"][1]
    assert "t.csv:1 and t.csv:200" in findings["conflicting_labels"][1]


def test_a_column_that_gives_the_target_away() -> None:
    labels = [("a", "b")[i % 2] for i in range(400)]
    columns = table(400, y=labels, code=[7 if y == "a" else 3 for y in labels])
    level, text = found(source(**columns))["target_leak"]
    assert (level, "data.columns: {code: drop}" in text) == ("warn", True)
    assert "target_leak" not in found(source(**columns), columns={"code": "drop"})


def test_groups_on_both_sides() -> None:
    columns = table(200, patient_id=[f"p{i % 20}" for i in range(200)])
    level, text = found(source(**columns))["groups_across_splits"]
    assert (level, "20 of 20 values of 'patient_id'" in text) == ("warn", True)
    assert "groups_across_splits" not in found(source(**columns), split={"by": "group", "column": "patient_id"})


def test_pictures_are_checked_and_the_worst_comes_first() -> None:
    pictures = []
    for i in range(40):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(i).integers(0, 255, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((32, 32)).save(buffer, "PNG")
        pictures.append(buffer.getvalue())
    pictures[2] = b"no picture"
    checked = check(source("images", image=pictures, label=["a", "b"] * 20), Data(path="x"), "label", True)
    assert len(checked.frame) == 39
    assert [f.level for f in checked.findings] == ["stop", "warn", "note"]
    assert checked.findings[0].code == "unreadable_pictures"


@pytest.mark.skipif("TORCHKILN_DATA" not in os.environ, reason="TORCHKILN_DATA names no folder of data sets")
@pytest.mark.parametrize(
    ("name", "target", "classification", "codes"),
    [
        ("adult", "income", True, {"duplicates_across_splits", "conflicting_labels", "label_counts"}),
        ("segment", "class", True, {"duplicates_across_splits", "label_counts"}),
        ("titanic", "Survived", True, {"duplicates_across_splits", "conflicting_labels", "label_counts"}),
        ("california_housing", "median_house_value", False, {"capped_target"}),
        ("penguins", "species", True, {"label_counts"}),
        ("sst2", "label", True, {"duplicates_across_splits", "label_counts"}),
        ("banking77", "category", True, {"duplicates_across_splits", "conflicting_labels", "label_counts"}),
        ("hymenoptera", "label", True, {"files_left_out", "label_counts"}),
    ],
)
def test_real_sets(name: str, target: str, classification: bool, codes: set[str]) -> None:
    data = Data(path=str(Path(os.environ["TORCHKILN_DATA"]) / name))
    given = assign(look(Path(data.path or "")), data, target, classification, 0)
    checked = check(given, data, target, classification)
    assert {f.code for f in checked.findings} - {"split"} == codes
    assert len(checked.frame) == len(given.frame)
    assert not [f for f in checked.findings if f.level == "stop"]
