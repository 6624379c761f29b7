"""Texts into classes."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import polars as pl
from torch import Tensor, nn

from torchkiln.codec.base import Codec, InputCodec
from torchkiln.codec.target import Labels
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.data import facts
from torchkiln.data.source import Finding, Kind, Source
from torchkiln.data.store import Batch
from torchkiln.errors import RecipeError
from torchkiln.models import hugging_face, own
from torchkiln.models import text as nets
from torchkiln.recipe.schema import Recipe
from torchkiln.tasks._base import FEATURES
from torchkiln.tasks._classification import Classification

MAX_TOKENS = 256
"""Longest text of a net over tokens, where the recipe says nothing: its cost grows with the square."""
VOCABULARY = 8000
"""Most ids of a tokenizer that is trained on the texts."""


class TextClassification(Classification):
    """A table with a column of texts and one of labels."""

    name: ClassVar[str] = "text_classification"
    source_kind: ClassVar[Kind] = "text"

    @classmethod
    def defaults(cls, source: Source, recipe: Recipe) -> dict[str, Any]:
        model, rows = recipe.model, len(source.rows("train"))
        target = recipe.data.target or "label"
        column = recipe.data.text or facts.text_column(source.frame, target)
        data: dict[str, Any] = {"text": column}
        if model.class_path:
            return {"data": {**data, "max_tokens": MAX_TOKENS}, **from_nothing(rows, 1e-3)}
        name = model.name or nets.BAG
        nets.check_name(name)
        if name == nets.BAG:
            return {
                "data": data,
                "model": {"name": name},
                **bag(rows, source.rows("train")[target].n_unique()),
            }
        data["max_tokens"] = MAX_TOKENS
        if name == nets.TRANSFORMER:
            return {"data": data, "model": {"name": name}, **from_nothing(rows, 1e-3)}
        wanted = model.pretrained
        published = wanted is True or (wanted == "auto" and hugging_face.weights_in_reach(name))
        settings = finetuned(rows) if published else from_nothing(rows, 5e-4)
        return {"data": data, "model": {"name": name, "pretrained": published}, **settings}

    @classmethod
    def fit_codec(cls, train: pl.DataFrame, recipe: Recipe) -> tuple[Codec, list[Finding]]:
        column, model, most = recipe.data.text, recipe.model, recipe.data.max_tokens
        if column is None:
            raise RecipeError("data.text: name the column that holds the text")
        target = Labels.fit(train[recipe.data.target or "label"])
        inputs: NgramCodec | TokenCodec
        findings: list[Finding] = []
        if (model.name or nets.BAG) == nets.BAG and not model.class_path:
            inputs = NgramCodec.fit(train, column, most)
        elif (model.name or "").startswith(nets.HUGGING_FACE):
            inputs, note = hugging_face.fit_codec(train, column, model, most or MAX_TOKENS, VOCABULARY)
            findings = [Finding("own_tokenizer", "note", note)] if note else []
        else:
            inputs = TokenCodec.fit(train, column, most or MAX_TOKENS, VOCABULARY)
        return Codec(inputs, target), [*findings, *cut_texts(inputs, train)]

    def build(self, fresh: bool = True) -> nn.Module:
        model, inputs = self.recipe.model, self.codec.inputs
        if model.class_path:
            net: nn.Module = own.build(model)
            return net
        if (model.name or "").startswith(nets.HUGGING_FACE):
            assert isinstance(inputs, TokenCodec)
            return hugging_face.build(model, inputs, self.classes, fresh=fresh)
        return nets.build(model, inputs, len(self.classes))

    def features(self, net: nn.Module, batch: Batch) -> Tensor | None:
        return net.features(batch["ids"].long()) if isinstance(net, nets.TextTransformer) else None

    def forward(self, net: nn.Module, batch: Batch) -> Tensor:
        if FEATURES in batch:
            output: Tensor = net.head(batch[FEATURES])  # type: ignore[operator]
            return output
        ids = batch["ids"]
        if "weights" in batch:
            output = net(ids, batch["weights"], batch["words"])
        elif self.recipe.model.class_path:
            assert isinstance(self.codec.inputs, TokenCodec)
            output = net(ids.long(), nets.text_mask(ids, self.codec.inputs.pad))
        else:
            output = net(ids.long())
        return output


def bag(rows: int, classes: int) -> dict[str, Any]:
    """Defaults for n-grams beside convolutions, measured on 7,000 film reviews and 9,000 bank questions.

    Args:
        rows: Of the training split.
        classes: With two, a few steps of the n-grams are enough and more overfit; with many, each sees few.
    """
    lr = round(min(5e-3, 1e-3 * math.sqrt(classes / 2)), 5)
    return {
        "optimizer": {
            "name": "adamw",
            "lr": 2e-3,
            "weight_decay": 0.01,
            "groups": [{"match": "bag.*", "lr": lr}],
        },
        "scheduler": {"name": "cosine", "warmup": 0.1},
        "train": {
            "epochs": min(60, max(3, round(130_000 / max(1, rows)))),
            "batch_size": 16 if rows < 1000 else 64,
            "ema": 0.99,
            "monitor": "log_loss",
            "early_stopping": {"patience": 4},
        },
    }


def from_nothing(rows: int, lr: float) -> dict[str, Any]:
    """Defaults for a transformer whose weights begin at random.

    Args:
        rows: Of the training split.
        lr: Learning rate.
    """
    return {
        "optimizer": {"name": "adamw", "lr": lr, "weight_decay": 0.01},
        "scheduler": {"name": "cosine", "warmup": 0.1},
        "train": {
            "epochs": min(40, max(3, round(100_000 / max(1, rows)))),
            "batch_size": 16 if rows < 1000 else 32,
            "clip": {"norm": 1.0},
            "early_stopping": {"patience": 5},
        },
    }


def finetuned(rows: int) -> dict[str, Any]:
    """Defaults for published weights: a low rate and few epochs, as their authors advise.

    Args:
        rows: Of the training split.

    References:
        Devlin et al., "BERT", arXiv:1810.04805, appendix A.3.
    """
    return {
        "optimizer": {
            "name": "adamw",
            "lr": 5e-5,
            "weight_decay": 0.01,
            "groups": [{"match": "head.*", "lr": 5e-4}],
        },
        "scheduler": {"name": "linear", "warmup": 0.1},
        "train": {
            "epochs": min(20, max(3, round(20_000 / max(1, rows)))),
            "batch_size": 16,
            "clip": {"norm": 1.0},
        },
    }


def cut_texts(codec: InputCodec, train: pl.DataFrame) -> list[Finding]:
    """A word on training texts that are longer than the codec reads."""
    assert isinstance(codec, NgramCodec | TokenCodec)
    most = codec.max_words if isinstance(codec, NgramCodec) else codec.max_tokens
    unit = "words" if isinstance(codec, NgramCodec) else "tokens"
    lengths = codec.lengths(train)
    over = lengths > most
    if not over.any():
        return []
    text = (
        f"{int(over.sum()):,} of {len(lengths):,} training texts are longer than {most:,} {unit} "
        f"(the longest has {int(lengths.max()):,}) and are cut there; data.max_tokens sets the limit"
    )
    return [Finding("texts_cut", "warn", text, train.filter(pl.Series(over))["key"].head(20).to_list())]
