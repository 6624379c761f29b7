"""Pictures of a request are refused by their header, before they are decoded."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import bundles
import numpy as np
import pytest
from PIL import Image

from torchkiln.bundle import pictures
from torchkiln.bundle.wrong import Wrong

READ = pictures.reader(10_000)


def saved(kind: str, side: int = 10, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.arange(side * side * 3, dtype=np.uint32).astype(np.uint8).reshape(side, side, 3)).save(
        out, kind, **options
    )
    return out.getvalue()


def moving(kind: str) -> bytes:
    return saved(kind, save_all=True, append_images=[Image.new("RGB", (10, 10), "red")])


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_the_forms_of_the_web_are_read(kind: str) -> None:
    content = saved(kind)
    text = base64.b64encode(content).decode()
    assert READ([content, text, f"data:image/x;base64,{text}"]).to_list() == [content] * 3


def test_a_photo_with_a_second_picture_inside_is_a_photo() -> None:
    assert READ([moving("MPO")]).to_list() == [moving("MPO")]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "null"),
        (3, "3, a number"),
        ("/etc/hostname", "no base64"),
        ("%%%", "no base64"),
        ("", "0 bytes that are no such picture"),
        (b"GIF89a", "no such picture"),
        (saved("BMP"), "no such picture"),
        (saved("TIFF"), "no such picture"),
        (moving("PNG"), "an animated picture"),
        (moving("WEBP"), "an animated picture"),
        (saved("PNG")[:20], "no such picture"),
    ],
)
def test_what_is_no_picture_of_the_web_is_refused(value: object, sentence: str) -> None:
    with pytest.raises(Wrong) as error:
        READ([bundles.png(), value])
    assert error.value.record == 1 and sentence in error.value.found and not error.value.too_large


def test_too_many_pixels_are_refused_whatever_the_file_weighs() -> None:
    for side in (101, 20_000):  # the second is beyond Pillow's own limit too
        header = bytearray(bundles.png())
        header[16:24] = side.to_bytes(4, "big") * 2
        import zlib

        header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
        with pytest.raises(Wrong) as error:
            READ([bytes(header)])
        assert error.value.too_large


def test_a_path_is_a_file_of_any_form(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(saved("BMP"))
    assert READ([tmp_path / "a.bmp"]).to_list() == [saved("BMP")]
    with pytest.raises(Wrong, match="No such file"):
        READ([tmp_path / "b.bmp"])
