"""Ragged arrays, and codecs that come back from what they saved."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchkiln.codec.base import Codec, Ragged
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.target import Labels, Number


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
