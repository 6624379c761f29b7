"""Pictures: from a folder of JPEGs to augmented batches, the first epoch and later ones, beside torchvision.

    python benchmarks/speed_images.py SYSTEM FOLDER

Run as a program it is one system on one folder. Both cut a random part of each picture, resize it to 128 pixels, and
mirror half of them: torchvision from the whole picture, decoded anew each time; we from the decoded middle square,
which the first epoch writes to the cache. An epoch is all of train/, and val/ without augmentation behind it; our first
one also reads and checks all pictures.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from figures import Figure, in_turns, median, run

COUNT, SIDE, BATCH, LATER = 4000, 128, 32, 3
"""Training pictures (a tenth as many for val), pixels of a side, pictures of a batch, and epochs behind the first."""


def images(folder: Path, env: Path) -> list[Figure]:
    """The row: seconds of the first epoch and of a later one."""
    pictures, here = make(folder / "pictures", COUNT + COUNT // 10), Path(__file__)

    def measured(system: str) -> Callable[[], dict[str, Any]]:
        def once() -> dict[str, Any]:
            cache = folder / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            return run([sys.executable, here, system, pictures], threads=1, TORCHKILN_CACHE=cache)

        return once

    found = in_turns({s: measured(s) for s in ("ours", "torchvision-0", "torchvision-1", "torchvision-2")}, rounds=3)
    first, later = ({s: median(runs, what) for s, runs in found.items()} for what in ("first", "later"))
    figures = []
    for what, seconds, floor in (("first epoch", first, 1.0), ("a later epoch", later, 4.0)):
        others = {s: v for s, v in seconds.items() if s != "ours"}
        ratio = min(others.values()) / seconds["ours"]
        beside = "torchvision with " + ", ".join(f"{s[-1]} workers {v:.2f} s" for s, v in others.items())
        figures.append(
            Figure(
                "images",
                f"{COUNT:,} JPEGs of 320 x 240 to {SIDE} pixels, {what}",
                f"{seconds['ours']:.2f} s, {ratio:.1f}x as fast",
                f">= {floor:g}x",
                beside,
                ratio >= floor,
            )
        )
    parts = ", ".join(f"{what} {median(found['ours'], what):.2f} s" for what in ("read", "checked", "decoded"))
    return [*figures, Figure("images", "of our first epoch", parts, "", "")]  # fmt: skip


def make(folder: Path, count: int) -> Path:
    """JPEGs of 320 x 240 in four folders each of train/ and val/, of about 20 KiB each as photos are."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8)).resize(
            (320, 240), Image.Resampling.BICUBIC
        )
        grain = random.integers(-12, 13, (240, 320, 3))
        picture = Image.fromarray((np.asarray(coarse).astype(np.int16) + grain).clip(0, 255).astype(np.uint8))
        place = folder / ("train" if i < COUNT else "val") / f"class{i % 4}" / f"{i:05d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place, quality=85)
    return folder


def ours(folder: Path) -> tuple[Callable[[int], None], dict[str, float]]:
    """Through the way that `fit` takes: sources, splits, findings, codec, cache, order, augmentation, loader."""
    from torchkiln.data.loader import loader
    from torchkiln.data.order import EvalOrder, TrainOrder
    from torchkiln.recipe.schema import Recipe
    from torchkiln.training.prepare import prepare

    data = {"path": str(folder), "image_size": SIDE, "split": {"test": 0},
            "augment": [{"name": "RandomResizedCrop"}, {"name": "RandomHorizontalFlip"}]}  # fmt: skip
    recipe = Recipe(task="image_classification", data=data, model={"name": "small_conv"})
    times = [time.perf_counter()]

    def noted(given: Any = None) -> Any:
        times.append(time.perf_counter())
        return given

    prepared = prepare(recipe, seen=noted, fitted=noted)
    noted()
    train, val = prepared.stores["train"], prepared.stores["val"]
    order = TrainOrder(len(train), BATCH, seed=0)
    batches = loader(train, order, transform=prepared.task.transform())
    held_out = loader(val, EvalOrder(len(val), 2 * BATCH))

    def epoch(number: int) -> None:
        order.set_epoch(number)
        assert sum(len(b["target"]) for b in batches) == COUNT
        assert sum(len(b["target"]) for b in held_out) == COUNT // 10

    read, checked, decoded = (b - a for a, b in pairwise(times))
    return epoch, {"read": read, "checked": checked, "decoded": decoded}


def theirs(folder: Path, workers: int) -> tuple[Callable[[int], None], dict[str, float]]:
    """As its own examples do: ImageFolder, transforms.v2, a DataLoader that shuffles."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    cut = [v2.PILToTensor(), v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()]
    whole = [v2.PILToTensor(), v2.Resize(SIDE, antialias=True), v2.CenterCrop(SIDE)]
    torch.manual_seed(0)
    settings: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    train = DataLoader(ImageFolder(folder / "train", v2.Compose(cut)), BATCH, shuffle=True, **settings)
    val = DataLoader(ImageFolder(folder / "val", v2.Compose(whole)), 2 * BATCH, **settings)

    def epoch(number: int) -> None:
        assert sum(len(y) for _, y in train) == COUNT
        assert sum(len(y) for _, y in val) == COUNT // 10

    return epoch, {}


def main(system: str, folder: Path) -> None:
    """Print the seconds of the first epoch, from the folder on, of a later one, and the peak memory in MiB."""
    import torchvision.datasets
    import torchvision.transforms.v2  # noqa: F401

    if system == "ours":
        import torchkiln.tasks.image_classification
        import torchkiln.training.prepare  # noqa: F401
    begun = time.perf_counter()
    epoch, parts = ours(folder) if system == "ours" else theirs(folder, int(system[-1]))
    epoch(0)
    first = time.perf_counter() - begun
    begun = time.perf_counter()
    for number in range(1, 1 + LATER):
        epoch(number)
    later = (time.perf_counter() - begun) / LATER
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": first, "later": later, "memory": memory, **parts}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
