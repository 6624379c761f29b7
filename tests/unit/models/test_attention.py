"""Self-attention against PyTorch's own module, with the same weights."""

import torch
from torch import nn

from torchkiln.models.attention import SelfAttention


def test_it_is_multi_head_attention_and_looks_only_where_it_may() -> None:
    torch.manual_seed(0)
    ours, theirs = SelfAttention(8, 2, 0.0), nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data = ours.queries_keys_values.weight
    theirs.in_proj_bias.data = ours.queries_keys_values.bias
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, inside = torch.randn(3, 5, 8), torch.arange(5)[None] < torch.tensor([5, 3, 1])[:, None]
    wanted, _ = theirs(x, x, x, key_padding_mask=~inside)
    torch.testing.assert_close(ours(x, inside[:, None, None, :]), wanted)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0])


def test_dropout_is_for_training_only() -> None:
    attention, x = SelfAttention(8, 2, 0.9), torch.randn(2, 6, 8)
    assert not torch.equal(attention.train()(x), attention(x))
    assert torch.equal(attention.eval()(x), attention(x))
