"""Bodies on our own route to raw records: JSON, JSON lines, CSV, one picture, one text, or several as multipart."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import re
from collections.abc import Callable
from typing import Any

from PIL import Image

from torchkiln.codec.table import NumberField, TableCodec
from torchkiln.serving.body import parse
from torchkiln.serving.limits import Limits
from torchkiln.serving.refusal import Refusal
from torchkiln.serving.served import Served

Record = dict[str, Any]
FORMATS = ("JPEG", "PNG", "WEBP")
_BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,70})"|([0-9A-Za-z'()+_,./:=?-]{1,70}))""")
_MOST_HEAD = 4096


def read(body: bytes, content_type: bytes, served: Served, limits: Limits) -> list[Record]:
    """Records, at least one and at most `limits.rows`.

    Raises:
        Refusal: 400 where the body is not what its type says, 413 where it holds too much, 415 for another type,
            422 where a picture cannot be decoded.
    """
    kind, _, parameters = content_type.decode("latin-1").partition(";")
    reader = _READERS.get(kind.strip().lower())
    if reader is None and served.pictures and kind.strip().lower().startswith("image/"):
        reader = _one_picture
    if reader is None:
        raise Refusal(415, f"{kind.strip()[:80]!r} is not read here; send application/json{_others(served)}")
    if not body:
        raise Refusal(400, "the body is empty")
    records = reader(body, parameters, served, limits)
    if not records:
        raise Refusal(422, "there is no record to predict for")
    if len(records) > limits.rows:
        raise Refusal(413, f"{len(records):,} records are sent and one request takes {limits.rows:,}")
    if served.column is not None:
        check = _picture if served.pictures else _text
        for i, record in enumerate(records):
            check(record, served.column, f"records[{i}].{served.column}", limits)
    return records


def _json(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    value = parse(body, limits)
    if type(value) is dict:
        return [value]
    if type(value) is not list or not all(type(one) is dict for one in value):
        raise Refusal(422, "a record, which is a JSON object, or a list of records is expected")
    return value


def _lines(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > limits.rows:
        raise Refusal(413, f"{len(lines):,} records are sent and one request takes {limits.rows:,}")
    records = [parse(line, limits) for line in lines]
    if not all(type(one) is dict for one in records):
        raise Refusal(422, "each line is expected to be a record, which is a JSON object")
    return records


def _csv(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    codec = served.bundle.codec.inputs if served.bundle.codec else None
    if not isinstance(codec, TableCodec):
        raise Refusal(415, f"text/csv is for tables; send application/json{_others(served)}")
    try:
        rows = list(csv.reader(io.StringIO(_decoded(body)), strict=True))
    except csv.Error as error:
        raise Refusal(400, f"the body is no valid CSV ({error})") from None
    names = rows[0] if rows else []
    numbers = {f.column for f in codec.fields if isinstance(f, NumberField)}
    records = []
    for number, row in enumerate([r for r in rows[1:] if r], 1):
        if len(row) != len(names):
            raise Refusal(400, f"line {number} of the CSV has {len(row)} values and its head {len(names)}")
        records.append({n: _number(v) if n in numbers else v or None for n, v in zip(names, row, strict=True)})
    if len(set(names)) < len(names):
        raise Refusal(400, "the CSV's head has one name twice")
    return records


def _number(text: str) -> float | str | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return text  # refused where the record is read, by name


def _one_picture(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    if not served.pictures:
        raise Refusal(415, f"this model takes no pictures; send application/json{_others(served)}")
    return [{str(served.column): body}]


def _one_text(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    if served.pictures or served.column is None:
        raise Refusal(415, f"this model takes no text; send application/json{_others(served)}")
    return [{served.column: _decoded(body)}]


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refusal(400, "the body is no valid UTF-8") from None


def _multipart(body: bytes, parameters: str, served: Served, limits: Limits) -> list[Record]:
    if not served.pictures:
        raise Refusal(415, f"multipart bodies are for pictures; send application/json{_others(served)}")
    match = _BOUNDARY.search(parameters)
    if match is None:
        raise Refusal(400, "the multipart body has no boundary of 1 to 70 characters")
    mark = b"--" + (match[1] or match[2]).encode()
    if body.count(mark) > limits.parts + 1:
        raise Refusal(413, f"the multipart body has more than {limits.parts:,} parts")
    before, *parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if before.strip() or not parts or not parts[-1].startswith(b"--"):
        raise Refusal(400, "the multipart body is cut short or has no part")
    records = []
    for part in parts[:-1]:
        head, gap, content = part.partition(b"\r\n\r\n")
        if not gap or len(head) > _MOST_HEAD or b"form-data" not in head.lower():
            raise Refusal(400, "a part of the multipart body has no head of form-data")
        records.append({str(served.column): content})
    return records


def _picture(record: Record, column: str, where: str, limits: Limits) -> None:
    """Check a picture before it is decoded: its format, its size, that it does not move; text is base64."""
    value = record.get(column)
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(422, f"{where}: a picture in base64 is expected") from None
    if not isinstance(value, bytes):
        raise Refusal(422, f"{where}: a picture in base64 is expected")
    record[column] = value
    try:
        with Image.open(io.BytesIO(value), formats=FORMATS) as image:
            pixels, frames = image.width * image.height, getattr(image, "n_frames", 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Refusal(413, f"{where}: the picture has over {limits.megapixels:g} megapixels") from None
    except Exception:  # Pillow raises of all kinds at what it cannot read
        raise Refusal(422, f"{where}: this is no JPEG, PNG or WebP that can be read") from None
    if pixels > limits.megapixels * 1e6:
        raise Refusal(413, f"{where}: the picture has {pixels / 1e6:.0f} megapixels, {limits.megapixels:g} are taken")
    if frames > 1:
        raise Refusal(422, f"{where}: the picture moves ({frames} frames); a still one is expected")


def _text(record: Record, column: str, where: str, limits: Limits) -> None:
    value = record.get(column)
    if isinstance(value, str) and len(value) > limits.text_kb * 250 and len(value.encode()) > limits.text_kb * 1000:
        raise Refusal(413, f"{where}: the text has over {limits.text_kb:,} kB")


def _others(served: Served) -> str:
    if served.pictures:
        return ", image/jpeg, image/png, image/webp or multipart/form-data"
    if served.column is not None:
        return ", application/x-ndjson or text/plain"
    table = served.bundle.codec is not None
    return ", application/x-ndjson or text/csv" if table else " or application/x-ndjson"


_READERS: dict[str, Callable[[bytes, str, Served, Limits], list[Record]]] = {
    "": _json,
    "application/json": _json,
    "application/x-ndjson": _lines,
    "application/jsonl": _lines,
    "text/csv": _csv,
    "multipart/form-data": _multipart,
    "application/octet-stream": _one_picture,
    "text/plain": _one_text,
}
