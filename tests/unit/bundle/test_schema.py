"""The schema is one, and answers are of the form that it says."""

from __future__ import annotations

from pathlib import Path

import bundles
import jsonschema
import pytest

from torchkiln import bundle

MAKERS = {
    "table": (bundles.table, bundles.RECORD),
    "number": (lambda folder: bundles.table(folder, target="number"), bundles.RECORD),
    "ngrams": (bundles.text, {"text": "a good film"}),
    "tokens": (lambda folder: bundles.text(folder, kind="tokens"), {"text": ""}),
    "pictures": (bundles.pictures, {"image": bundles.png()}),
    "tensors": (bundles.tensors, {"x": [[1, 2, 3]]}),
}


@pytest.mark.parametrize("name", MAKERS)
def test_answers_fit_the_schema(name: str, tmp_path: Path) -> None:
    make, record = MAKERS[name]
    made = bundle.load(make(tmp_path / "b"))
    for part in ("request", "response"):
        jsonschema.Draft202012Validator.check_schema(made.schema[part])
    answer = made.predict(record)[0]
    validator = jsonschema.Draft202012Validator(made.schema["response"])
    validator.validate(answer)
    assert not validator.is_valid({**answer, "more": 1})
    assert set(made.schema["request"]["properties"]) == set(record)
    assert made.schema["classes"] == (bundles.CLASSES if "confidence" in answer else [])


def test_limits_are_those_of_the_kind(tmp_path: Path) -> None:
    limits = {name: set(bundle.load(make(tmp_path / name)).schema["limits"]) for name, (make, _) in MAKERS.items()}
    assert limits["pictures"] == {"rows", "pixels"} and limits["ngrams"] == {"rows", "text_bytes"}
    assert limits["table"] == limits["tensors"] == {"rows"}
