from __future__ import annotations

import base64
import hashlib
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from torchkiln.errors import RunError
from torchkiln.report import page
from torchkiln.report.material import read
from torchkiln.report.page import write

Made = Callable[[str], Path]
KINDS = ["images", "table", "text", "interrupted", "hostile"]
VOID = {"meta", "link", "img", "br", "input", "hr"}
MOST_BYTES = 3_000_000


class Tree(HTMLParser):
    """Elements in order, with their attributes and text; ends that match no beginning are noted."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.stray: list[str] = []
        self._open: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text.replace("<wbr>", ""))
        self.close()
        self.stray += [f"never closed: {one[0]}" for one in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        one = (tag, {k: v or "" for k, v in attrs}, [])
        self.elements.append(one)
        if tag not in VOID:
            self._open.append(one)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {k: v or "" for k, v in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            self._open.pop()
        else:
            self.stray.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        for _, _, text in self._open:
            text.append(data)

    def all(self, *tags: str) -> list[tuple[str, dict[str, str], str]]:
        return [(t, a, " ".join(" ".join(x).split())) for t, a, x in self.elements if t in tags]


@pytest.fixture(scope="module")
def tree(made: Made) -> Callable[[str], Tree]:
    known: dict[str, Tree] = {}

    def get(kind: str) -> Tree:
        if kind not in known:
            known[kind] = Tree(write(made(kind)).read_text(encoding="utf-8"))
        return known[kind]

    return get


def text_of(path: Path) -> str:
    return shown(path.read_text(encoding="utf-8"))


def shown(html: str) -> str:
    (body,) = Tree(html).all("body")
    return body[2].replace("\u00a0", " ")


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_well_formed(tree: Callable[[str], Tree], kind: str) -> None:
    found = tree(kind)
    assert found.stray == []
    ids = [a["id"] for _, a, _ in found.all(*{t for t, _, _ in found.elements}) if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"][1:] for _, a, _ in found.all("a")]
    assert links
    assert set(links) <= set(ids)
    named = " ".join(a.get("aria-labelledby", "") for _, a, _ in found.elements).split()
    assert set(named) <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_can_be_read_aloud(tree: Callable[[str], Tree], kind: str) -> None:
    found = tree(kind)
    levels = [int(t[1]) for t, _, _ in found.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels)), levels
    drawings = [i for i, one in enumerate(found.elements) if one[0] == "svg"]
    assert drawings
    for i in drawings:
        assert found.elements[i][1]["role"] == "img"
        assert found.elements[i + 1][0] == "title"
        assert "".join(found.elements[i + 1][2])
    assert all("scope" in a for _, a, _ in found.all("th"))
    assert len(found.all("th")) > 5
    assert all(a["alt"] for _, a, _ in found.all("img"))
    assert [a["lang"] for _, a, _ in found.all("html")] == ["en"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_loads_nothing(tree: Callable[[str], Tree], kind: str) -> None:
    found = tree(kind)
    for tag, attributes, _ in found.elements:
        for key in ("src", "href", "srcset", "xlink:href", "action"):
            value = attributes.get(key, "#")
            assert value.startswith(("#", "data:")), (tag, key, value)
        assert "style" not in attributes
        assert not any(key.startswith("on") for key in attributes), (tag, attributes)
    assert len(found.all("script")) == len(found.all("style")) == 1
    for _, _, style in found.all("style"):
        assert "url(" not in style
        assert "@import" not in style


def test_the_policy_names_the_style_and_the_script_of_the_page(made: Made) -> None:
    html = write(made("text")).read_text(encoding="utf-8")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src &#39;none&#39;" in policy
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy


def test_words_of_strangers_stay_words(tree: Callable[[str], Tree], made: Made) -> None:
    found, html = tree("hostile"), (made("hostile") / page.NAME).read_text(encoding="utf-8")
    assert found.all("b") == []
    assert found.all("img") == []
    assert "<script>document" not in html
    assert "<img src=x" not in html
    planted = "</script><script>document.title='owned'</script>"
    for section in ("verdict", "confusion", "mistakes", "slices", "data", "plan", "environment"):
        (words,) = [t for _, a, t in found.all("section") if a.get("id") == section]
        assert planted in words, section


def test_the_sections_stand_in_their_order(tree: Callable[[str], Tree]) -> None:
    def order(kind: str) -> list[str]:
        return [a["id"] for _, a, _ in tree(kind).all("section")]

    assert order("images") == ["verdict", "curves", "confusion", "calibration", "mistakes", "data", "plan",
                               "environment", "epochs"]  # fmt: skip
    assert order("table") == ["verdict", "curves", "residuals", "mistakes", "slices", "data", "plan",
                              "environment", "epochs"]  # fmt: skip


def test_a_winning_baseline_is_told_before_anything_else(made: Made) -> None:
    text = text_of(write(made("table")))
    first = text.index("A baseline wins: HistGradientBoosting")
    assert (
        first < text.index("RMSE is 48,076") < text.index("HistGradientBoosting does better") < text.index("Curves The")
    )


def test_what_the_run_recorded_is_on_the_page(made: Made) -> None:
    text = text_of(write(made("images")))
    for words in (
        "14 images lie in train and test",
        "train/cat/1.png",
        "most confused pairs".capitalize(),
        "too sure of itself",
        "99.9 %",
        "Fastest whose loss stays within 0.5 %.",
        "layer_norm, softmax, cross_entropy",
        "9f" * 32,
        "git commit 0123456789abcdef",
        "Resumed at step 230.",
        "image_size: 32",
        "1,432 samples/s",
        "Every epoch (30)",
    ):
        assert words in text, words


def test_an_interrupted_run_says_what_is_missing(made: Made) -> None:
    text = text_of(write(made("interrupted")))
    assert "This run has no test score: it ended after 4 of 30 epochs." in text
    assert "torchkiln fit --resume" in text
    assert text.count("The run ended before the test (there is no test.json)") == 2


def test_each_file_but_the_recipe_may_be_missing_or_damaged(made: Made, tmp_path: Path) -> None:
    whole = made("table")
    names = sorted(p.name for p in whole.iterdir() if p.name not in ("recipe.yaml", page.NAME))
    assert len(names) == 12
    for name in names:
        run = shutil.copytree(whole, tmp_path / f"without-{name}")
        (run / name).unlink()
        assert "Verdict" in shown(page.render(read(run)))
        (run / name).write_bytes(b"\x00\xff{[")
        text = shown(page.render(read(run)))
        assert f"{name} cannot be read" in text or name.endswith((".csv", ".jsonl")), name


def test_a_recipe_alone_is_a_page(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("task: table_regression\ndata: rows.csv\n")
    text = text_of(write(tmp_path))
    for words in (
        "it ended before the first epoch did",
        "no plan.json",
        "no environment.json",
        "no splits.parquet",
        "no events.jsonl",
        "there are no curves",
        "there is no table of them",
    ):
        assert words in text, words


def test_two_writes_give_the_same_bytes_and_leave_nothing_beside(made: Made) -> None:
    first = write(made("text")).read_bytes()
    path = write(made("text"))
    assert path.name == "report.html"
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_a_page_that_cannot_be_written_keeps_the_old_one(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(made("text"), tmp_path / "run")
    (run / page.NAME).write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"report\.html cannot be written: No space left on device"):
        write(run)
    assert (run / page.NAME).read_text() == "old"


def test_no_run_no_page(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run directory"):
        write(tmp_path)
    with pytest.raises(RunError, match="does not exist"):
        write(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_page_with_24_thumbnails_is_small(made: Made) -> None:
    path = write(made("images"))
    assert path.read_text(encoding="utf-8").count("data:image/jpeg") == 24
    assert path.stat().st_size < MOST_BYTES


# Runs that are unusual


@pytest.mark.parametrize("epochs", [1, 1000])
def test_runs_of_any_length(builders: ModuleType, tmp_path: Path, epochs: int) -> None:
    path = write(builders.make_images(tmp_path / "run", epochs))
    text = text_of(path)
    assert f"Every epoch ({epochs})" in text
    assert path.stat().st_size < MOST_BYTES


def test_losses_that_are_not_finite(builders: ModuleType, tmp_path: Path) -> None:
    run = builders.make_images(tmp_path / "run", 9)
    builders.write_tables(run, 9, {"accuracy": lambda part: part}, lose=(3, 8))
    assert "Not finite: the training loss in 2 epochs (first in epoch 3)" in text_of(write(run))
    builders.write_tables(run, 9, {"accuracy": lambda part: math.nan}, lose=tuple(range(9)))
    assert "no finite value" in text_of(write(run))


def test_a_test_of_predictions_that_are_not_finite(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made("images"), tmp_path / "run")
    test = json.loads((run / "test.json").read_text())
    for holder in (test, *test["baselines"]):
        holder["metrics"] = {
            name: {**m, "value": None, "low": None, "high": None} for name, m in holder["metrics"].items()
        }
    test |= {
        "confusion": None,
        "calibration": None,
        "notes": ["The predictions are no finite numbers: no score."],
    }
    (run / "test.json").write_text(json.dumps(test))
    (run / "predictions.parquet").unlink()
    text = text_of(write(run))
    assert "No score" in text
    assert "no finite numbers" in text


def test_a_thousand_classes(builders: ModuleType, tmp_path: Path) -> None:
    run = builders.make_text(tmp_path / "run")
    names = [f"class {i}" for i in range(1000)]
    test = builders.classes_test(run, names, 5000, 0.6) | {"confusion": None}
    (run / "test.json").write_text(json.dumps(test))
    path = write(run)
    text = text_of(path)
    assert "1,000 classes are too many for a matrix" in text.replace("1000 classes", "1,000 classes")
    assert "Most confused pairs" in text
    assert path.stat().st_size < MOST_BYTES


def test_two_classes_of_one_test_row(builders: ModuleType, tmp_path: Path) -> None:
    run = builders.make_text(tmp_path / "run")
    (run / "test.json").write_text(json.dumps(builders.classes_test(run, ["no", "yes"], 1, 1.0)))
    assert "0 of 1 test samples" in text_of(write(run))


def test_a_constant_prediction(builders: ModuleType, tmp_path: Path) -> None:
    run = builders.make_table(tmp_path / "run")
    frame = pl.DataFrame({"key": list("ab"), "target": [1.0, 1.0], "prediction": np.array([1.0, 1.0])})
    frame.write_parquet(run / "predictions.parquet")
    assert "Half of the errors are below 0" in text_of(write(run))
