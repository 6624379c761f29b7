from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchkiln.data.source import Kind, Source
from torchkiln.data.splits import assign
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe.schema import Data


def source(columns: dict[str, Any], split: list[str | None] | None = None, kind: Kind = "table") -> Source:
    n = len(next(iter(columns.values())))
    keys = [f"t.csv:{i + 1}" for i in range(n)]
    ours = pl.DataFrame({"key": keys, "split": split or [None] * n}, schema={"key": pl.String, "split": pl.String})
    return Source(kind, pl.concat([ours, pl.DataFrame(columns)], how="horizontal"), Path("."), "")


def rows(n: int, **columns: Any) -> dict[str, Any]:
    return {"x": list(range(n)), "y": [("a", "b", "c")[i % 3] for i in range(n)], **columns}


def data(**split: Any) -> Data:
    return Data(path="t.csv", split=split)


def split(columns: dict[str, Any], given: list[str | None] | None = None, seed: int = 0, **how: Any) -> list[str]:
    return assign(source(columns, given), data(**how), "y", True, seed).frame["split"].to_list()


def test_shares_are_right_and_the_sum_is_all() -> None:
    assert Counter(split(rows(1000))) == {"test": 150, "val": 128, "train": 722}
    assert Counter(split(rows(1000), val=0.2, test=0.1)) == {"test": 100, "val": 180, "train": 720}


def test_stratified_gives_each_class_its_share() -> None:
    columns = {"x": list(range(1000)), "y": ["a"] * 900 + ["b"] * 80 + ["c"] * 20}
    chosen = split(columns, by="stratified", val=0.1, test=0.1)
    found = Counter(zip(chosen, columns["y"], strict=True))
    assert (found["test", "a"], found["test", "b"], found["test", "c"]) == (90, 8, 2)


def test_largest_remainders_keep_the_sum_of_many_small_classes() -> None:
    """Rounding each class by itself would give 77 x 1 or 77 x 0."""
    columns = {"x": list(range(77 * 4)), "y": [f"c{i % 77}" for i in range(77 * 4)]}
    assert Counter(split(columns, by="stratified"))["test"] == round(77 * 4 * 0.15)


def test_classes_of_five_are_everywhere_and_single_rows_in_train() -> None:
    columns = {"x": list(range(107)), "y": ["a"] * 100 + ["five"] * 5 + ["two"] * 1 + ["one"] * 1}
    found = Counter(zip(split(columns, val=0.05, test=0.05), columns["y"], strict=True))
    assert all(found[s, "five"] >= 1 for s in ("train", "val", "test"))
    assert found["train", "one"] == found["train", "two"] == 1


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=1, max_size=60),
    copies=st.lists(st.integers(0, 9), min_size=60, max_size=60),
    groups=st.lists(st.integers(0, 12), min_size=60, max_size=60),
    by=st.sampled_from(["auto", "random", "stratified", "group"]),
    seed=st.integers(0, 99),
)
def test_no_class_is_kept_from_train(
    labels: list[int], copies: list[int], groups: list[int], by: str, seed: int
) -> None:
    n = len(labels)
    columns = {"x": copies[:n], "g": groups[:n], "y": [str(c) for c in labels]}
    if by == "group" and len(set(groups[:n])) < 3:
        return
    chosen = split(columns, seed=seed, by=by, column="g" if by == "group" else None)
    assert len(chosen) == n
    assert {y for y, s in zip(columns["y"], chosen, strict=True) if s == "train"} == set(columns["y"])


@pytest.mark.parametrize("by", ["random", "stratified"])
def test_equal_rows_stay_together(by: str) -> None:
    columns = {"x": [i // 3 for i in range(600)], "y": ["ab"[i // 3 % 2] for i in range(600)]}
    chosen = split(columns, by=by)
    assert all(len(set(chosen[i : i + 3])) == 1 for i in range(0, 600, 3))
    assert abs(Counter(chosen)["test"] - 90) <= 3


@pytest.mark.parametrize("raw", ["path", "bytes"])
def test_equal_pictures_stay_together(tmp_path: Path, raw: str) -> None:
    pictures: list[Any] = []
    for i in range(200):
        content = f"picture {i // 2:03}".encode()
        path = tmp_path / f"{i}.png"
        path.write_bytes(content)
        pictures.append(str(path) if raw == "path" else content)
    made = assign(source({"image": pictures, "label": ["a"] * 200}, kind="images"), data(), "label", True, 0)
    chosen = made.frame["split"].to_list()
    assert set(chosen) == {"train", "val", "test"}
    assert all(chosen[i] == chosen[i + 1] for i in range(0, 200, 2))


def test_a_split_is_a_function_of_the_seed() -> None:
    assert split(rows(100), seed=1) == split(rows(100), seed=1)
    assert split(rows(100), seed=1) != split(rows(100), seed=2)


def test_groups_stay_together() -> None:
    groups = [f"p{i // 7}" for i in range(700)]
    chosen = split(rows(700, g=groups), by="group", column="g")
    assert len(set(zip(groups, chosen, strict=True))) == 100
    counts = Counter(chosen)
    assert abs(counts["test"] - 105) <= 7
    assert abs(counts["val"] - 89) <= 7


def test_groups_are_split_so_that_classes_are_even() -> None:
    """Ten groups hold the rare class; a blind draw often leaves the test without it."""
    groups = [i // 10 for i in range(1000)]
    labels = ["rare" if g % 10 == 0 else "usual" for g in groups]
    for seed in range(10):
        chosen = split({"g": groups, "x": list(range(1000)), "y": labels}, seed=seed, by="group", column="g")
        assert {y for y, s in zip(labels, chosen, strict=True) if s == "test"} == {"rare", "usual"}


def test_rows_without_a_group_are_groups_of_their_own() -> None:
    groups: list[str | None] = [None] * 50 + [f"g{i % 5}" for i in range(50)]
    chosen = split(rows(100, g=groups), by="group", column="g")
    assert len(set(chosen[:50])) == 3


def test_a_huge_group_goes_to_train() -> None:
    groups = ["huge"] * 900 + ["b"] * 50 + ["c"] * 50
    chosen = split(rows(1000, g=groups), by="group", column="g")
    assert set(chosen[:900]) == {"train"}
    assert Counter(chosen)["val"] == Counter(chosen)["test"] == 50


def test_too_few_groups() -> None:
    with pytest.raises(DataError, match="3 groups or more are needed, the column has 2"):
        split(rows(10, g=["a", "b"] * 5), by="group", column="g")


def test_the_latest_rows_are_the_test() -> None:
    days = [f"2020-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(200)]
    order = np.random.default_rng(0).permutation(200)
    chosen = split(rows(200, day=[days[i] for i in order]), by="time", column="day")
    by_day = [s for _, s in sorted(zip(order.tolist(), chosen, strict=True))]
    assert by_day == ["train"] * 144 + ["val"] * 26 + ["test"] * 30


def test_rows_of_one_time_stay_together() -> None:
    years = [2000 + i // 50 for i in range(500)]
    chosen = split(rows(500, year=years), by="time", column="year")
    assert len(set(zip(years, chosen, strict=True))) == 10
    assert Counter(chosen)["test"] in (50, 100)


def test_time_that_is_none() -> None:
    with pytest.raises(DataError, match="'day' holds 'soon', neither a date nor a number"):
        split(rows(30, day=["soon"] * 30), by="time", column="day")
    with pytest.raises(DataError, match="more different times"):
        split(rows(30, day=["2020-01-01"] * 30), by="time", column="day")


def test_given_parts_are_kept_and_the_missing_one_comes_from_train() -> None:
    given: list[str | None] = ["train"] * 80 + ["test"] * 20
    chosen = split(rows(100), given)
    assert chosen[80:] == ["test"] * 20
    assert Counter(chosen[:80]) == {"train": 68, "val": 12}
    given = ["train"] * 80 + ["val"] * 20
    chosen = split(rows(100), given)
    assert chosen[80:] == ["val"] * 20
    assert Counter(chosen[:80]) == {"train": 68, "test": 12}


def test_what_is_given_in_full_is_left_alone() -> None:
    given: list[str | None] = ["train"] * 5 + ["val"] * 3 + ["test"] * 2
    assert split(rows(10), given) == given


def test_words_of_a_column() -> None:
    words = ["Train"] * 60 + ["dev"] * 20 + ["test"] * 20
    made = assign(source(rows(100, part=words)), data(by="column", column="part"), "y", True, 0)
    assert made.frame["split"].to_list() == ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    assert "part" not in made.frame.columns
    chosen = split(rows(100, part=["train"] * 80 + ["test"] * 20), by="column", column="part")
    assert Counter(chosen) == {"train": 68, "val": 12, "test": 20}


@pytest.mark.parametrize(
    ("words", "said"),
    [(["train", "holdout"], "'holdout'"), (["train", None], "1 empty"), (["test", "val"], "no row to train")],
)
def test_other_words(words: list[str | None], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split(rows(2, part=words), by="column", column="part")


def test_columns_that_are_not_there() -> None:
    with pytest.raises(DataError, match=r"data\.split\.column: the data has no column 'grup': did you mean 'group'"):
        split(rows(10, group=list(range(10))), by="group", column="grup")
    with pytest.raises(DataError, match=r"data\.target: the data has no column 'lable': did you mean 'label'"):
        assign(source({"label": ["a"], "x": [1]}), data(), "lable", True, 0)


def test_stratified_needs_classes() -> None:
    with pytest.raises(RecipeError, match="stratified needs classes"):
        assign(source(rows(10)), data(by="stratified"), "x", False, 0)


@pytest.mark.parametrize(("classification", "way"), [(True, "stratified (auto)"), (False, "random (auto)")])
def test_auto_is_said(classification: bool, way: str) -> None:
    made = assign(source(rows(100)), data(), "y" if classification else "x", classification, 0)
    assert way in made.findings[0].text
    assert "72 train" in made.findings[0].text


def test_what_was_carved_is_said() -> None:
    made = assign(source(rows(100), ["train"] * 80 + ["val"] * 20), data(), "y", True, 0)
    assert "train and val as given, test taken from train, stratified" in made.findings[0].text


def test_no_test_is_said() -> None:
    made = assign(source(rows(100)), data(test=0.0), "y", True, 0)
    assert "test" not in set(made.frame["split"])
    assert [f.code for f in made.findings] == ["split", "no_test"]


def test_many_different_numbers_need_no_classes() -> None:
    """A table of classes by unit would be quadratic for a target of numbers."""
    n = 60_000
    columns = {"x": list(range(n)), "y": np.arange(n) / 7}
    made = assign(source(columns), data(), "y", False, 0)
    assert Counter(made.frame["split"].to_list())["test"] == 9000
