from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl
import pytest

from torchkiln.data.sources_tables import Part, files, load
from torchkiln.errors import DataError

DATA = os.environ.get("TORCHKILN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TORCHKILN_DATA names no folder of data sets")


def write(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        stem, _, suffix = name.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(text, encoding="utf-8")
    return folder


def test_keys_are_file_and_row(tmp_path: Path) -> None:
    source = load(files(write(tmp_path, train_csv="a,y\n1,x\n2,z\n", test_csv="a,y\n3,x\n"))[0])
    assert source.frame["key"].to_list() == ["train.csv:1", "train.csv:2", "test.csv:1"]
    assert source.frame["split"].to_list() == ["train", "train", "test"]
    assert source.frame.columns == ["key", "split", "a", "y"]
    assert source.frame["a"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Dev"])
def test_names_of_the_validation_file(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.csv").write_text("a,y\n3,x\n")
    parts, _ = files(write(tmp_path, train_csv="a,y\n1,x\n"))
    assert {p.split for p in parts} == {"train", "val"}


def test_one_file_has_no_splits(tmp_path: Path) -> None:
    parts, findings = files(write(tmp_path, titanic_csv="a,y\n1,x\n", README_md="no table"))
    assert [(p.path.name, p.split) for p in parts] == [("titanic.csv", None)]
    assert findings == []
    assert load(parts).frame["split"].to_list() == [None]


def test_several_files_are_a_doubt(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"which of a\.csv, b\.csv"):
        files(write(tmp_path, a_csv="a\n1\n", b_csv="a\n1\n"))


def test_two_files_for_one_split_are_a_doubt(tmp_path: Path) -> None:
    folder = write(tmp_path, train_csv="a\n1\n", val_csv="a\n1\n", dev_csv="a\n2\n")
    with pytest.raises(DataError, match=r"dev\.csv and val\.csv both are val"):
        files(folder)


def test_a_file_beside_the_splits_is_said(tmp_path: Path) -> None:
    parts, findings = files(write(tmp_path, train_csv="a\n1\n", test_csv="a\n1\n", extra_csv="a\n1\n"))
    assert len(parts) == 2
    assert findings[0].samples == ["extra.csv"]


def test_shards_are_one_split(tmp_path: Path) -> None:
    for i in range(2):
        pl.DataFrame({"a": [i], "y": ["x"]}).write_parquet(tmp_path / f"train-0000{i}-of-00002.parquet")
    source = load(files(tmp_path)[0])
    assert source.frame["split"].to_list() == ["train", "train"]
    assert source.frame["key"][1] == "train-00001-of-00002.parquet:1"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz"])
def test_formats_give_the_same(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"n": [1, 2], "x": [0.5, None], "w": ["a", "b"]})
    path = tmp_path / name
    if name.endswith("gz"):
        path.write_bytes(gzip.compress(frame.write_csv().encode()))
    elif name.endswith("jsonl"):
        frame.write_ndjson(path)
    elif name.endswith("parquet"):
        frame.write_parquet(path)
    else:
        frame.write_csv(path, separator="\t" if name.endswith("tsv") else ",")
    assert load([Part(path, None)]).frame.drop("key", "split").equals(frame)


def test_types_come_from_all_parts_together(tmp_path: Path) -> None:
    parts, _ = files(write(tmp_path, train_csv="a,b\n1,1\n", test_csv="a,b\n0.5,x\n"))
    frame = load(parts).frame
    assert frame["a"].to_list() == [1.0, 0.5]
    assert frame["b"].to_list() == ["1", "x"]


def test_parquet_types_that_clash(tmp_path: Path) -> None:
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "train.parquet")
    pl.DataFrame({"a": ["x"]}).write_parquet(tmp_path / "test.parquet")
    with pytest.raises(DataError, match="'a' is Int64 and String"):
        load(files(tmp_path)[0])


def test_nan_in_parquet_is_missing_and_nested_columns_are_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1.0, float("nan")], "tags": [["a"], ["b"]], "c": ["u", "v"]})
    frame.with_columns(pl.col("c").cast(pl.Categorical)).write_parquet(tmp_path / "t.parquet")
    source = load(files(tmp_path)[0])
    assert source.frame["x"].to_list() == [1.0, None]
    assert source.frame.columns == ["key", "split", "x", "c"]
    assert source.frame["c"].dtype == pl.String
    assert source.findings[0].samples == ["tags"]


def test_a_test_part_without_labels_is_left_out(tmp_path: Path) -> None:
    parts, _ = files(write(tmp_path, train_csv="a,b,y\n1,1,x\n", test_csv="a,b\n1,2\n"))
    source = load(parts)
    assert source.frame["split"].to_list() == ["train"]
    assert [(f.code, f.level, f.samples) for f in source.findings] == [("part_without_target", "warn", ["y"])]
    assert load(parts, target="y").frame.height == 1
    with pytest.raises(DataError, match=r"test\.csv lacks the column 'y'"):
        load(parts, target="a")


def test_a_renamed_column_is_refused_with_its_new_name(tmp_path: Path) -> None:
    parts, _ = files(write(tmp_path, train_csv="age,b,y\n1,1,x\n", test_csv="Age,c,y\n1,2,x\n"))
    with pytest.raises(DataError, match=r"test\.csv lacks the column 'age' .*'Age'"):
        load(parts)


def test_further_columns_of_the_test_are_left_out(tmp_path: Path) -> None:
    parts, _ = files(write(tmp_path, train_csv="a,y\n1,x\n", test_csv="y,z,a\nx,9,1\n"))
    source = load(parts)
    assert source.frame.columns == ["key", "split", "a", "y"]
    assert source.findings[0].code == "extra_columns"


def test_columns_called_as_ours_are_renamed(tmp_path: Path) -> None:
    source = load(files(write(tmp_path, t_csv="key,split,y\nC#,7,x\n"))[0])
    assert source.frame.columns == ["key", "split", "key_", "split_", "y"]
    assert source.findings[0].code == "renamed_column"


def test_a_split_column_of_words_is_used(tmp_path: Path) -> None:
    source = load(files(write(tmp_path, t_csv="split,y\ntrain,x\nDev,z\ntest,x\n"))[0])
    assert source.frame["split"].to_list() == ["train", "val", "test"]
    assert source.frame.columns == ["key", "split", "y"]
    assert "split_given" in [f.code for f in source.findings]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.jsonl", '{"a": 1}\n{"a": \n', ("t.jsonl", "line 2", "JSON")),
        ("t.jsonl", '{"a": 1}\n[1]\n', ("line 2", "[1]", "object")),
        ("t.jsonl", "\n", ("t.jsonl", "empty")),
        ("t.parquet", "no parquet", ("t.parquet", "parquet")),
        ("t.csv.gz", "no gzip", ("t.csv.gz", "read")),
        ("t.xlsx", "x", (".xlsx", "CSV")),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, name: str, text: str, words: tuple[str, ...]) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        load([Part(tmp_path / name, None)])
    assert [w for w in words if w not in str(caught.value)] == [], str(caught.value)


def test_rows_of_json_may_lack_keys(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "a", "n": 1}\n\n{"text": "b", "m": 2.5}\n')
    assert load(files(tmp_path)[0]).frame.drop("key", "split").rows() == [("a", 1, None), ("b", None, 2.5)]


def test_the_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", train_csv="a\n1\n", test_csv="a\n2\n")
    same = write(tmp_path / "two", test_csv="a\n2\n", train_csv="a\n1\n")
    other = write(tmp_path / "three", train_csv="a\n1\n", test_csv="a\n3\n")
    digest = load(files(one)[0]).digest
    assert load(list(reversed(files(same)[0]))).digest == digest
    assert load(files(other)[0]).digest != digest
    assert len(digest) == 64


@needs_data
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("adult", {"train": 32561, "test": 16281}),
        ("segment", {"train": 1500, "test": 810}),
        ("sst2", {"train": 6920, "val": 872, "test": 1821}),
        ("banking77", {"train": 10003, "test": 3080}),
        ("california_housing", {None: 20640}),
        ("titanic", {None: 891}),
        ("penguins", {None: 344}),
        ("cifar10", {"train": 25000, "test": 10000}),
    ],
)
def test_real_sets(name: str, counts: dict[str | None, int]) -> None:
    parts, _ = files(Path(DATA or "") / name)
    assert dict(load(parts).frame["split"].value_counts().rows()) == counts


def test_a_column_of_numbers_in_one_file_and_words_in_another_is_words(tmp_path: Path) -> None:
    source = load(
        files(write(tmp_path, train_csv="a,b,y\n1,1.50,x\n2,2,z\n", test_csv="a,b,y\n3,many,x\n4,few,z\n"))[0]
    )
    assert source.frame["a"].to_list() == [1, 2, 3, 4]
    assert source.frame["b"].to_list() == ["1.50", "2", "many", "few"]
