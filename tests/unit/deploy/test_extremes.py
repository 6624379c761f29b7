"""Records at the edges: made from the codec, taken by training and by the bundle alike."""

import io
from pathlib import Path

import bundles
import polars as pl
import pytest
from PIL import Image

from torchkiln import bundle
from torchkiln.codec import table_fit
from torchkiln.codec.base import InputCodec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.table import TableCodec
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.deploy import extremes, raw


def table() -> TableCodec:
    frame = pl.DataFrame(
        {
            "age": [float(i % 50) if i % 9 else None for i in range(100)],
            "income": [10.0 ** (i % 7) for i in range(100)],
            "town": [["Ulm", "Bonn", None][i % 3] for i in range(100)],
            "since": [f"20{i % 20:02}-{1 + i % 12:02}-03" for i in range(100)],
        }
    )
    import numpy as np

    codec, _ = table_fit.fit(frame, np.arange(100) % 2, classes=True, exclude=[])
    return codec


def test_every_field_of_a_table_is_missing_extreme_and_unheard_of() -> None:
    found = extremes.records(table())
    for column in ("age", "income", "town", "since"):
        values = [one[column] for one in found]
        assert None in values
        assert len(set(map(str, values))) >= 5
    assert {-1e30, 1e30} <= {one["age"] for one in found}
    assert extremes.UNHEARD in {one["town"] for one in found}
    assert dict.fromkeys(found[0]) in found  # nothing is known
    kept = [one["income"] for one in found if one["income"] not in (None, 0.0, -1e30, 1e30, 5e-324)]
    assert max(kept) == pytest.approx(1e6, rel=0.3)  # the far end of training, in the column's own unit


def test_pictures_of_all_modes_and_shapes() -> None:
    found = [Image.open(io.BytesIO(one["image"])) for one in extremes.records(ImageCodec("image", 16))]
    assert {"L", "LA", "RGB", "RGBA", "P", "1", "I;16", "CMYK"} <= {one.mode for one in found}
    assert {(1, 1), (17, 15), (49, 5), (5, 49)} <= {one.size for one in found}
    assert any(one.getexif().get(0x0112) == 6 for one in found)


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_texts_of_no_length_and_too_much(kind: str) -> None:
    frame = pl.DataFrame({"text": bundles.TEXTS})
    codec: NgramCodec | TokenCodec
    codec = NgramCodec.fit(frame, "text", 9) if kind == "ngrams" else TokenCodec.fit(frame, "text", 9, 300)
    texts = [one["text"] for one in extremes.records(codec)]
    assert {"", " ", None} <= set(texts)
    lengths = {len(t.split()) for t in texts if t}
    assert {1, 3, 7, 8, 9, 10, 19} <= lengths


def test_another_codec_has_none() -> None:
    class Other(InputCodec):
        kind = "other"

    Other.__abstractmethods__ = frozenset()
    assert extremes.records(Other()) == []  # type: ignore[abstract]


@pytest.mark.parametrize("make", [bundles.table, bundles.text, bundles.pictures], ids=lambda f: f.__name__)
def test_a_bundle_takes_them_all(make: object, tmp_path: Path) -> None:
    found = bundle.load(make(tmp_path / "b"))  # type: ignore[operator]
    assert found.codec is not None
    frame = pl.DataFrame(extremes.records(found.codec.inputs), infer_schema_length=None)
    answers = found.predict(raw.records(frame, found.codec.inputs))
    assert len(answers) == len(frame) > 15
