"""Made-up records are of the schema, differ among themselves, and are the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundles
import jsonschema
import pytest

from torchkiln import bundle
from torchkiln.bundle import examples
from torchkiln.codec.base import BATCH, ArraySpec, Axis

SPECS = [ArraySpec("x", "float32", (BATCH, Axis("length", 9), 3))]
MAKERS: dict[str, Any] = {
    "table": bundles.table,
    "ngrams": bundles.text,
    "tokens": lambda folder: bundles.text(folder, kind="tokens"),
    "pictures": bundles.pictures,
    "tensors": bundles.tensors,
}


@pytest.mark.parametrize("name", MAKERS)
def test_examples_fit_and_are_answered(name: str, tmp_path: Path) -> None:
    made = bundle.load(MAKERS[name](tmp_path / "b"))
    codec = made.codec.inputs if made.codec else None
    found = examples.records(codec, SPECS)
    assert found == examples.records(codec, SPECS) and len(found) >= 16
    assert len({json.dumps(r) for r in found}) >= 12
    validator = jsonschema.Draft202012Validator(made.schema["request"])
    for record in json.loads(json.dumps(found)):
        validator.validate(record)
    lines = examples.golden(found, made.predict(found)).decode().splitlines()
    for line in lines:
        one = json.loads(line)
        assert made.predict(one["record"])[0].keys() == one["answer"].keys()


def test_tensors_that_share_an_axis_share_its_length() -> None:
    length = Axis("length", 5)
    specs = [ArraySpec("ids", "int64", (BATCH, length), below=7), ArraySpec("mask", "bool", (BATCH, length))]
    for record in examples.records(None, specs):
        assert 1 <= len(record["ids"]) == len(record["mask"]) <= 5
        assert set(record["ids"]) <= set(range(7)) and set(record["mask"]) <= {True, False}
