"""Raw records at the edges of what a codec takes: missing, extreme and unheard-of values, odd pictures and texts.

They are made from the fitted codec alone, so that none of the person's rows is among them.
"""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
from PIL import Image

from torchkiln import randomness
from torchkiln.codec.base import InputCodec
from torchkiln.codec.image import ImageCodec
from torchkiln.codec.table import CategoryField, DateField, Field, NumberField, TableCodec
from torchkiln.codec.text import NgramCodec, TokenCodec

Record = dict[str, Any]
UNHEARD = "\u2603 never seen \u00e9\u0301"
_DAYS = ((2001, 6, 15, 12), (1, 1, 1, 0), (1969, 12, 31, 23), (2000, 2, 29, 0), (9999, 12, 31, 23))
_MODES = ("L", "LA", "RGB", "RGBA", "P", "1", "I;16", "CMYK")


def records(codec: InputCodec) -> list[Record]:
    """Edge cases for a codec of ours; none for another.

    Pictures are bytes of files, dates are datetimes, and what is missing is None.
    """
    if isinstance(codec, TableCodec):
        return _rows(codec)
    if isinstance(codec, ImageCodec):
        return [{codec.column: one} for one in _pictures(codec.size)]
    if isinstance(codec, NgramCodec):
        words = [name for name in codec.words if " " not in name][:200]
        return [{codec.column: one} for one in _texts(words, codec.max_words)]
    if isinstance(codec, TokenCodec):
        return [{codec.column: one} for one in _texts(["of", "the", "house", "x"], codec.max_tokens)]
    return []


def _rows(codec: TableCodec) -> list[Record]:
    """A usual row, one without any value, and the usual one with each field at each of its edges."""
    usual = {one.column: _edges(one)[0] for one in codec.fields}
    found = [usual, dict.fromkeys(usual)]
    found += [{**usual, one.column: value} for one in codec.fields for value in _edges(one)[1:]]
    return found


def _edges(one: Field) -> list[Any]:
    """Values of one field, a usual one first."""
    if isinstance(one, NumberField):
        low, high = _range(one)
        return [one.scaling.fill, low, high, 0.0, -0.0, -1e30, 1e30, 5e-324, None]
    if isinstance(one, CategoryField):
        return [one.names[0] if one.names else None, *one.names[-1:], UNHEARD, "", None]
    if isinstance(one, DateField):
        return [*(datetime.datetime(*day) for day in _DAYS), None]
    return ["x", None]


def _range(one: NumberField) -> tuple[float, float]:
    """About the least and the largest number of training, in the column's own unit."""
    scaling, ends = one.scaling, []
    for edge in (scaling.edges[0], scaling.edges[-1]):
        value = edge * scaling.scale + scaling.mean
        ends.append(float(np.sign(value) * np.expm1(min(abs(value), 300.0))) if scaling.log else float(value))
    return ends[0], ends[1]


def _pictures(size: int) -> list[bytes]:
    """All modes that files come in, sides of one pixel, odd and long ones, upright by their tag alone."""
    noise = randomness.generator(0, "extreme pictures", size)

    def made(mode: str, width: int, height: int) -> Image.Image:
        levels = noise.integers(0, 256, (height, width, 4), dtype=np.uint8)
        if mode == "I;16":
            return Image.fromarray(levels[:, :, 0].astype(np.uint16) * 257)
        return Image.fromarray(levels, "RGBA").convert(mode)

    found = [_file(made(mode, size, size), "JPEG" if mode == "CMYK" else "PNG") for mode in _MODES]
    shapes = ((1, 1), (size + 1, size - 1), (3 * size + 1, 5), (5, 3 * size + 1), (2 * size, 2 * size))
    found += [_file(made("RGB", max(1, w), max(1, h)), "PNG") for w, h in shapes]
    found += [_file(Image.new("RGB", (size, size), colour), "PNG") for colour in ("black", "white")]
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: a quarter turn
    return [*found, _file(made("RGB", 2 * size, size), "JPEG", exif=turned)]


def _file(image: Image.Image, kind: str, **more: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def _texts(words: list[str], most: int) -> list[str | None]:
    """Nothing, one sign, odd lengths, the longest that is read and longer ones, and signs of all kinds."""
    lengths = sorted({1, 2, 3, 7, 31, most - 1, most, most + 1, 2 * most + 1} - {0})
    running = [" ".join(words[i % len(words)] for i in range(n)) for n in lengths if 0 < n <= 20_000] if words else []
    odd = [
        "",
        " ",
        "\n\t",
        ".",
        "a",
        "\u00e9",
        "e\u0301",
        "\U0001f600" * 5,
        "[PAD] [CLS]",
        "\u0000",
        "a" * 500,
        UNHEARD,
    ]
    return [*odd, None, *running]
