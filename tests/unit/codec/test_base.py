"""Ragged arrays, and codecs that come back from what they saved."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.codec import table_fit
from torchkiln.codec.base import BATCH, Axis, Codec, InputCodec, Ragged
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels, Number
from torchkiln.codec.text import NgramCodec, TokenCodec


def ragged() -> Ragged:
    return Ragged(np.array([5, 6, 7, 8, 9, 10]), np.array([0, 3, 3, 4, 6]), pad=-1)


def test_rows_are_padded_to_the_longest_of_the_batch() -> None:
    assert ragged().padded(np.array([3, 0])).tolist() == [[9, 10, -1], [5, 6, 7]]
    assert ragged().padded(np.array([2])).tolist() == [[8]]


def test_an_empty_sequence_is_one_place_of_padding() -> None:
    assert ragged().padded(np.array([1])).tolist() == [[-1]]


def test_lengths() -> None:
    assert ragged().lengths.tolist() == [3, 0, 1, 2]
    assert len(ragged()) == 4


@pytest.mark.parametrize("target", [Labels("y", ["a", "b"]), Number("y", 1.5, 2.0, -1.0, 4.0)])
def test_a_codec_comes_back_from_json(target: Labels | Number, tmp_path: Path) -> None:
    saved = json.loads(json.dumps(Codec(ImageCodec("image", 16), target).state(tmp_path)))
    again = Codec.from_state(saved, tmp_path)
    assert again.target == target
    assert again.inputs.state() == ImageCodec("image", 16).state()
    assert again.target.encode(pl.Series("y", ["a"] if isinstance(target, Labels) else [2.0])).shape == (1,)


TEXTS = ["a good film", "a bad film", "good and short", "bad and long, and long", "what a film"] * 3
ROWS = pl.DataFrame({"x": [float(i) for i in range(30)], "town": ["Ulm", "Bonn", "Kiel"] * 10, "y": [0, 1] * 15})


@pytest.mark.parametrize("kind", ["table", "image", "ngrams", "tokens"])
def test_arrays_have_the_form_that_is_said(kind: str, tmp_path: Path) -> None:
    made: InputCodec
    if kind == "table":
        made, frame = table_fit.fit(ROWS, ROWS["y"].to_numpy(), classes=True, exclude={"y"})[0], ROWS
    elif kind == "image":
        Image.new("RGB", (9, 7)).save(tmp_path / "a.png")
        made, frame = ImageCodec("image", 8), pl.DataFrame({"image": [str(tmp_path / "a.png")] * 3})
    else:
        frame = pl.DataFrame({"text": [*TEXTS, "", "a " * 40]})
        made = NgramCodec.fit(frame, "text", 6) if kind == "ngrams" else TokenCodec.fit(frame, "text", 6, 300)
    arrays, specs = made.encode(frame), made.specs()
    assert [spec.name for spec in specs] == list(arrays)
    lengths: dict[str, int] = {}
    for spec in specs:
        given = arrays[spec.name]
        array = given.padded(np.arange(len(frame))) if isinstance(given, Ragged) else given
        assert array.dtype == spec.dtype and array.ndim == len(spec.shape) and spec.shape[0] == BATCH
        for size, wanted in zip(array.shape, spec.shape, strict=True):
            if isinstance(wanted, Axis):
                assert lengths.setdefault(wanted.name, size) == size and size <= (wanted.most or size)
            else:
                assert size == wanted
        if spec.below is not None and kind != "table":  # of a table's columns it is the least
            assert array.min() >= 0 and array.max() < spec.below
