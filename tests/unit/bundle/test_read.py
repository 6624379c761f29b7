"""A bundle answers raw records, and only when it is what was written."""

from __future__ import annotations

from pathlib import Path

import bundles
import pytest

from torchkiln import bundle
from torchkiln.errors import BundleError


def test_a_table_answers(tmp_path: Path) -> None:
    made = bundle.load(bundles.table(tmp_path / "b"))
    answers = made.predict([bundles.RECORD, {**bundles.RECORD, "age": None}])
    assert len(answers) == 2
    assert answers[0]["prediction"] in bundles.CLASSES
    assert sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    assert answers[0]["confidence"] == max(answers[0]["probabilities"].values())


def test_a_number_answers(tmp_path: Path) -> None:
    made = bundle.load(bundles.table(tmp_path / "b", target="number"))
    assert isinstance(made.predict(bundles.RECORD)[0]["prediction"], float)


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_texts_answer(kind: str, tmp_path: Path) -> None:
    made = bundle.load(bundles.text(tmp_path / "b", kind=kind))
    alone = [made.predict(text)[0] for text in ("a good film", "bad")]
    together = made.predict(["a good film", "bad"])
    for one, other in zip(alone, together, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_pictures_answer(tmp_path: Path) -> None:
    made = bundle.load(bundles.pictures(tmp_path / "b"))
    (tmp_path / "red.png").write_bytes(bundles.png((255, 0, 0)))
    (tmp_path / "blue.png").write_bytes(bundles.png((0, 0, 255)))
    answers = made.predict([tmp_path / "red.png", str(tmp_path / "blue.png")])
    assert [a["prediction"] for a in answers] == ["no", "yes"]


def test_a_net_of_the_persons_own_answers(tmp_path: Path) -> None:
    made = bundle.load(bundles.tensors(tmp_path / "b"))
    assert made.predict({"x": [[1, 2, 3], [1, 1, 1]]}) == [{"output": [2, 3, 4]}]


def test_what_was_changed_is_refused(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b")
    codec = (path / "codec.json").read_bytes()
    (path / "codec.json").write_bytes(codec.replace(b"Ulm", b"Olm"))
    with pytest.raises(BundleError, match=r"codec\.json was changed"):
        bundle.load(path)


def test_what_is_unproven_answers_only_where_that_is_allowed(tmp_path: Path) -> None:
    models = {"onnx": {"file": "model.onnx", "proven": False, "inputs": {}, "outputs": {}}}
    path = bundles.table(tmp_path / "b", parts={"models": models})
    with pytest.raises(BundleError, match=r"model\.onnx is unproven"):
        bundle.load(path)
    assert bundle.load(path, allow_unproven=True).predict(bundles.RECORD)


def test_a_form_that_is_not_there_or_needs_torch_is_told(tmp_path: Path) -> None:
    path = bundles.table(tmp_path / "b", parts={"serve": None})
    for form in (None, "int8", "pt2"):
        with pytest.raises(BundleError, match="that runs without torch; it has onnx"):
            bundle.load(path, model=form)
    assert bundle.load(path, model="onnx").predict(bundles.RECORD)
