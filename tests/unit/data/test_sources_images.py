from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from torchkiln.data.sources_images import folders, holds_classes, listed
from torchkiln.data.sources_tables import files, load
from torchkiln.errors import DataError

DATA = os.environ.get("TORCHKILN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TORCHKILN_DATA names no folder of data sets")


def content(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def tree(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(i))
    return root


def test_a_folder_a_class(tmp_path: Path) -> None:
    source = folders({None: tree(tmp_path, "b/2.PNG", "a/1.png", "a/deep/er/0.jpg")})
    assert source.frame["key"].to_list() == ["a/1.png", "a/deep/er/0.jpg", "b/2.PNG"]
    assert source.frame["label"].to_list() == ["a", "a", "b"]
    assert source.frame["split"].to_list() == [None] * 3
    assert all(os.path.isabs(p) and os.path.isfile(p) for p in source.frame["image"])
    assert source.findings == []


@pytest.mark.parametrize("word", ["val", "valid", "Validation", "dev"])
def test_folders_of_splits(tmp_path: Path, word: str) -> None:
    source = folders({None: tree(tmp_path, "train/a/1.png", "train/b/1.png", f"{word}/a/2.png", "test/b/3.png")})
    found = {tuple(r) for r in source.frame.select("split", "label").rows()}
    assert found == {("train", "a"), ("train", "b"), ("val", "a"), ("test", "b")}


def test_folders_given_one_by_one(tmp_path: Path) -> None:
    tree(tmp_path, "here/a/1.png", "there/a/1.png", "there/b/1.png")
    source = folders({"train": tmp_path / "there", "test": tmp_path / "here"})
    assert source.frame.select("key", "split").rows() == [
        ("here/a/1.png", "test"),
        ("there/a/1.png", "train"),
        ("there/b/1.png", "train"),
    ]


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    source = folders({None: tree(tmp_path, "exam/1.png", "test/1.png")})
    assert source.frame["label"].to_list() == ["exam", "test"]
    assert source.frame["split"].null_count() == 2


def test_what_is_no_picture_is_left_out_with_a_word(tmp_path: Path) -> None:
    source = folders({None: tree(tmp_path, "a/1.png", "b/1.png", "a/x.gif", "a/notes.txt", "loose.png", ".hid/1.png")})
    assert len(source.frame) == 2
    finding = source.findings[0]
    assert (finding.code, finding.level) == ("files_left_out", "warn")
    assert set(finding.samples) == {"a/x.gif", "a/notes.txt", "loose.png"}
    assert "1 .gif file" in finding.text
    assert "in no class folder" in finding.text


def test_a_folder_beside_the_splits_is_said(tmp_path: Path) -> None:
    source = folders({None: tree(tmp_path, "train/a/1.png", "train/b/1.png", "unlabelled/1.png")})
    assert len(source.frame) == 2
    assert source.findings[0].samples == ["unlabelled/"]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), ("is empty", "a folder a class")),
        (("1.png", "2.png"), ("2 pictures", "no class folder")),
        (("a/x.txt", "b/y.txt"), ("no pictures", "2 .txt")),
        (("flowers/rose/1.png", "flowers/tulip/1.png"), ("one folder flowers/", "give")),
        (("train/a/1.png", "val/a/1.png", "dev/a/1.png"), ("dev/", "val/", "both are val")),
    ],
)
def test_nothing_to_learn_from(tmp_path: Path, names: tuple[str, ...], words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        folders({None: tree(tmp_path, *names)})
    assert [w for w in words if w not in str(caught.value)] == [], str(caught.value)


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    tree(tmp_path / "store", "1.png")
    root = tree(tmp_path / "root", "b/1.png")
    (root / "a").symlink_to(tmp_path / "store")
    (root / "b" / "round").symlink_to(root / "b")
    assert folders({None: root}).frame["key"].to_list() == ["a/1.png", "b/1.png"]


def test_the_digest_is_of_keys_and_bytes_alone(tmp_path: Path) -> None:
    one = folders({None: tree(tmp_path / "one", "a/1.png", "b/2.png")}).digest
    again = tree(tmp_path / "two", "b/2.png", "a/1.png")  # other times, other bytes
    assert folders({None: again}).digest != one
    (again / "b/2.png").write_bytes(content(1))
    (again / "a/1.png").write_bytes(content(0))
    assert folders({None: again}).digest == one
    (again / "a/1.png").rename(again / "a/0.png")
    assert folders({None: again}).digest != one


def test_large_data_is_hashed_at_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.data.sources_images._WHOLE", 10)
    root = tree(tmp_path, "a/1.png", "b/2.png")
    source = folders({None: root})
    assert [f.code for f in source.findings] == ["partial_digest"]
    (root / "a/1.png").write_bytes(content(9))
    assert folders({None: root}).digest != source.digest


def test_holds_classes(tmp_path: Path) -> None:
    assert not holds_classes(tree(tmp_path / "one", "a/1.png"))
    assert holds_classes(tree(tmp_path / "two", "a/1.png", "b/1.png"))
    assert holds_classes(tree(tmp_path / "three", "train/a/1.png"))
    assert not holds_classes(tree(tmp_path / "four", "train/1.png"))


def table(folder: Path, frame: pl.DataFrame, name: str = "t.parquet"):  # type: ignore[no-untyped-def]
    folder.mkdir(exist_ok=True)
    frame.write_csv(folder / name) if name.endswith("csv") else frame.write_parquet(folder / name)
    return load(files(folder)[0])


def test_bytes_in_a_table(tmp_path: Path) -> None:
    source = listed(table(tmp_path, pl.DataFrame({"img": [content(), content(1)], "label": ["a", "b"]})), None)
    assert source.kind == "images"
    assert source.frame["image"].to_list() == [content(), content(1)]
    assert source.frame["key"][0] == "t.parquet:1"


def test_pictures_as_hugging_face_writes_them(tmp_path: Path) -> None:
    pictures = [{"bytes": content(i), "path": None} for i in range(2)]
    source = listed(table(tmp_path, pl.DataFrame({"image": pictures, "label": [0, 1]})), None)
    assert source.frame["image"].to_list() == [content(0), content(1)]


@pytest.mark.parametrize("base", ["", "photos"])
def test_paths_in_a_table(tmp_path: Path, base: str) -> None:
    tree(tmp_path / base, "1.png", "2.png")
    source = listed(table(tmp_path, pl.DataFrame({"file": ["1.png", "2.png"], "y": ["a", "b"]}), "t.csv"), None)
    assert source.frame["key"].to_list() == ["1.png", "2.png"]
    assert [Path(p).read_bytes() for p in source.frame["image"]] == [content(0), content(1)]
    before = source.digest
    (tmp_path / base / "1.png").write_bytes(content(7))
    assert listed(load(files(tmp_path)[0]), None).digest != before


def test_a_picture_listed_twice_keeps_the_row_as_key(tmp_path: Path) -> None:
    tree(tmp_path, "1.png")
    source = listed(table(tmp_path, pl.DataFrame({"file": ["1.png"] * 2, "y": ["a", "b"]}), "t.csv"), "file")
    assert source.frame["key"].to_list() == ["t.csv:1", "t.csv:2"]


@pytest.mark.parametrize(
    ("frame", "column", "words"),
    [
        (pl.DataFrame({"file": ["1.png"], "y": ["a"]}), None, ("'file'", "none of its 1 files", "1.png")),
        (pl.DataFrame({"x": [1], "y": ["a"]}), None, ("data.image", "x, y")),
        (pl.DataFrame({"picture": ["1.png"], "y": ["a"]}), "pictur", ("'pictur'", "'picture'")),
        (pl.DataFrame({"n": [1], "y": ["a"]}), "n", ("'n'", "Int64")),
    ],
)
def test_tables_without_pictures(
    tmp_path: Path, frame: pl.DataFrame, column: str | None, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as caught:
        listed(table(tmp_path, frame), column)
    assert [w for w in words if w not in str(caught.value)] == [], str(caught.value)


@needs_data
def test_hymenoptera_without_its_placeholder() -> None:
    source = folders({None: Path(DATA or "") / "hymenoptera"})
    assert dict(source.frame["split"].value_counts().rows()) == {"train": 244, "val": 153}
    assert "train/ants/imageNotFound.gif" in source.findings[0].samples
