"""Augmentation depends on (seed, epoch, sample) alone, and does what torchvision's names say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from torchkiln.data.augment import Augment, names
from torchkiln.data.loader import loader
from torchkiln.data.order import TrainOrder
from torchkiln.data.store import ArrayStore
from torchkiln.errors import RecipeError
from torchkiln.recipe.schema import Transform

SIDE = 12
STACKS: dict[str, list[dict[str, Any]]] = {
    "flips": [{"name": "RandomHorizontalFlip"}, {"name": "RandomVerticalFlip", "p": 0.3}],
    "chance": [{"name": "RandomHorizontalFlip", "p": 0.4}],
    "crop": [{"name": "RandomCrop", "padding": 2}],
    "crop_reflect": [{"name": "RandomCrop", "padding": [1, 2], "padding_mode": "reflect"}],
    "crop_symmetric": [{"name": "RandomCrop", "padding": 3, "padding_mode": "symmetric"}],
    "crop_smaller": [{"name": "RandomCrop", "size": 8}],
    "crop_if_needed": [{"name": "RandomCrop", "size": 14, "pad_if_needed": True}],
    "resized": [{"name": "RandomResizedCrop", "scale": [0.3, 1.0]}],
    "erase": [{"name": "RandomErasing", "p": 0.7, "value": [125, 123, 114]}],
    "per_picture": [{"name": "ColorJitter", "brightness": 0.4, "hue": 0.1},
                    {"name": "RandomRotation", "degrees": 20}],
    "nested": [{"name": "RandomApply", "p": 0.5, "transforms": [{"name": "GaussianBlur", "kernel_size": 3}]}],
    "policy": [{"name": "TrivialAugmentWide"}],
}  # fmt: skip


def pictures(n: int = 8, side: int = SIDE) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8))


def augment(stack: list[dict[str, Any]], **options: Any) -> Augment:
    return Augment([Transform(**t) for t in stack], seed=options.pop("seed", 3), size=SIDE, **options)


def run(a: Augment, images: torch.Tensor, indices: list[int], epoch: int = 0) -> torch.Tensor:
    rows = np.array(indices, np.int64)
    out: torch.Tensor = a({"image": images[indices]}, rows, epoch)["image"]
    return out


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())
def test_a_sample_is_the_same_in_any_batch_and_order(stack: list[dict[str, Any]]) -> None:
    a, images = augment(stack), pictures()
    together = run(a, images, [0, 1, 2, 3, 4, 5, 6, 7], epoch=2)
    turned = run(augment(stack), images, [7, 6, 5, 4, 3, 2, 1, 0], epoch=2).flip(0)
    torch.manual_seed(99)  # what was drawn before does not matter
    alone = torch.cat([run(a, images, [i], epoch=2) for i in range(8)])
    assert torch.equal(together, turned)
    assert torch.equal(together, alone)
    assert together.dtype == torch.uint8


@pytest.mark.parametrize("name", ["flips", "chance", "crop", "crop_reflect", "crop_smaller", "resized", "erase"])
def test_whole_batches_are_transformed_where_they_lie(name: str) -> None:
    """On a device without data, where whatever was made elsewhere raises an error."""
    a, there = augment(STACKS[name]), pictures().to("meta")
    found = a({"image": there}, np.arange(8), 1)["image"]
    assert found.device.type == "meta" and found.dtype == torch.uint8
    assert found.shape == run(augment(STACKS[name]), pictures(), [*range(8)]).shape


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())
def test_seed_and_epoch_change_the_pictures(stack: list[dict[str, Any]]) -> None:
    images, everything = pictures(), list(range(8))
    base = run(augment(stack), images, everything, epoch=0)
    assert not torch.equal(base, run(augment(stack), images, everything, epoch=1))
    assert not torch.equal(base, run(augment(stack, seed=4), images, everything, epoch=0))


def test_workers_change_nothing() -> None:
    a = augment([*STACKS["crop"], *STACKS["per_picture"]])
    store = ArrayStore({"image": pictures(20).numpy()}, np.arange(20))
    seen = []
    for workers in (0, 2):
        order = TrainOrder(20, 6, seed=1)
        order.set_epoch(3)
        batches = list(loader(store, order, transform=a, workers=workers))
        seen.append((torch.cat([b["image"] for b in batches]), torch.cat([b["target"] for b in batches])))
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])


def test_a_flip_takes_turns() -> None:
    images, everything = pictures(), list(range(8))
    a = augment([{"name": "RandomHorizontalFlip"}])
    first, second = (run(a, images, everything, epoch) for epoch in (0, 1))
    assert torch.equal(first.flip(2), second)
    kept = (first == images).flatten(1).all(1)
    assert 0 < kept.sum() < 8
    assert torch.equal(run(a, images, everything, epoch=2), first)


def test_a_sure_flip_mirrors_and_an_impossible_one_does_not() -> None:
    images, everything = pictures(), list(range(8))
    sure = augment([{"name": "RandomHorizontalFlip", "p": 1.0}, {"name": "RandomVerticalFlip", "p": 1.0}])
    assert torch.equal(run(sure, images, everything), images.flip(1, 2))
    assert torch.equal(run(augment([{"name": "RandomHorizontalFlip", "p": 0.0}]), images, everything), images)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_a_padded_crop_is_a_window_of_the_padded_picture(mode: Any) -> None:
    images = pictures()
    out = run(augment([{"name": "RandomCrop", "padding": 3, "padding_mode": mode}]), images, list(range(8)))
    padded = np.pad(images.numpy(), ((0, 0), (3, 3), (3, 3), (0, 0)), mode=mode)
    places = set()
    for picture, wide in zip(out.numpy(), padded, strict=True):
        hits = [(y, x) for y in range(7) for x in range(7)
                if np.array_equal(wide[y : y + SIDE, x : x + SIDE], picture)]  # fmt: skip
        assert len(hits) == 1
        places |= set(hits)
    assert len(places) > 3


def test_crops_reach_every_place_and_the_border_is_filled() -> None:
    images = torch.full((200, SIDE, SIDE, 3), 200, dtype=torch.uint8)
    a = augment([{"name": "RandomCrop", "padding": 1, "fill": [10, 20, 30]}])
    out = run(a, images, list(range(200)))
    top, bottom = ((out[:, row, 5] != 200).any(1) for row in (0, -1))
    assert 40 < int(top.sum()) < 95
    assert 40 < int(bottom.sum()) < 95
    assert out[top][0, 0, 5].tolist() == [10, 20, 30]


def test_erasing_covers_the_asked_area() -> None:
    images = torch.full((100, SIDE, SIDE, 3), 200, dtype=torch.uint8)
    stack = [{"name": "RandomErasing", "p": 0.5, "scale": [0.25, 0.25], "ratio": [1.0, 1.0], "value": [1, 2, 3]}]
    out = run(augment(stack), images, list(range(100)))
    erased = (out[..., 0] == 1).sum((1, 2))
    assert set(erased.tolist()) == {0, 36}
    assert 30 < int((erased > 0).sum()) < 70


def test_a_resized_crop_of_the_whole_is_the_picture() -> None:
    stack = [{"name": "RandomResizedCrop", "scale": [1.0, 1.0], "ratio": [1.0, 1.0]}]
    assert torch.equal(run(augment(stack), pictures(), list(range(8))), pictures())


def test_progressive_sides_follow_the_epoch() -> None:
    a = augment([{"name": "RandomCrop", "padding": 3}], epochs=10, progressive=[(0.3, 6), (0.6, 9)])
    sides = [run(a, pictures(), [0, 1], epoch).shape[1] for epoch in range(10)]
    assert sides == [6] * 3 + [9] * 3 + [12] * 4
    cut = augment([{"name": "RandomResizedCrop"}], epochs=10, progressive=[(0.5, 6)])
    assert [run(cut, pictures(), [0], epoch).shape[1] for epoch in (0, 9)] == [6, 12]


def test_other_inputs_of_the_batch_stay() -> None:
    batch = {"image": pictures(), "target": torch.arange(8)}
    out = augment([{"name": "RandomHorizontalFlip"}])(batch, np.arange(8), 0)
    assert torch.equal(out["target"], torch.arange(8))
    assert torch.equal(batch["image"], pictures())


@pytest.mark.parametrize(("stack", "words"), [
    ([{"name": "RandomVerticalFilp"}], ["augment[0]", "'RandomVerticalFilp'", "mean 'RandomVerticalFlip'"]),
    ([{"name": "RandomHorizontalFlip", "q": 0.5}], ["data.augment[0]", "RandomHorizontalFlip", "'q'"]),
    ([{"name": "RandomHorizontalFlip", "p": 1.5}], ["data.augment[0]", "RandomHorizontalFlip"]),
    ([{"name": "RandomCrop", "size": 40}], ["data.augment[0]", "RandomCrop", "40"]),
    ([{"name": "Normalize", "mean": [0.5], "std": [0.5]}], ["data.augment[0]", "Normalize", "uint8"]),
    ([{"name": "Grayscale"}], ["data.augment[0]", "Grayscale", "[1, 12, 12]"]),
    ([{"name": "GaussianBlur", "kernel_size": 3}, {"name": "ToDtype", "dtype": torch.float32}],
     ["data.augment[1]", "torch.float32"]),
    ([{"name": "MixUp", "num_classes": 3}], ["data.augment[0]", "MixUp"]),
])  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(stack: list[dict[str, Any]], words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        augment(stack)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_pictures_of_different_sizes_are_refused() -> None:
    a = augment([{"name": "RandomResize", "min_size": 8, "max_size": 20}])
    with pytest.raises(RecipeError, match="different sizes"):
        run(a, pictures(), list(range(8)))


def test_names_are_those_of_torchvision() -> None:
    assert {"RandomHorizontalFlip", "ColorJitter", "RandAugment", "RandomErasing"} <= set(names())
    assert "Transform" not in names()
