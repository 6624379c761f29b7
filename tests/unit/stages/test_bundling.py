"""What a bundle holds beside the model's files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from torchkiln import Run
from torchkiln.errors import RecordError
from torchkiln.stages import bundling, subject

Fit = Callable[..., Run]


@pytest.fixture
def made(fit: Fit) -> subject.Subject:
    return subject.of_run(fit().directory)


def test_the_recipe_names_nothing_of_the_machine(made: subject.Subject, tmp_path: Path) -> None:
    bundling.write_source(made, tmp_path)
    text = (tmp_path / "recipe.yaml").read_text()
    assert str(made.run.path.parent) not in text and "pretrained: false" in text
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) >= ["codec.json", "recipe.yaml"]


def test_a_folder_of_hugging_face_becomes_its_kind(made: subject.Subject) -> None:
    class Inputs:
        model = {"model_type": "bert"}  # noqa: RUF012

    class Codec:
        inputs = Inputs()

    recipe = made.recipe.model_copy(update={"model": made.recipe.model.model_copy(update={"name": "hf:/nets/my-bert"})})
    other = replace(made, recipe=recipe, codec=Codec())  # type: ignore[arg-type]
    assert bundling.without_places(other).model.name == "hf:bert"


def test_proof_rows_are_made_up_or_the_persons(made: subject.Subject, tmp_path: Path) -> None:
    val = made.rows("val")

    def served(records: list[dict[str, object]]) -> object:
        if any(record["x"] == "huh" for record in records):
            raise RecordError("no", record=0)
        return made.encode(val[: len(records)])

    for include in (True, False):
        folder = tmp_path / str(include)
        folder.mkdir()
        bundling.write_proof(made, folder, served, include_rows=include)
        lines = [json.loads(line) for line in (folder / "proof" / "records.jsonl").read_text().splitlines()]
        answers = np.load(folder / "proof" / "reference.npy", allow_pickle=False)
        assert set(lines[0]) == {"x", "z"}
        assert (lines[0]["x"] in val["x"].to_list()) is include
        assert answers.dtype == np.float32 and answers.shape[1] == 2


def test_pictures_are_packed_in_base64(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"picture")
    found = bundling._as_json({"image": tmp_path / "a.png", "n": None, "x": 1.5})
    assert found == {"image": base64.b64encode(b"picture").decode(), "n": None, "x": 1.5}


def test_the_run_is_told_from_all_others(made: subject.Subject) -> None:
    first = bundling.run_id(made)
    assert len(first) == 16 and bundling.run_id(made) == first
    recipe = made.run.path / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "\n")
    assert bundling.run_id(made) != first


def test_padding_is_told_where_a_codec_pads(made: subject.Subject) -> None:
    parts = bundling.manifest(made, [], {})
    assert parts["inputs"] == [{"name": "numeric", "dtype": "float32", "shape": [None, 2]}]
    assert parts["serve"] is None and parts["versions"]["torchkiln"]
    assert "Apache-2.0" in parts["licences"]["torchkiln"]
    assert bundling.manifest(made, [], {}, {"data": "CC0"})["licences"] == {**parts["licences"], "data": "CC0"}
