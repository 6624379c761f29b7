"""Records of every form become the arrays that the codec makes; every fault is a sentence with record and field."""

from __future__ import annotations

import base64
import datetime as dt
import math
from pathlib import Path
from typing import Any

import bundles
import jsonschema
import numpy as np
import polars as pl
import pytest

from torchkiln import bundle
from torchkiln.errors import RecordError


class Pandas:
    """As much of a pandas frame as is asked of it."""

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def to_dict(self, orient: str) -> dict[str, list[Any]]:
        assert orient == "list"
        return self.columns


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(bundles.table(tmp_path_factory.mktemp("table") / "b"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    return bundle.load(bundles.text(tmp_path_factory.mktemp("text") / "b"))


def test_records_and_frames_answer_alike(table: bundle.Bundle) -> None:
    rows = [bundles.RECORD, {**bundles.RECORD, "height": None, "town": "Rom"}]
    frame = pl.DataFrame(rows)
    columns = frame.to_dict(as_series=False) | {"height": [170.0, math.nan]}
    assert table.predict(rows) == table.predict(frame) == table.predict(Pandas(columns))


@pytest.mark.parametrize(
    ("field", "value", "same"),
    [
        ("age", np.float32(31.5), 31.5),
        ("age", np.int64(31), 31),
        ("age", "?", None),
        ("height", "", None),
        ("town", 1.0, "1"),
        ("town", True, "true"),
        ("town", "Ulm ", "Ulm"),
        ("since", dt.date(2020, 3, 1), "2020-03-01"),
        ("since", dt.datetime(2020, 3, 1), "2020-03-01"),
        ("since", "", None),
    ],
)
def test_a_value_may_be_written_in_several_ways(table: bundle.Bundle, field: str, value: Any, same: Any) -> None:
    one, other = (table.encode([{**bundles.RECORD, field: v}]) for v in (value, same))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a string for a number": ({"age": "old"}, "age: found 'old', a string; accepted is a number, or null"),
    "a number in a string": ({"age": "31"}, "age: found '31', a string; accepted is a number"),
    "a boolean for a number": ({"age": True}, "age: found True, a boolean"),
    "a list for a number": ({"age": [1]}, "age: found a list"),
    "NaN": ({"age": math.nan}, "age: found nan, a number"),
    "infinity": ({"age": -math.inf}, "age: found -inf"),
    "a huge number": ({"age": 10**400}, "age: found a number of 1329 bits"),
    "a date that is none": ({"since": "soon"}, "since: found 'soon', a string; accepted is a date written as %Y-%m-%d"),
    "a number for a date": ({"since": 20200301}, "since: found 20200301, a number"),
    "an object for a name": ({"town": {}}, "town: found an object"),
    "an unknown field": ({"agee": 1}, ": there is no field 'agee': did you mean 'age'"),
    "half of a character in a name": ({"town": "\ud800"}, "town: found a string with half of a character"),
    "half of a character in a date": ({"since": "\ud800"}, "since: found a string with half of a character"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_record_and_field(table: bundle.Bundle, fault: str) -> None:
    change, sentence = FAULTS[fault]
    with pytest.raises(RecordError) as error:
        table.encode([bundles.RECORD, {**bundles.RECORD, **change}])
    assert str(error.value).startswith(f"records[1]{'' if sentence[0] == ':' else '.'}{sentence}")
    assert (error.value.record, error.value.field) == (1, next(iter(change)))


def test_a_missing_field_no_record_and_no_object_are_told(table: bundle.Bundle) -> None:
    for records, sentence in (
        ([{k: v for k, v in bundles.RECORD.items() if k != "town"}], r"records\[0\]\.town: it is missing"),
        ([], "no record"),
        ([3], r"records\[0\]: found 3, a number; accepted is an object with the fields age"),
    ):
        with pytest.raises(RecordError, match=sentence):
            table.encode(records)


def test_texts_are_strings_of_whole_characters_and_not_too_long(text: bundle.Bundle) -> None:
    for value, sentence, too_large in (
        (None, "found null", False),
        (3, "found 3, a number", False),
        ("\ud800", "half of a character", False),
        ("é" * 600_000, "found one of 1,200,000 bytes", True),
    ):
        with pytest.raises(RecordError, match=rf"records\[0\]\.text: .*{sentence}") as error:
            text.encode([{"text": value}])
        assert error.value.too_large is too_large
    assert text.predict(["", "good"])


def test_what_the_schema_takes_the_reader_takes_and_the_other_way_round(table: bundle.Bundle) -> None:
    validator = jsonschema.Draft202012Validator(table.schema["request"])
    jsonschema.Draft202012Validator.check_schema(table.schema["request"])
    validator.validate(bundles.RECORD)
    for fault, (change, _) in FAULTS.items():
        if (
            fault not in ("NaN", "infinity", "a huge number", "a date that is none") and "half" not in fault
        ):  # which no schema tells
            assert not validator.is_valid({**bundles.RECORD, **change}), fault


def test_a_damaged_picture_is_told_with_its_record(tmp_path: Path) -> None:
    made = bundle.load(bundles.pictures(tmp_path / "b"))
    whole = bundles.png()
    records = [{"image": base64.b64encode(content).decode()} for content in (whole, whole[:-30])]
    with pytest.raises(RecordError, match=r"^records\[1\]\.image is ") as error:
        made.encode(records)
    assert (error.value.record, error.value.field) == (1, "image")
