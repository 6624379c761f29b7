"""Pictures of every sort become upright RGB squares; what is none is refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.codec import image as codec_image
from torchkiln.codec.base import Codec
from torchkiln.codec.image import ImageCodec, picture, picture_size, shorter_sides, square
from torchkiln.codec.target import Labels
from torchkiln.errors import DataError


def noise(width: int = 40, height: int = 30) -> Image.Image:
    """A smooth colour picture: JPEG keeps it within a few grey levels."""
    rows = np.linspace(0, 255, height)[:, None, None]
    columns = np.linspace(0, 255, width)[None, :, None]
    both = np.concatenate([rows + 0 * columns, columns + 0 * rows, 0 * rows + 0 * columns + 90], axis=2)
    return Image.fromarray(both.astype(np.uint8))


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def frame(*raws: bytes | str | None) -> pl.DataFrame:
    return pl.DataFrame({"key": [f"p{i}" for i in range(len(raws))], "image": list(raws)})


def test_sizes_and_forms_meet_in_one_square() -> None:
    raws = [encoded(noise()), encoded(noise(300, 200), "JPEG"), encoded(noise(9, 9), "BMP")]
    out = ImageCodec("image", 16).encode(frame(*raws))["image"]
    assert out.shape == (3, 16, 16, 3)
    assert out.dtype == np.uint8
    alone = [ImageCodec("image", 16).encode(frame(r))["image"][0] for r in raws]
    assert np.array_equal(out, np.stack(alone))


def test_a_picture_of_the_right_size_is_untouched() -> None:
    image = noise(16, 16)
    assert np.array_equal(ImageCodec("image", 16).encode(frame(encoded(image)))["image"][0], np.asarray(image))


def test_the_middle_is_kept() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (square(Image.fromarray(wide), 10) == 200).all()


def test_shrinking_averages_instead_of_dropping_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 254
    small = square(Image.fromarray(stripes), 16)
    assert abs(int(small[8, 8, 0]) - 127) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_rotation_is_applied(orientation: int) -> None:
    upright = Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((16, 16), np.uint8)))
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}.get(orientation, [])
    stored = upright
    for operation in undo:
        stored = stored.transpose(Image.Transpose(operation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = ImageCodec("image", 32).encode(frame(encoded(stored, "JPEG", exif=exif, quality=95)))["image"][0]
    corners = [int(out[y, x, 0]) for y, x in [(4, 4), (4, 28), (28, 4), (28, 28)]]
    assert np.abs(np.array(corners) - [0, 80, 160, 240]).max() < 6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb_of_the_same_brightness(mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 200 * 256, np.uint16))
    else:
        image = Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode)
    if mode == "1":
        image = Image.new("1", (8, 8), 1)
    raw = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    out = np.asarray(picture(raw, "p"))
    assert out.shape == (8, 8, 3)
    assert abs(int(out[0, 0, 0]) - (255 if mode == "1" else 200)) <= 5


def test_transparent_parts_are_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (np.asarray(picture(encoded(clear), "p")) == 255).all()
    palette = Image.new("P", (4, 4), 0)
    assert (np.asarray(picture(encoded(palette, "PNG", transparency=0), "p")) == 255).all()


def test_large_jpegs_are_decoded_at_a_fraction_but_look_the_same() -> None:
    raw = encoded(noise(1200, 900), "JPEG", quality=95)
    assert min(picture(raw, "p", at_least=32).size) < 900
    quick, whole = square(picture(raw, "p", at_least=32), 32), square(picture(raw, "p"), 32)
    assert np.abs(quick.astype(int) - whole).max() <= 3


def test_paths_are_read_and_headers_give_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    noise(21, 13).save(path)
    assert ImageCodec("image", 8).encode(frame(str(path)))["image"].shape == (1, 8, 8, 3)
    assert picture_size(str(path), "p") == (21, 13)
    (tmp_path / "bad.png").write_text("no")
    assert shorter_sides([str(path), str(tmp_path / "bad.png"), encoded(noise())]).tolist() == [13, 30]


def test_pictures_as_hugging_face_keeps_them() -> None:
    rows = pl.DataFrame({"key": ["a"], "image": [{"bytes": encoded(noise(8, 8)), "path": None}]})
    assert ImageCodec("image", 8).encode(rows)["image"].shape == (1, 8, 8, 3)


def bad_pictures(folder: Path) -> dict[str, tuple[str | bytes | None, str]]:
    """What can be wrong: the value, and words of its sentence."""
    whole = encoded(noise(64, 64), "JPEG", quality=95)
    (folder / "text.jpg").write_text("this is no picture")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").touch()
    png = bytearray(encoded(noise(64, 64)))
    png[60:80] = bytes(20)
    (folder / "damaged.png").write_bytes(png)
    (folder / "folder.jpg").mkdir()
    return {
        "text": (str(folder / "text.jpg"), "no picture"),
        "cut": (str(folder / "cut.jpg"), "cut short"),
        "cut_bytes": (whole[:400], "cut short"),
        "empty": (str(folder / "empty.jpg"), "is empty"),
        "damaged": (str(folder / "damaged.png"), "damaged"),
        "missing": (str(folder / "none.jpg"), "no such file"),
        "folder": (str(folder / "folder.jpg"), "cannot be read"),
        "null": (None, "missing"),
    }


CASES = ["text", "cut", "cut_bytes", "empty", "damaged", "missing", "folder", "null"]


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_picture_is_named(case: str, tmp_path: Path) -> None:
    raw, words = bad_pictures(tmp_path)[case]
    with pytest.raises(DataError) as caught:
        ImageCodec("image", 8).encode(frame(encoded(noise()), raw) if isinstance(raw, bytes | None) else frame(raw))
    assert words in str(caught.value)
    assert (raw if isinstance(raw, str) else "p1") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_picture_too_large_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec_image, "MAX_PIXELS", 1_000_000)
    with pytest.raises(DataError, match="too large a picture: 2000 x 600 pixels, at most 1 million"):
        picture(encoded(Image.new("1", (2000, 600))), "p")
    bomb = encoded(Image.new("1", (20_000, 10_000)))  # more than Pillow itself warns of
    with pytest.raises(DataError, match="too large a picture"):
        picture(bomb, "p")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match=r"no column 'imag'.*did you mean 'image'"):
        ImageCodec("imag", 8).encode(frame(encoded(noise())))


def test_the_state_makes_the_same_codec(tmp_path: Path) -> None:
    codec = Codec(ImageCodec("image", 24), Labels("label", ["a", "b"]))
    again = Codec.from_state(codec.state(tmp_path), tmp_path)
    rows = frame(encoded(noise()))
    assert np.array_equal(again.inputs.encode(rows)["image"], codec.inputs.encode(rows)["image"])
