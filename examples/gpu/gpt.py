"""A GPT as in GPT-2, without biases: the net, its loss, and tokens to train it on.

Shapes: B batch, T tokens, V vocabulary.
"""

import itertools
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset


class Block(nn.Module):
    """Attention to earlier tokens, then two layers on each token, both added to their input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*split, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.down(F.gelu(self.up(self.norm_2(x))))
        return out


class GPT(nn.Module):
    """Tokens [B, T] to outputs [B, T, V]; as it stands, 124 million parameters.

    Args:
        vocabulary: Kinds of tokens; 50257 of GPT-2, filled up to a multiple of 64.
        length: Most tokens in a row.
        layers, heads, width: Of the transformer.
    """

    def __init__(
        self, vocabulary: int = 50304, length: int = 1024, layers: int = 12, heads: int = 12, width: int = 768
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                ends = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / (2 * layers) ** 0.5 if ends else 0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x) + self.places.weight[: x.shape[1]]
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)  # the embedding is the last layer too


class TokenLoss(nn.Module):
    """Mean cross-entropy of the next token: outputs [B, T, V], targets [B, T]."""

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output.flatten(0, 1), target.flatten())


class Windows(Dataset[tuple[Tensor, Tensor]]):
    """Stretches of `length` tokens that do not overlap, and the same moved on by one."""

    def __init__(self, tokens: Any, length: int) -> None:
        self.tokens, self.length = tokens, length

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        row = torch.from_numpy(self.tokens[index * self.length : (index + 1) * self.length + 1].astype(np.int64))
        return row[:-1], row[1:]


def tokens(
    path: str | None = None, length: int = 1024, windows: int = 6000, vocabulary: int = 50257
) -> tuple[Windows, Windows, Windows]:
    """Training, validation and test windows; the last two are 2 % each, from the end.

    Args:
        path: A file of uint16 tokens; None: `windows` random ones.
        length: Tokens a window.
        windows: How many random windows.
        vocabulary: Kinds of random tokens.
    """
    if path is None:
        every: Any = np.random.default_rng(0).integers(0, vocabulary, windows * length + 1, dtype=np.uint16)
    else:
        every = np.memmap(path, np.uint16, mode="r")
    few = max(1, (len(every) - 1) // length // 50) * length
    cuts = [0, len(every) - 2 * few - 1, len(every) - few - 1, len(every)]
    train, val, test = (Windows(every[a : b + 1], length) for a, b in itertools.pairwise(cuts))
    return train, val, test
