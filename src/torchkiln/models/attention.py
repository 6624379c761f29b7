"""Self-attention, for the nets of our own that use it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Each place of a sequence looks at the others: PyTorch's scaled dot product between two linear layers.

    Args:
        width: Of a place; a multiple of `heads`.
        heads: Looks at once.
        dropout: Of the looks, in training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.p = heads, dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, L, E] to the same; `mask` [B, 1, 1, L] is true where there is something to look at."""
        b, length, _ = x.shape
        parts = self.queries_keys_values(x).view(b, length, 3, self.heads, -1)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        dropout = self.p if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result
