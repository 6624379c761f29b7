"""Pictures of a request: their header is looked at before anything is decoded."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from torchkiln.bundle.wrong import Wrong, shown

FORMATS = ("JPEG", "PNG", "WEBP")
"""What comes over the network; the decoders of other forms are fewer people's and older."""
_ACCEPTED = "a JPEG, PNG or WebP picture of one frame, in base64"


def reader(most: int) -> Callable[[list[Any]], pl.Series]:
    """Reads the values of a picture's field.

    Args:
        most: Pixels of a picture.
    """
    return lambda values: pl.Series([_bytes(value, i, most) for i, value in enumerate(values)], dtype=pl.Binary)


def _bytes(value: Any, record: int, most: int) -> bytes:
    if isinstance(value, Path):  # from Python alone; of any form that training reads
        try:
            return value.read_bytes()
        except OSError as error:
            raise Wrong(record, f"{value}, which cannot be read ({error.strerror})", "a file") from error
    if isinstance(value, str):
        value = _decoded(value, record)
    if not isinstance(value, bytes):
        raise Wrong(record, shown(value), _ACCEPTED)
    _check_header(value, record, most)
    return value


def _decoded(text: str, record: int) -> bytes:
    """The bytes of base64, or of a `data:` URL, as browsers write it."""
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(record, f"{shown(text)} that is no base64", _ACCEPTED) from None


def _check_header(content: bytes, record: int, most: int) -> None:
    accepted = f"{_ACCEPTED}, of at most {most / 1e6:g} million pixels"
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            pixels = image.width * image.height
            # A phone's JPEG may hold a second picture for depth; the first is the photo.
            moves = image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Wrong(record, "a larger picture", accepted, too_large=True) from None
    except Exception:  # a decoder may raise anything on what is no picture
        raise Wrong(record, f"{len(content):,} bytes that are no such picture", _ACCEPTED) from None
    if pixels > most:
        raise Wrong(record, f"one of {pixels / 1e6:g} million pixels", accepted, too_large=True)
    if moves:
        raise Wrong(record, "an animated picture", _ACCEPTED)
