"""Every built-in net, and some of torchvision's and Hugging Face's: trained, exported and proven, a row each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import torchkiln
from torchkiln import bundle
from torchkiln.models import images, tables, text
from torchkiln.recipe.schema import Model

TEXT = {"task": "text_classification", "data": {"path": "texts.csv", "text": "text", "target": "label"}}
CLASSES = {"task": "table_classification", "data": {"path": "rows.csv", "target": "label"}}
NUMBERS = {"task": "table_regression", "data": {"path": "rows.csv", "target": "price"}}
PICTURES = {"task": "image_classification", "data": {"path": "pictures", "image_size": 32}}
SMALL_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    **{f"classes {name}": (CLASSES, {"name": name}) for name in ("tabm", "mlp", "ft_transformer")},
    **{f"numbers {name}": (NUMBERS, {"name": name}) for name in ("tabm", "mlp", "ft_transformer")},
    "text ngram_bag": (TEXT, {"name": "ngram_bag"}),
    "text transformer": (TEXT, {"name": "transformer"}),
    "text hf:bert": (TEXT, {"name": "hf:bert", "pretrained": False, "args": SMALL_BERT}),
    **{
        f"pictures {name}": (PICTURES, {"name": name, "pretrained": False})
        for name in ("small_conv", "resnet18", "mobilenet_v3_small", "efficientnet_b0", "vit_b_16")
    },
}
SLOW_STATISTICS = ("mobilenet_v3_small", "efficientnet_b0")
"""Nets whose batch statistics take thousands of steps: they begin with those of the pictures, and learn their head."""
WORDS = {"garden": ["soil", "seed", "rose", "water", "tree"], "kitchen": ["salt", "oven", "bread", "spoon", "soup"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, texts and pictures, made from a seed."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x, plan = rng.normal(size=300), rng.choice(["basic", "pro", "team"], 300)
    score = x + (plan == "pro") + 0.2 * rng.normal(size=300)
    rows = {"x": np.where(rng.random(300) < 0.1, np.nan, x), "z": rng.normal(size=300), "plan": plan,
            "label": np.where(score > 0.3, "yes", "no"), "price": 100 * score}  # fmt: skip
    pl.DataFrame(rows).with_columns(pl.col("x").fill_nan(None)).write_csv(folder / "rows.csv")
    labels = rng.choice(list(WORDS), 200)
    texts = [" ".join(rng.choice(WORDS[label], int(rng.integers(1, 12)))) for label in labels]
    pl.DataFrame({"text": texts, "label": labels}).write_csv(folder / "texts.csv")
    for level, name in ((0, "dark"), (90, "light")):
        (folder / "pictures" / name).mkdir(parents=True)
        for i in range(40):
            picture = rng.integers(level, level + 160, (36, 32, 3), dtype=np.uint8)
            Image.fromarray(picture).save(folder / "pictures" / name / f"{i}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_exports_and_proves(case: str, folder: Path, tmp_path: Path) -> None:
    given, model = CASES[case]
    data = {**given["data"], "path": str(folder / given["data"]["path"]), "workers": 0}
    train = {"epochs": 8, "threads": 1, "precision": "32", "batch_size": 8}
    learns: dict[str, Any] = {"optimizer": {"name": "adamw", "lr": 2e-3}} if "bert" in case else {}
    if model["name"] in SLOW_STATISTICS:  # else its answers have no spread, and prove nothing
        model = {**model, "pretrained": str(with_statistics(model["name"], folder)), "freeze": "backbone"}
        learns = {"optimizer": {"name": "adamw", "lr": 1e-2}}
    elif not learns:
        train["epochs"] = 2
    run = torchkiln.fit({**given, "data": data, "model": model, "train": train, **learns}, out=tmp_path / "run")
    # An EfficientNet that has only its statistics is so fine-tuned that torch differs from itself between batch sizes.
    alone = case in ("pictures vit_b_16", "pictures efficientnet_b0")
    found = run.export(formats=["onnx"] if alone else ["onnx", "pt2"])
    assert found["ok"], found["table"]
    made = bundle.load(found["bundle"])
    lines = (made.path / "golden.jsonl").read_text().splitlines()
    assert len(lines) == 16
    for line in map(json.loads, lines):
        (answer,) = made.predict(line["record"])
        wanted = line["answer"]["prediction"]
        assert answer["prediction"] == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-4))


def with_statistics(name: str, folder: Path) -> Path:
    """Weights from nothing, whose batch normalisation knows the pictures."""
    torch.manual_seed(0)
    net = images.build(Model(name=name, pretrained=False), 2, 32)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean over all batches
    pictures = [np.asarray(Image.open(p).resize((32, 32))) for p in sorted((folder / "pictures").rglob("*.png"))]
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2))
    save_file(net.state_dict(), folder / f"{name}.safetensors")
    return folder / f"{name}.safetensors"


def test_all_nets_of_ours_are_in_the_table() -> None:
    ours = {*tables.NETS, images.OWN, text.BAG, text.TRANSFORMER}
    assert ours <= {case.split()[1] for case in CASES}
