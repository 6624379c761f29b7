"""The defaults suit the texts, and the parts fit together from texts to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from torchkiln.codec.base import Codec
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.data.source import Source
from torchkiln.data.store import ArrayStore
from torchkiln.errors import ModelError
from torchkiln.models.text import NgramBag, TextTransformer
from torchkiln.recipe.load import resolve
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks.text_classification import TextClassification, bag, cut_texts
from torchkiln.training.optimization import build_optimizer

GOOD, BAD = ["bright", "warm", "lovely", "fine"], ["dull", "cold", "awful", "poor"]
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def source(count: int = 80, classes: int = 2) -> Source:
    random = np.random.default_rng(0)
    texts, labels = [], []
    for i in range(count):
        words = [*random.choice(GOOD if i % 2 else BAD, 2), *random.choice(["film", "plot", "actor"], 3)]
        texts.append(" ".join(random.permutation(words)))
        labels.append(["bad", "good"][i % 2] if classes == 2 else f"c{i % classes}")
    split = ["train" if i % 4 else "val" for i in range(count)]
    columns = {"key": [str(i) for i in range(count)], "split": split, "comment": texts, "mood": labels}
    return Source("text", pl.DataFrame(columns), Path(), "")


def resolved(given: Source, **more: Any) -> Recipe:
    data = {"path": "texts.csv", "target": "mood", **more.pop("data", {})}
    recipe = Recipe.model_validate({"task": "text_classification", "data": data, **more})
    return resolve(recipe, TextClassification.defaults(given, recipe))


def task_of(given: Source, **more: Any) -> TextClassification:
    recipe = resolved(given, **more)
    codec, _ = TextClassification.fit_codec(given.rows("train"), recipe)
    return TextClassification(recipe, codec)


def learnt(task: TextClassification, given: Source, steps: int) -> float:
    """Accuracy on the validation rows after some steps on the training rows."""
    torch.manual_seed(0)
    stores = {}
    for split in ("train", "val"):
        rows = given.rows(split)
        stores[split] = ArrayStore(task.codec.inputs.encode(rows), task.codec.target.encode(rows["mood"]))
    net = task.build()
    criterion = task.criterion(stores["train"].target)  # type: ignore[arg-type]
    optimizer = build_optimizer(net, task.recipe.optimizer)
    random = np.random.default_rng(0)
    net.train()
    for _ in range(steps):
        batch = stores["train"].take(random.integers(0, len(stores["train"]), 16), 0)
        optimizer.zero_grad()
        task.loss(criterion, task.forward(net, batch), batch).backward()
        optimizer.step()
    net.eval()
    batch = stores["val"].take(np.arange(len(stores["val"])), 0)
    with torch.no_grad():
        found = task.predict(task.forward(net, batch))
    assert found.shape == (len(stores["val"]), 2)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(len(found)))
    return float((found.argmax(dim=1) == batch["target"]).float().mean())


@pytest.mark.parametrize(
    ("model", "codec", "steps"),
    [
        ({}, NgramCodec, 60),
        ({"name": "transformer", "args": {"width": 32}}, TokenCodec, 60),
        ({"name": "hf:bert", "args": TINY, "pretrained": False}, TokenCodec, 120),
    ],
)
def test_every_net_learns(model: dict[str, Any], codec: type, steps: int) -> None:
    given = source()
    task = task_of(given, model=model, optimizer={"lr": 5e-3})
    assert isinstance(task.codec.inputs, codec)
    assert learnt(task, given, steps) > 0.9


def test_the_default_is_the_bag_and_finds_the_column() -> None:
    recipe = resolved(source())
    assert recipe.data.text == "comment"
    assert recipe.model.name == "ngram_bag"
    assert recipe.train.monitor == "log_loss"
    assert recipe.optimizer.groups[0].match == "bag.*"
    task = task_of(source())
    assert isinstance(task.build(fresh=False), NgramBag)
    assert isinstance(task_of(source(), model="transformer").build(fresh=False), TextTransformer)


def test_defaults_go_by_sizes_alone() -> None:
    few, many = bag(200, 2), bag(1_000_000, 2)
    assert few["train"]["batch_size"] < many["train"]["batch_size"]
    assert few["train"]["epochs"] > many["train"]["epochs"] == 3
    rates = [bag(9000, n)["optimizer"]["groups"][0]["lr"] for n in (2, 8, 77, 1000)]
    assert rates == [1e-3, 2e-3, 5e-3, 5e-3]
    assert resolved(source(), model="hf:bert").model.pretrained is False
    chosen = resolved(source(), train={"epochs": 2}, data={"text": "comment", "max_tokens": 7}, model="transformer")
    assert (chosen.train.epochs, chosen.data.max_tokens) == (2, 7)


def test_a_wrong_name_is_refused_before_any_work() -> None:
    with pytest.raises(ModelError, match=r"unknown net for texts 'ngrambag': did you mean 'ngram_bag'.*hf:NAME"):
        resolved(source(), model="ngrambag")


class Own(nn.Module):
    """A net of the person's own."""

    def __init__(self, tokens: int = 8000) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(tokens, 4), nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert mask.dtype == torch.bool
        assert ids.shape == mask.shape
        rows = self.embedding(ids) * mask[..., None]
        out: torch.Tensor = self.head(rows.sum(dim=1) / mask.sum(dim=1, keepdim=True))
        return out


def test_a_net_of_ones_own_gets_ids_and_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.models.own.load_object", lambda path, where: Own)
    given = source()
    task = task_of(given, model={"class_path": "mine.Own"}, optimizer={"lr": 0.02})
    assert isinstance(task.codec.inputs, TokenCodec)
    assert learnt(task, given, 80) > 0.9


@pytest.mark.parametrize("model", [{}, {"name": "transformer", "args": {"width": 16}}])
def test_saved_and_read_it_predicts_the_same(model: dict[str, Any], tmp_path: Path) -> None:
    given = source()
    task = task_of(given, model=model)
    net = task.build().eval()
    again = TextClassification(task.recipe, Codec.from_state(task.codec.state(tmp_path), tmp_path))
    other = again.build(fresh=False).eval()
    other.load_state_dict(net.state_dict())
    rows = given.rows("val")
    first, second = (
        t.forward(n, ArrayStore(t.codec.inputs.encode(rows), None).take(np.arange(5), 0))
        for t, n in ((task, net), (again, other))
    )
    assert torch.equal(first, second)


def test_long_texts_are_told() -> None:
    train = source().rows("train")
    long = train.with_columns(comment=pl.lit("film " * 300) + pl.col("comment"))
    made = TokenCodec.fit(long, "comment", 64, 300)
    (finding,) = cut_texts(made, pl.concat([train, long]))
    assert finding.code == "texts_cut"
    assert f"{len(long)} of {2 * len(train)} training texts are longer than 64 tokens" in finding.text
    assert "data.max_tokens" in finding.text
    assert cut_texts(NgramCodec.fit(train, "comment"), train) == []
    (words,) = cut_texts(NgramCodec.fit(train, "comment", 4), train)
    assert "longer than 4 words (the longest has 5)" in words.text
