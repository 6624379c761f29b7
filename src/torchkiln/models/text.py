"""Nets for texts: counted n-grams beside convolutions over words, and a small transformer.

Shapes: B texts of a batch, L ids of the longest, W words of the longest, C classes, E width.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from torchkiln.codec.base import InputCodec
from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.errors import ModelError
from torchkiln.models import adapt
from torchkiln.models.attention import SelfAttention
from torchkiln.recipe.schema import Model
from torchkiln.registry import did_you_mean

BAG, TRANSFORMER = "ngram_bag", "transformer"
HUGGING_FACE = "hf:"
"""Prefix of a name or folder of the Hugging Face library."""
UNKNOWN_WORD = 1


def build(model: Model, codec: InputCodec, classes: int) -> nn.Module:
    """One of our own nets for texts, by the recipe.

    Args:
        model: `pretrained` is a file of weights, or false or auto for none.
        codec: What makes the net's inputs.
        classes: C.

    Raises:
        ModelError: The name, an argument or the weights do not fit.
    """
    name = model.name or BAG
    check_name(name)
    made = NgramBag if name == BAG else TextTransformer
    sizes: dict[str, Any] = {}
    if isinstance(codec, NgramCodec):
        sizes = {"ngrams": codec.size, "words": codec.word_size}
    elif isinstance(codec, TokenCodec):
        sizes = {"tokens": codec.size, "pad": codec.pad, "most": codec.max_tokens}
    known = [p for p in inspect.signature(made).parameters if p not in (*sizes, "classes")]
    for key in model.args:
        if key not in known:
            raise ModelError(f"model.args: {name} does not take {key!r}{did_you_mean(key, known)}")
    try:
        net = made(**sizes, classes=classes, **model.args)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"model.args: {name} cannot be built from {model.args} ({error})") from error
    if model.head is not None:
        _replace_head(net, model, classes)
    if model.pretrained is True:
        raise ModelError(f"model.pretrained: nobody published weights for {name}; name a file or say false")
    if isinstance(model.pretrained, str) and model.pretrained != "auto":
        _load_weights(net, Path(model.pretrained))
    return net


def check_name(name: str) -> None:
    """A net of ours, or the name of one of Hugging Face's.

    Raises:
        ModelError: It is neither.
    """
    if name in (BAG, TRANSFORMER) or name.removeprefix(HUGGING_FACE) not in ("", name):
        return
    hint = did_you_mean(name, (BAG, TRANSFORMER))
    raise ModelError(
        f"model.name: unknown net for texts {name!r}{hint}; Hugging Face's are called hf:NAME or hf:FOLDER"
    )


class NgramBag(nn.Module):
    """Two members with a loss of their own: a weighted sum of n-grams, and convolutions over the words.

    The first holds what a linear model of TF-IDF knows; the second sees the order of words. Each is
    wrong in other places, so their mean is better than both.

    Args:
        ngrams: Ids of n-grams, 0 for padding included.
        words: Ids of words, 0 for padding and 1 for an unknown one included.
        classes: C.
        width: E of an n-gram.
        word_width: E of a word.
        channels: Filters of each length of the convolutions.
        windows: Lengths of the filters, in words.
        ngram_dropout: Share of a text's n-grams left out in training.
        word_dropout: Share of words taken as unknown in training.
        dropout: Share dropped of the word's embeddings, and of what the convolutions found.
    """

    def __init__(
        self,
        ngrams: int,
        words: int,
        classes: int,
        *,
        width: int = 64,
        word_width: int = 96,
        channels: int = 96,
        windows: tuple[int, ...] = (1, 2, 3),
        ngram_dropout: float = 0.5,
        word_dropout: float = 0.2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.bag = _Bag(ngrams, classes, width, ngram_dropout)
        self.convolutions = _Convolutions(words, classes, word_width, channels, windows, word_dropout, dropout)

    def forward(self, ids: Tensor, weights: Tensor, words: Tensor) -> Tensor:
        """[B, 2, C], from ids [B, L], weights [B, L] and words [B, W], all padded with 0."""
        return torch.stack([self.bag(ids, weights), self.convolutions(words)], dim=1)


class _Bag(nn.Module):
    def __init__(self, size: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.EmbeddingBag(size, width, mode="sum", padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.01)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor, weights: Tensor) -> Tensor:
        # Padding has weight 0 and an id whose row is never stepped.
        weights = self.dropout(weights)
        if torch.compiler.is_exporting():  # the fused sum, which passes by padding, is traced for two texts or more
            weights = weights.masked_fill(ids == 0, 0.0)
            summed = torch.bmm(weights[:, None, :], F.embedding(ids, self.embedding.weight))[:, 0]
        else:
            summed = self.embedding(ids, per_sample_weights=weights)
        output: Tensor = self.head(summed)
        return output


class _Convolutions(nn.Module):
    def __init__(
        self, size: int, classes: int, width: int, channels: int, windows: tuple[int, ...],
        word_dropout: float, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(size, width, padding_idx=0)
        with torch.no_grad():
            self.embedding.weight[1:].normal_(std=0.3)
        self.filters = nn.ModuleList(nn.Conv1d(width, channels, n, padding=n // 2) for n in windows)
        self.word_dropout, self.dropout = word_dropout, nn.Dropout(dropout)
        self.head = nn.Linear(channels * len(windows), classes)

    def forward(self, words: Tensor) -> Tensor:
        inside = words > 0
        if self.training and self.word_dropout:
            lost = torch.rand(words.shape, device=words.device) < self.word_dropout
            words = words.masked_fill(lost & inside, UNKNOWN_WORD)
        embedded = self.dropout(self.embedding(words)).transpose(1, 2)
        found = [self._strongest(f(embedded)[..., : words.shape[1]], inside) for f in self.filters]
        output: Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return output

    @staticmethod
    def _strongest(response: Tensor, inside: Tensor) -> Tensor:
        """[B, channels]: behind a ReLU, padding set to 0 never wins, nor does it leave no text undefined."""
        return (F.relu(response) * inside[:, None, :]).amax(dim=2)


class TextTransformer(nn.Module):
    """A small transformer encoder over a text's tokens, averaged.

    Args:
        tokens: Ids there are.
        pad: The id of padding.
        most: Longest text, in tokens.
        classes: C.
        width: E, a multiple of `heads`.
        blocks: Layers of attention.
        heads: Heads of each.
        dropout: Share dropped of embeddings, of attention's weights and of what each layer adds.
    """

    def __init__(
        self,
        tokens: int,
        pad: int,
        most: int,
        classes: int,
        *,
        width: int = 128,
        blocks: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is no multiple of heads {heads}")
        self.pad = pad
        self.backbone = _Encoder(tokens, most, width, blocks, heads, dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """[B, C], from ids [B, L] padded behind."""
        output: Tensor = self.head(self.features(ids))
        return output

    def features(self, ids: Tensor) -> Tensor:
        """What the head is given, [B, E]."""
        mean: Tensor = self.backbone(ids, text_mask(ids, self.pad))
        return mean


def text_mask(ids: Tensor, pad: int) -> Tensor:
    """Where a text is, bool [B, L]; the first place counts always, so that no text is empty."""
    first = torch.arange(ids.shape[1], device=ids.device) == 0
    return (ids != pad) | first


class _Encoder(nn.Module):
    def __init__(self, tokens: int, most: int, width: int, blocks: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Embedding(most, width)
        for table in (self.embedding, self.position):
            nn.init.normal_(table.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_Block(width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        places = torch.arange(ids.shape[1], device=ids.device)
        x = self.dropout(self.embedding(ids) + self.position(places))
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])
        inside = mask[..., None].to(x.dtype)
        mean: Tensor = (self.norm(x) * inside).sum(dim=1) / inside.sum(dim=1)
        return mean


class _Block(nn.Module):
    """Attention and a feed-forward part, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, dropout)
        self.forward_part = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, L, E] to the same; `mask` [B, 1, 1, L] is true where there is something to look at."""
        x = x + self.dropout(self.attention(self.norm_attention(x), mask))
        result: Tensor = x + self.dropout(self.forward_part(self.norm_forward(x)))
        return result


def _replace_head(net: nn.Module, model: Model, classes: int) -> None:
    if not isinstance(net, TextTransformer):
        raise ModelError(f"model.head: {BAG} has a head for each of its members; take {TRANSFORMER} for your own")
    assert model.head is not None
    head: Any = adapt.build_head(model.head, net.head.in_features, classes)
    net.head = head


def _load_weights(net: nn.Module, path: Path) -> None:
    """Fill the net from a file of its own weights; a head of another number of classes stays as it is."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"model.pretrained: {path} is no file of weights in safetensors ({error})") from error
    wanted = net.state_dict()
    fits = {n: t for n, t in tensors.items() if n in wanted and wanted[n].shape == t.shape}
    lacking = [n for n in wanted if n not in fits and "head." not in n]
    if lacking:
        raise ModelError(
            f"model.pretrained: {path} does not fit the net: {len(lacking)} of {len(wanted)} tensors are "
            f"missing or of another shape, such as {lacking[0]!r}"
        )
    net.load_state_dict(fits, strict=False)
