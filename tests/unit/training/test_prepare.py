"""From a recipe to stores: read, split, check, resolve, fit, encode."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from torchkiln.data.store import ArrayStore, DeviceStore, StreamStore
from torchkiln.errors import DataError, RecipeError
from torchkiln.recipe import load as recipes
from torchkiln.training import prepare as preparing


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    frame = pl.DataFrame({"x": x, "kind": rng.choice(["a", "b"], 200), "y": np.where(x > 0, "up", "down")})
    frame.write_csv(tmp_path / "t.csv")
    return tmp_path / "t.csv"


def recipe(table: Path, **more: object) -> object:
    data = {"path": str(table), "target": "y", **more}
    return recipes.load({"task": "table_classification", "data": data})


def test_samples_targets_and_splits_fit_together(table: Path) -> None:
    found = preparing.prepare(recipe(table))  # type: ignore[arg-type]
    assert sum(len(s) for s in found.stores.values()) == 200
    for split, store in found.stores.items():
        rows = found.source.rows(split)
        batch = store.take(np.arange(len(store)), 0)
        assert batch["target"].tolist() == [{"down": 0, "up": 1}[y] for y in rows["y"]]
        assert len(found.targets[split]) == len(rows) > 20
    assert found.recipe.train.epochs and found.recipe.model.name
    assert any(f.code == "split" or "split" in f.text for f in found.findings)
    assert found.decisions[0]["chosen"] == "memory"


def test_preparing_twice_gives_the_same(table: Path) -> None:
    first, again = preparing.prepare(recipe(table)), preparing.prepare(recipe(table))  # type: ignore[arg-type]
    assert first.source.frame.equals(again.source.frame) and first.recipe == again.recipe
    a, b = (p.stores["train"].take(np.arange(20), 0) for p in (first, again))
    assert all((a[k] == b[k]).all() for k in a)


def test_a_store_of_the_recipes_choice(table: Path) -> None:
    assert isinstance(preparing.prepare(recipe(table, store="stream")).stores["train"], StreamStore)  # type: ignore[arg-type]
    assert isinstance(preparing.prepare(recipe(table, store="memory")).stores["train"], ArrayStore)  # type: ignore[arg-type]


def test_samples_on_the_device_but_for_the_test(table: Path) -> None:
    found = preparing.prepare(recipe(table, store="device"))  # type: ignore[arg-type]
    kinds = {split: type(store) for split, store in found.stores.items()}
    assert kinds == {"train": DeviceStore, "val": DeviceStore, "test": ArrayStore}
    assert found.decisions[0]["chosen"] == "device"


def test_a_gpu_holds_what_is_small_beside_its_memory(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [10**9]
    monkeypatch.setattr(preparing, "best_device", lambda: "cuda")
    monkeypatch.setattr(preparing, "DeviceStore", lambda inputs, target, device: ("on", device))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free[0], 2 * 10**9))
    found = preparing.prepare(recipe(table))  # type: ignore[arg-type]
    assert found.stores["train"] == ("on", "cuda") and "GPU's memory free" in found.decisions[0]["why"]
    free[0] = 1000
    assert preparing.prepare(recipe(table)).decisions[0]["chosen"] == "memory"  # type: ignore[arg-type]
    free[0] = 10**9
    assert preparing.prepare(recipe(table, workers=2)).decisions[0]["chosen"] == "memory"  # type: ignore[arg-type]


def test_what_spoils_the_result_stops_before_training(table: Path) -> None:
    table.write_text("x,y\n" + "\n".join(f"{i},same" for i in range(50)))
    with pytest.raises(DataError, match="same"):
        preparing.prepare(recipe(table))  # type: ignore[arg-type]


def test_the_target_must_be_named(table: Path) -> None:
    given = recipes.load({"task": "table_classification", "data": {"path": str(table)}})
    with pytest.raises(RecipeError, match=r"data.target: name the column to predict; the data has x, kind, y"):
        preparing.prepare(given)
