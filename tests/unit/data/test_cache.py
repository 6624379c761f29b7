"""Decoded pictures kept between runs."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.codec.image import ImageCodec
from torchkiln.data import cache


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    monkeypatch.setenv("TORCHKILN_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    rows = []
    for i in range(cache.CHUNK + 3):  # more than one chunk
        path = tmp_path / f"{i:03d}.png"
        Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)).save(path)
        rows.append((path.name, str(path)))
    return pl.DataFrame(rows, schema=["key", "image"], orient="row")


def test_what_is_mapped_is_what_the_codec_makes_and_is_made_once(
    pictures: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = ImageCodec("image", 8)
    wanted = np.asarray(codec.encode(pictures)["image"])
    name = cache.key("digest", codec, "train", pictures["key"])
    made = cache.mapped(codec, pictures, name)["image"]
    assert isinstance(made, np.memmap) and (made == wanted).all()
    assert (cache.encode(codec, pictures)["image"] == wanted).all()
    monkeypatch.setattr(ImageCodec, "encode", lambda *a: pytest.fail("decoded again"))
    assert (cache.mapped(codec, pictures, name)["image"] == wanted).all()


def test_another_size_other_data_or_another_order_is_another_entry(pictures: pl.DataFrame) -> None:
    keys = pictures["key"]
    names = {
        cache.key("digest", ImageCodec("image", 8), "train", keys),
        cache.key("digest", ImageCodec("image", 9), "train", keys),
        cache.key("other", ImageCodec("image", 8), "train", keys),
        cache.key("digest", ImageCodec("image", 8), "train", keys.reverse()),
    }
    assert len(names) == 4


def test_a_failure_half_way_leaves_no_entry(pictures: pl.DataFrame) -> None:
    broken = pictures.with_columns(
        image=pl.when(pl.col("key") == "066.png").then(pl.lit("gone.png")).otherwise("image")
    )
    name = "entry"
    with pytest.raises(Exception, match="gone"):
        cache.mapped(ImageCodec("image", 8), broken, name)
    assert not list(cache.folder().iterdir())


def test_the_longest_unused_goes_first(pictures: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    codec = ImageCodec("image", 8)
    cache.mapped(codec, pictures, "old")
    monkeypatch.setattr(cache, "LIMIT_BYTES", 1)
    cache.mapped(codec, pictures, "new")
    assert [p.name for p in cache.folder().iterdir()] == ["new"]
