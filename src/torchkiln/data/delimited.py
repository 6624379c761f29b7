"""Delimited text (CSV, TSV and the like) to a table of strings, or the line where it goes wrong.

Encoding, delimiter and quoting are found, never guessed past a doubt. A regular file is counted with
NumPy and read by polars, plain numbers as numbers; an irregular one (stray quotes, blank lines) goes through
Python's slower reader, which also knows the number of the line to complain about.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from torchkiln.data.source import Finding
from torchkiln.errors import DataError

_DELIMITERS = ",;\t|"
_SAMPLE = 1 << 16
"""Characters that the delimiter is found from."""
_BLOCK = 1 << 18
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
         (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_Text = tuple[list[str], pl.DataFrame]
"""Header as written, and rows under makeshift names."""
_GUESSED_FROM = 10_000
"""Rows from which the columns of numbers are guessed."""
_LONG = 1e18
"""Numbers from which on digits may be a code."""
_SPOKEN = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True)
class Record:
    """One record of the slow path and the lines it spans."""

    fields: list[str]
    first: int
    last: int


def parse(
    raw: bytes, name: str, tab: bool = False, as_words: Collection[str] | None = None
) -> tuple[pl.DataFrame, list[Finding]]:
    """The table of strings in `raw`; what is empty is null or an empty string.

    Args:
        raw: The file's bytes.
        name: The file's name, for errors.
        tab: Whether the file's suffix says that tabs part the fields.
        as_words: Columns that stay strings; None: all. Others that hold nothing but plain numbers may come as
            numbers, of the type and value that `columns.typed` gives them.

    Raises:
        DataError: Empty, undecodable, ragged, or with a header that names no columns; says where.
    """
    data, findings = _decoded(raw, name)
    if b"\n" not in data and b"\r" in data:  # line ends of old Macs
        data = data.replace(b"\r", b"\n")
    data = data.rstrip(b"\r\n")
    if not data or data.isspace():
        raise DataError(f"{name}: the file is empty; a header and rows are needed")
    sample = _sample(data)
    delimiter = _delimiter(sample, tab)
    frame = _regular(data, delimiter, as_words)
    if frame is None:
        frame = _irregular(data, delimiter, name)
    header, body = frame
    names, renamed = _names(header, name)
    if body.is_empty():
        raise DataError(f"{name}: a header and no rows; at least some rows are needed to learn from")
    body.columns = names
    return body, findings + renamed


# Encoding


def _decoded(raw: bytes, name: str) -> tuple[bytes, list[Finding]]:
    """The content as UTF-8 without a byte order mark, and a word where it was something else."""
    for bom, encoding in _BOMS:
        if raw.startswith(bom):
            if encoding == "utf-8":
                raw = raw[len(bom) :]
                break
            return _recoded(raw, encoding, name)
    if b"\0" in raw[:_SAMPLE]:
        even, odd = raw[:_SAMPLE:2].count(0), raw[1:_SAMPLE:2].count(0)
        if max(even, odd) > 10 * min(even, odd) and max(even, odd) > len(raw[:_SAMPLE]) / 8:
            return _recoded(raw, "utf-16-le" if odd > even else "utf-16-be", name)
        raise DataError(f"{name}: byte {raw.index(0)} is zero; this is no text file")
    bad = _first_bad_byte(raw)
    if bad is None:
        return raw, []
    if _looks_western(raw):
        return _recoded(raw, "cp1252", name)
    line = raw.count(b"\n", 0, bad) + 1
    raise DataError(
        f"{name}: byte {bad} (0x{raw[bad]:02x}, line {line}) is not UTF-8 and no other encoding is certain; "
        f"save the file as UTF-8, such as by `iconv -f ENCODING -t UTF-8`"
    )


def _recoded(raw: bytes, encoding: str, name: str) -> tuple[bytes, list[Finding]]:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: begins as {encoding} but byte {error.start} is not; save the file as UTF-8") from None
    spoken = {"cp1252": "Windows-1252 (latin-1)"}.get(encoding, encoding.upper())
    said = f"{name} is not UTF-8 and was read as {spoken}"
    strange = re.search(r"\w*[^\x00-\x7f]\w*", text)
    if encoding != "cp1252" or not strange:
        return text.encode(), [Finding("encoding", "note", said)]
    said += f"; please look whether {strange[0]!r} is written right"
    return text.encode(), [Finding("encoding", "warn", said)]


def _first_bad_byte(raw: bytes) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _BLOCK):
        block = raw[start : start + _BLOCK]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=start + _BLOCK >= len(raw))
        except UnicodeDecodeError as error:
            return start - pending + error.start
    return None


def _looks_western(raw: bytes) -> bool:
    """Whether reading as Windows-1252 is safe: accents alone between plain letters, no undefined bytes.

    Other 8-bit alphabets (Cyrillic, Greek) show as runs of high bytes, multi-byte encodings too.
    """
    if re.search(rb"[\x81\x8d\x8f\x90\x9d]", raw) or re.search(rb"[\x80-\xff]{4}", raw):
        return False
    high = len(re.findall(rb"[\x80-\xff]", raw))
    letters = len(re.findall(rb"[\xc0-\xff\x8a\x8c\x8e\x9a\x9c\x9e\x9f]", raw))
    signs = len(re.findall(rb"[\x80\x82-\x85\x91-\x97\xa0\xa3\xa7\xa9\xab\xae\xb0\xb2\xb5\xbb]", raw))
    beside = len(re.findall(rb"(?<=[A-Za-z])[\xc0-\xff]|[\xc0-\xff](?=[a-z])", raw))
    return high < 0.15 * len(raw) and letters + signs >= 0.98 * high and beside >= 0.9 * letters


# Delimiter and quotes


def _sample(data: bytes) -> str:
    cut = data[:_SAMPLE]
    if len(data) > _SAMPLE and b"\n" in cut:
        cut = cut[: cut.rindex(b"\n")]
    return cut.decode(errors="ignore")


def _delimiter(sample: str, tab: bool) -> str:
    """The delimiter that parts the sample's records most evenly; among equals the one that parts more."""
    header = sample.split("\n", 1)[0]
    if tab and "\t" in header:
        return "\t"
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        counts = [len(record.fields) for record in _records(sample, delimiter, quoted=True)][:1000]
        if not counts or counts[0] < 2:
            continue
        score = (round(counts.count(counts[0]) / len(counts), 2), counts[0])
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _records(text: str, delimiter: str, quoted: bool, strict: bool = False) -> Iterator[Record]:
    """Records that are not blank, with their line numbers."""
    limit = csv.field_size_limit(1 << 30)
    try:
        stream = io.StringIO(text, newline="")
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=strict)
        last = 0
        for fields in reader:
            if fields:
                yield Record(fields, last + 1, reader.line_num)
            last = reader.line_num
    finally:
        csv.field_size_limit(limit)


# The fast path


def _regular(data: bytes, delimiter: str, as_words: Collection[str] | None) -> _Text | None:
    """Header and rows as polars reads them, or None where the file needs a closer look."""
    buffer = np.frombuffer(data, np.uint8)
    quoted = b'"' in data
    shape = _quoted_shape(buffer, delimiter) if quoted else _plain_shape(data, buffer, delimiter)
    if shape is None:
        return None
    header_end, records = shape
    header = next(iter(_records(data[:header_end].decode(), delimiter, quoted=True))).fields
    if records == 1:
        return header, pl.DataFrame(schema={str(i): pl.String for i in range(len(header))})
    lines = data.count(b"\n", 0, header_end) + 1
    frame = None
    if as_words is not None and not _has_codes(buffer, delimiter):
        words = {i for i, column in enumerate(header) if column.strip() in as_words}
        frame = _with_numbers(data, lines, delimiter, len(header), words)
    if frame is None:
        frame = _polars(data, lines, delimiter, infer_schema=False)
    return (header, frame) if frame is not None and frame.shape == (records - 1, len(header)) else None


def _plain_shape(
    data: bytes, buffer: np.ndarray[tuple[int], np.dtype[np.uint8]], delimiter: str
) -> tuple[int, int] | None:
    """Where the header of text without quotes ends, and its records; None where the sum of fields is not right.

    A line that is too long is refused by polars, so with the right sum none is too short.
    """
    header_end = data.find(b"\n")
    header_end = len(data) if header_end < 0 else header_end
    ends = fields = 0
    for start in range(0, len(buffer), _BLOCK):
        block = buffer[start : start + _BLOCK]
        ends += int(np.count_nonzero(block == ord("\n")))
        fields += int(np.count_nonzero(block == ord(delimiter)))
    width = data.count(delimiter.encode(), 0, header_end)
    return (header_end, ends + 1) if fields == (ends + 1) * width else None


def _quoted_shape(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]], delimiter: str) -> tuple[int, int] | None:
    """Where the header ends, and how many records there are; None where one has more or fewer fields."""
    if not _quotes_are_clean(buffer, delimiter):
        return None
    kinds = np.zeros(256, np.uint8)
    kinds[ord(delimiter)], kinds[ord("\n")], kinds[ord('"')] = 1, 2, 3
    parity, width, records = 0, 0, 1
    open_fields = 1
    header_end = len(buffer)
    for start in range(0, len(buffer), _BLOCK):
        marks = kinds[buffer[start : start + _BLOCK]]
        places = np.flatnonzero(marks)
        marks = marks[places]
        inside = (np.cumsum(marks == 3) + parity) % 2 == 1
        parity = int(inside[-1]) if len(inside) else parity
        outside = ~inside & (marks != 3)
        marks, places = marks[outside], places[outside]
        ends = np.flatnonzero(marks == 2)
        if len(ends):
            fields = np.diff(ends, prepend=-1)
            fields[0] += open_fields - 1
            if not width:
                width, header_end = int(fields[0]), start + int(places[ends[0]])
            if (fields != width).any():
                return None
            records += len(ends)
            open_fields = len(marks) - int(ends[-1])
        else:
            open_fields += len(marks)
    if parity or (width and open_fields != width):
        return None
    return header_end, records


def _polars(data: bytes, lines: int, delimiter: str, **how: Any) -> pl.DataFrame | None:
    """The rows behind the header's lines; None where polars stumbles."""
    try:
        return pl.read_csv(data, has_header=False, skip_lines=lines, separator=delimiter, **how)
    except pl.exceptions.PolarsError:
        return None


def _with_numbers(data: bytes, lines: int, delimiter: str, width: int, words: Collection[int]) -> pl.DataFrame | None:
    """The rows with columns of numbers as such, guessed from the first rows; None where the guess does not hold."""
    first = _polars(data, lines, delimiter, n_rows=_GUESSED_FROM, infer_schema_length=_GUESSED_FROM)
    if first is None or first.width != width:
        return None
    numeric = (pl.Int64, pl.Float64)
    types = [t if t in numeric and i not in words else pl.String for i, t in enumerate(first.dtypes)]
    if pl.Int64 not in types and pl.Float64 not in types:
        return None
    frame = _polars(data, lines, delimiter, schema={str(i): t for i, t in enumerate(types)})
    if frame is None:
        return None
    largest = frame.select(pl.col(numeric).abs().max()).row(0)
    whole = frame.select(pl.col(pl.Float64).is_finite().all()).row(0) if pl.Float64 in types else ()
    return frame if all(n is None or n < _LONG for n in largest) and all(whole) else None


def _has_codes(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]], delimiter: str) -> bool:
    """Whether a field begins with 0 and a digit, as postal codes and times do, which must not become numbers."""
    for start in range(0, len(buffer), _BLOCK):
        block = buffer[max(0, start - 2) : start + _BLOCK]
        before, zero, behind = block[:-2], block[1:-1] == ord("0"), block[2:]
        begins = (before == ord(delimiter)) | (before == ord("\n")) | (before == ord('"')) | (before == ord(" "))
        if (zero & begins & (behind >= ord("0")) & (behind <= ord("9"))).any():
            return True
    return False


def _quotes_are_clean(buffer: np.ndarray[tuple[int], np.dtype[np.uint8]], delimiter: str) -> bool:
    """Whether each quote opens a field, closes one, or is doubled inside one; in tabbed text: no doubt."""
    quotes = np.flatnonzero(buffer == ord('"'))
    if len(quotes) == 0:
        return True
    if len(quotes) % 2 or delimiter == "\t":
        return False
    fine = np.zeros(256, bool)
    fine[[ord(delimiter), ord("\n"), ord('"')]] = True
    opening, closing = quotes[::2], quotes[1::2]
    before = fine[buffer[np.maximum(opening - 1, 0)]] | (opening == 0)
    fine[ord("\r")] = True
    behind = fine[buffer[np.minimum(closing + 1, len(buffer) - 1)]]
    return bool(before.all() and behind.all())


# The slow path


def _irregular(data: bytes, delimiter: str, name: str) -> _Text:
    text = data.decode()
    records = _quoted(text, delimiter, name) if delimiter != "\t" else _tabbed(text, name)
    width = len(records[0].fields)
    if any(len(r.fields) != width for r in records):
        raise DataError(_ragged(records, delimiter, name))
    schema = {str(i): pl.String for i in range(width)}
    return records[0].fields, pl.DataFrame([r.fields for r in records[1:]], schema=schema, orient="row")


def _quoted(text: str, delimiter: str, name: str) -> list[Record]:
    """Records of text in which quotes count; those inside a field that has none around it do not."""
    last = 0
    try:
        for record in _records(text, delimiter, quoted=True, strict=True):
            last = record.last
    except csv.Error as error:
        if "end of data" in str(error):
            raise DataError(
                f"{name}: a quote opened at or below line {last + 1} is never closed; close it, "
                f"or double the quotes inside a field"
            ) from None
    return list(_records(text, delimiter, quoted=True))


def _tabbed(text: str, name: str) -> list[Record]:
    """Records of tabbed text, whose quotes often are plain characters.

    They are taken as such where lines come out even without heeding quotes, and in more records than with
    them, or where the quotes do not add up.
    """
    plain = list(_records(text, "\t", quoted=False))
    even = all(len(r.fields) == len(plain[0].fields) for r in plain)
    try:
        quoted = list(_records(text, "\t", quoted=True, strict=True))
    except csv.Error:
        return plain if even else _quoted(text, "\t", name)
    return plain if even and len(plain) > len(quoted) else quoted


def _ragged(records: list[Record], delimiter: str, name: str) -> str:
    width = len(records[0].fields)
    bad = [r for r in records if len(r.fields) != width]
    first = bad[0]
    others = f" ({len(bad) - 1} more such lines)" if len(bad) > 1 else ""
    if first.last - first.first > 20:
        return (
            f"{name}: a quote opened in line {first.first} is not closed before line {first.last}; "
            f"close it, or double the quotes inside a field"
        )
    return (
        f"{name}: line {first.first} has {len(first.fields)} fields where the header has {width}{others}; "
        f"fields are parted by a {_SPOKEN[delimiter]}, and a field that holds one needs quotes around it"
    )


# The header


def _names(header: list[str], name: str) -> tuple[list[str], list[Finding]]:
    """Column names: stripped, unique, none empty."""
    names = [h.strip() for h in header]
    if all(re.fullmatch(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?|", n) for n in names) and any(names):
        shown = ", ".join(names[:4])
        raise DataError(f"{name}: the first line holds numbers only ({shown} ...); put column names above it")
    seen: dict[str, int] = {}
    for place, column in enumerate(names, 1):
        if column and column in seen:
            raise DataError(f"{name}: columns {seen[column]} and {place} are both called {column!r}; names must differ")
        seen[column] = place
    filled = [n or f"column_{i}" for i, n in enumerate(names, 1)]
    if filled == names:
        return names, []
    new = ", ".join(repr(f) for f, n in zip(filled, names, strict=True) if not n)
    return filled, [Finding("unnamed_column", "note", f"{name}: columns without a name are called {new}")]
