from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchkiln.data.columns import typed
from torchkiln.data.delimited import parse
from torchkiln.errors import DataError

DATA = os.environ.get("TORCHKILN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TORCHKILN_DATA names no folder of data sets")

READ = {
    "plain": (b"a,b\n1,2\n3,4\n", [("1", "2"), ("3", "4")]),
    "no last line end": (b"a,b\n1,2", [("1", "2")]),
    "CRLF": (b"a,b\r\n1,x\r\n3,\r\n", [("1", "x"), ("3", None)]),
    "old Mac line ends": (b"a,b\r1,2\r", [("1", "2")]),
    "blank lines": (b"a,b\n1,2\n\n3,4\n\n\n", [("1", "2"), ("3", "4")]),
    "a line break in quotes": (b'a,b\n"x\r\ny",2\n', [("x\r\ny", "2")]),
    "a delimiter in quotes": (b'a,b\n"x,y",2\n', [("x,y", "2")]),
    "doubled quotes": (b'a,b\n"he said ""hi""",2\n', [('he said "hi"', "2")]),
    "stray quotes": (b'a,b\n5" pipe,1\n6" pipe,2\n', [('5" pipe', "1"), ('6" pipe', "2")]),
    "semicolons": (b"a;b\n1,5;2\n", [("1,5", "2")]),
    "tabs": (b"a\tb\nx, y\t1\n", [("x, y", "1")]),
    "bars": (b"a|b\nx|1\n", [("x", "1")]),
    "a byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", [("1", "2")]),
    "one column": (b"a\nx\ny\n", [("x",), ("y",)]),
    "unquoted tabs with quotes": (
        b'a\tb\n"hello" he said\t1\nx "y\t0\n',
        [('"hello" he said', "1"), ('x "y', "0")],
    ),
    "unquoted tabs, quotes that pair up over lines": (
        b'a\tb\n"oh\t1\nno"\t0\n',
        [('"oh', "1"), ('no"', "0")],
    ),
    "quoted tabs": (b'a\tb\n"x\nz"\t1\n"v\tw"\t0\n', [("x\nz", "1"), ("v\tw", "0")]),
}


@pytest.mark.parametrize("name", READ)
def test_reads(name: str) -> None:
    raw, rows = READ[name]
    frame, findings = parse(raw, "f.csv")
    assert frame.columns == ["a", "b"][: frame.width]
    assert frame.rows() == rows
    assert findings == []


REFUSED = {
    "empty": (b"", ("f.csv", "empty")),
    "blank": (b"\n \n", ("f.csv", "empty")),
    "header only": (b"a,b\n", ("f.csv", "no rows")),
    "too many fields": (b"a,b\n1,2\n1,2,3\n", ("line 3", "3 fields", "header has 2")),
    "too few fields": (b"a,b\n1\n2,3\n4\n", ("line 2", "1 fields", "header has 2", "1 more such lines")),
    "too few fields after a line break in quotes": (b'a,b\n"x\ny",2\n1\n', ("line 4", "1 fields")),
    "a field too many, and one too few elsewhere": (b"a,b\n1,2\n3\n4,5,6\n", ("line 3", "1 fields", "1 more such")),
    "the same the other way round": (b"a,b\n1,2,3\n4\n5,6\n", ("line 2", "3 fields", "1 more such")),
    "a quote never closed": (b'a,b\n1,2\n3,"x\n4,y\n', ("line 3", "never closed")),
    "equal names": (b"x,a,y,a\n1,2,3,4\n", ("columns 2 and 4", "'a'")),
    "no header": (b"5.1,3.5\n4.9,3\n", ("f.csv", "5.1", "column names")),
    "Cyrillic in 8 bits": ("имя,x\nлимит,1\n".encode("cp1251"), ("byte 0", "line 1", "UTF-8", "iconv")),
    "damaged UTF-8": ("имя,x\n".encode() + b"\xd0,1\n", ("byte 9", "line 2", "0xd0")),
    "no text at all": (bytes(range(256)) * 4, ("f.csv", "no text file")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    raw, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        parse(raw, "f.csv")
    assert [w for w in words if w not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_encodings_are_told(encoding: str) -> None:
    frame, findings = parse("name,x\ncafé,1\nимя,2\n".encode(encoding), "f.csv")
    assert frame["name"].to_list() == ["café", "имя"]
    assert [(f.code, f.level) for f in findings] == [("encoding", "note")]


def test_western_letters_are_read_with_a_warning_that_shows_one() -> None:
    frame, findings = parse("name,x\ncafé,1\nnaïve,2\n".encode("latin-1"), "f.csv")
    assert frame["name"].to_list() == ["café", "naïve"]
    assert findings[0].level == "warn"
    assert "'café'" in findings[0].text


def test_a_bad_byte_is_counted_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.data.delimited._BLOCK", 7)
    raw = "имя,x\nлимит,1\n".encode()
    assert parse(raw, "f.csv")[0].rows() == [("лимит", "1")]
    with pytest.raises(DataError, match=f"byte {len(raw)} "):
        parse(raw + b"\xd0\n" + "лимит,2\n".encode(), "f.csv")


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of fields goes on over the blocks that the file is scanned in."""
    random = np.random.default_rng(0)
    lines = ["a,b,c"] + [f'"x,\n{i}",{"y" * int(random.integers(0, 9))},"q""{i}"' for i in range(200)]
    raw = "\n".join(lines).encode()
    whole = parse(raw, "f.csv")[0]
    for size in (1, 3, 64):
        monkeypatch.setattr("torchkiln.data.delimited._BLOCK", size)
        assert parse(raw, "f.csv")[0].equals(whole)
        with pytest.raises(DataError, match="line 402 has 2 fields"):
            parse(raw + b"\nonly,two", "f.csv")


def test_a_nameless_column_gets_a_name() -> None:
    frame, findings = parse(b",a\n0,x\n", "f.csv")
    assert frame.columns == ["column_1", "a"]
    assert findings[0].code == "unnamed_column"


def test_names_are_stripped() -> None:
    assert parse(b"a , b\n1,2\n", "f.csv")[0].columns == ["a", "b"]


@needs_data
@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("sst2/train.tsv", 6920),
        ("banking77/train.csv", 10003),
        ("banking77/test.csv", 3080),
        ("adult/train.csv", 32561),
    ],
)
def test_real_files(file: str, rows: int) -> None:
    path = Path(DATA or "") / file
    frame, findings = parse(path.read_bytes(), path.name, tab=path.suffix == ".tsv")
    assert len(frame) == rows
    assert findings == []


COLUMNS = {
    "whole": ["5", "-7", "12"],
    "with a point": ["5.25", "-7", "1e3"],
    "some missing": ["5", "", "12"],
    "all missing": ["", "", ""],
    "a code": ["10115", "01067", "80331"],
    "a long code": ["1234567890123456789", "1.5", "2"],
    "long digits": ["9223372036854775808", "1", "2"],
    "not a number": ["1.5", "NaN", "2"],
    "infinite": ["1.5", "inf", "2"],
    "words that mean missing": ["1.5", "NA", "2"],
    "a stray word": ["1.5", "many", "2"],
    "spaces": [" 1", "2 ", " 3 "],
    "a plus": ["+1", "2", "3"],
    "decimal commas": ["1;5", "2;5", "3;5"],
    "times": ["07:30", "18:00", "12:15"],
    "dates": ["2024-01-05", "2024-02-05", "2024-03-05"],
    "true and false": ["true", "false", "true"],
    "names": ["a", "b", "a"],
}


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_come_as_typing_the_words_would_give_them(
    name: str, quoted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the first rows, from which the types are guessed, look otherwise than the rest."""
    values = [v.replace(";", ",") if quoted else v for v in COLUMNS[name]]
    values = [*values, "3", "8", *values]
    lines = [f'"{v}",1.5,x' if quoted else f"{v},1.5,x" for v in values]
    raw = "\n".join(["a,b,c", *lines, ""]).encode()
    wanted, said = typed(parse(raw, "f.csv")[0])
    for first in (1, 3, 100):
        monkeypatch.setattr("torchkiln.data.delimited._GUESSED_FROM", first)
        frame, _ = parse(raw, "f.csv", as_words=())
        found, told = typed(frame)
        assert found.schema == wanted.schema and found.equals(wanted)
        assert told == said


def test_plain_numbers_are_read_as_such_but_for_columns_that_stay_words() -> None:
    raw = b"a,b,c\n1,2.5,x\n2,,y\n"
    assert parse(raw, "f.csv", as_words=())[0].dtypes == [pl.Int64, pl.Float64, pl.String]
    assert parse(raw, "f.csv", as_words={"a"})[0].dtypes == [pl.String, pl.Float64, pl.String]
    assert set(parse(raw, "f.csv")[0].dtypes) == {pl.String}
