"""Pictures to square uint8 arrays, with Pillow alone: upright, RGB, resized with antialias."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image, ImageOps, UnidentifiedImageError

from torchkiln.codec.base import BATCH, Array, Arrays, ArraySpec, InputCodec
from torchkiln.errors import DataError
from torchkiln.registry import did_you_mean

MAX_PIXELS = 64_000_000
"""Larger pictures are refused: a small file can unpack to more than the memory holds."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""What counts as a photo in a folder; a GIF is mostly an icon or a placeholder."""

_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, MemoryError)


class ImageCodec(InputCodec):
    """Paths or bytes of pictures to uint8 arrays [n, size, size, 3].

    Args:
        column: The column of paths or of bytes.
        size: Side of the square, in pixels.
    """

    kind: ClassVar[str] = "image"

    def __init__(self, column: str, size: int) -> None:
        self.column, self.size = column, size

    def encode(self, frame: pl.DataFrame) -> Arrays:
        """`image`: uint8 of shape [n, size, size, 3], RGB.

        Raises:
            DataError: The column is missing, or a picture cannot be read; names the file.
        """
        raws, names = self.raw(frame)
        out = np.empty((len(raws), self.size, self.size, 3), np.uint8)
        for i, (raw, name) in enumerate(zip(raws, names, strict=True)):
            out[i] = square(picture(raw, name, at_least=self.size), self.size)
        return {"image": out}

    def raw(self, frame: pl.DataFrame) -> tuple[list[str | bytes | None], list[str]]:
        """Paths or bytes of the frame's pictures, and what to call each in an error."""
        if self.column not in frame.columns:
            hint = did_you_mean(self.column, frame.columns)
            raise DataError(f"there is no column {self.column!r} to take pictures from{hint}")
        column = frame[self.column]
        if isinstance(column.dtype, pl.Struct):  # as Hugging Face writes pictures: {bytes, path}
            column = column.struct.field("bytes")
        raws = column.to_list()
        keys = frame["key"].to_list() if "key" in frame.columns else [f"row {i}" for i in range(len(raws))]
        return raws, [str(r) if isinstance(r, str) else str(k) for r, k in zip(raws, keys, strict=True)]

    def specs(self) -> list[ArraySpec]:
        return [ArraySpec("image", "uint8", (BATCH, self.size, self.size, 3), below=256)]

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "size": self.size}

    @classmethod
    def from_state(cls, state: dict[str, Any], folder: Path) -> ImageCodec:
        return cls(state["column"], state["size"])


def picture(raw: str | Path | bytes | None, name: str, at_least: int | None = None) -> Image.Image:
    """A picture, upright and in RGB; what is transparent becomes white.

    Args:
        raw: A path, or the bytes of a file.
        name: What to call it in an error.
        at_least: Shorter side that is enough; a larger JPEG is decoded at a fraction of its size.

    Raises:
        DataError: It is missing, no picture, damaged, cut short or too large.
    """
    try:
        with _opened(raw, name) as image:
            if at_least is not None:
                # Two times the size: the antialiased resize does the rest, and no detail is lost.
                scale = 2 * at_least / min(image.size)
                image.draft("RGB", (round(image.width * scale), round(image.height * scale)))
            ImageOps.exif_transpose(image, in_place=True)  # else it copies those that stand upright
            return _rgb(image)
    except _UNREADABLE as error:
        raise DataError(_why(raw, name, error)) from error


def picture_size(raw: str | Path | bytes | None, name: str) -> tuple[int, int]:
    """Width and height as stored, from the file's header alone.

    Raises:
        DataError: As for `picture`, as far as the header tells.
    """
    try:
        with _opened(raw, name) as image:
            return image.size
    except _UNREADABLE as error:
        raise DataError(_why(raw, name, error)) from error


def square(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """The middle square of an RGB picture at `size` pixels, uint8 of shape [size, size, 3]."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (size, size):
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image)


def shorter_sides(raws: Sequence[str | bytes | None], most: int = 256) -> Array:
    """Shorter sides in pixels of up to `most` pictures spread over `raws`; unreadable ones are passed by."""
    step = max(1, len(raws) // most)
    sides = []
    for i, raw in enumerate(raws[::step]):
        try:
            sides.append(min(picture_size(raw, f"row {i}")))
        except DataError:  # the data check names it; here only the usual size is asked for
            continue
    return np.array(sides, np.int64)


def _opened(raw: str | Path | bytes | None, name: str) -> Image.Image:
    if raw is None:
        raise DataError(f"{name} has no picture: the value is missing")
    try:
        image = Image.open(io.BytesIO(raw) if isinstance(raw, bytes) else raw)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name} is too large a picture: {error}") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise DataError(
            f"{name} is too large a picture: {image.width} x {image.height} pixels, "
            f"at most {MAX_PIXELS // 10**6} million are accepted"
        )
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow would cut it off at 255
        deep = np.asarray(image).astype(np.int64)
        return Image.fromarray((deep >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()  # while the file is open
    return image


def _why(raw: str | Path | bytes | None, name: str, error: BaseException) -> str:
    """One sentence for what Pillow or the system said."""
    if isinstance(error, FileNotFoundError):
        return f"{name}: there is no such file"
    if isinstance(error, OSError) and error.strerror:  # the system's word, not Pillow's
        return f"{name} cannot be read: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"{name} cannot be read: there is not memory enough to decode it"
    if isinstance(error, UnidentifiedImageError):
        size = len(raw) if isinstance(raw, bytes) else os.path.getsize(raw or "")
        what = "is empty (0 bytes)" if size == 0 else "is no picture that can be read, whatever its name says"
        return f"{name} {what}; replace or remove it"
    if "truncated" in str(error).lower():
        return f"{name} is cut short ({error}); replace or remove it"
    return f"{name} is damaged ({error or type(error).__name__}); replace or remove it"
