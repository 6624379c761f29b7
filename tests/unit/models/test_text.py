"""Nets for texts: what is padding changes nothing, names and arguments are checked, weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from torchkiln.codec.text import NgramCodec, TokenCodec
from torchkiln.errors import ModelError
from torchkiln.models.text import NgramBag, TextTransformer, build, text_mask
from torchkiln.recipe.schema import Model

TEXTS = pl.DataFrame({"text": ["a good film", "a bad film", "not good at all", "the plot was dull"]})
NGRAMS = NgramCodec.fit(TEXTS, "text")
TOKENS = TokenCodec.fit(TEXTS, "text", 24, 300)
SMALL: dict[str, dict[str, Any]] = {
    "ngram_bag": {"width": 8, "word_width": 6, "channels": 5},
    "transformer": {"width": 16, "heads": 2},
}


def net_of(name: str, **more: Any) -> nn.Module:
    torch.manual_seed(0)
    codec = NGRAMS if name == "ngram_bag" else TOKENS
    return build(Model(**{"name": name, "args": SMALL.get(name, {}), **more}), codec, 3)


def inputs(net: nn.Module, text: str, more: int) -> tuple[Tensor, ...]:
    """A text as the net takes it, with `more` places of padding behind."""
    codec = NGRAMS if isinstance(net, NgramBag) else TOKENS
    arrays = codec.encode(pl.DataFrame({"text": [text]}))
    found = [torch.from_numpy(a.values)[None] for a in arrays.values()]  # type: ignore[union-attr]
    pads = {"ids": getattr(codec, "pad", 0), "weights": 0.0, "words": 0}
    rows = zip(arrays, found, strict=True)
    return tuple(nn.functional.pad(f, (0, more), value=pads[name]) for name, f in rows)


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("text", ["not good at all", "film", "zebra", ""])
def test_padding_changes_nothing(name: str, text: str) -> None:
    net = net_of(name).eval()
    if isinstance(net, NgramBag):  # filters and biases that padding would wake
        nn.init.normal_(net.convolutions.filters[2].bias, std=3.0)
    tight = net(*inputs(net, text, 1 if text in ("", "zebra") else 0))
    wide = net(*inputs(net, text, 9))
    assert torch.isfinite(tight).all()
    torch.testing.assert_close(tight, wide, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(tight, net(*inputs(net, "the plot was dull", 0)), atol=1e-3)


def test_padding_is_never_learnt_from() -> None:
    net = net_of("ngram_bag").train()
    assert isinstance(net, NgramBag)
    net(*inputs(net, "a good film", 5)).square().sum().backward()
    for table in (net.bag.embedding, net.convolutions.embedding):
        assert table.weight.grad is not None
        assert table.weight.grad[1:].abs().sum() > 0
        assert table.weight.grad[0].abs().sum() == 0
    assert net.convolutions.embedding.weight[0].abs().sum() == 0


def test_the_bag_is_linear_in_the_weights_and_each_member_has_outputs() -> None:
    net = net_of("ngram_bag").eval()
    ids, weights, words = inputs(net, "a good film", 0)
    assert net(ids, weights, words).shape == (1, 2, 3)
    once, twice, none = (net(ids, weights * k, words)[:, 0] for k in (1, 2, 0))
    torch.testing.assert_close(twice - none, 2 * (once - none))


def test_order_matters_to_the_nets_over_words() -> None:
    for name in SMALL:
        net = net_of(name).eval()
        first, second = (net(*inputs(net, t, 0)) for t in ("not good at all", "all at good not"))
        assert not torch.allclose(first[..., -1, :], second[..., -1, :], atol=1e-4), name


@pytest.mark.parametrize("name", list(SMALL))
def test_dropout_is_for_training_only(name: str) -> None:
    net = net_of(name)
    given = inputs(net, "not good at all", 0)
    assert torch.equal(net.eval()(*given), net(*given))
    assert not torch.equal(net.train()(*given), net(*given))


def test_the_mask_of_a_text() -> None:
    ids = torch.tensor([[5, 6, 0], [0, 0, 0]])
    assert text_mask(ids, 0).tolist() == [[True, True, False], [True, False, False]]


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ModelError, match="unknown net for texts 'ngram_bags': did you mean 'ngram_bag'"):
        build(Model(name="ngram_bags"), NGRAMS, 2)
    with pytest.raises(ModelError, match=r"model.args: ngram_bag does not take 'widht': did you mean 'width'"):
        net_of("ngram_bag", args={"widht": 3})
    with pytest.raises(ModelError, match=r"transformer cannot be built.*width 10 is no multiple of heads 4"):
        net_of("transformer", args={"width": 10})
    with pytest.raises(ModelError, match="nobody published weights for transformer"):
        net_of("transformer", pretrained=True)
    with pytest.raises(ModelError, match="ngram_bag has a head for each"):
        net_of("ngram_bag", head={"class_path": "torch.nn.Linear"})


def test_a_head_of_ones_own() -> None:
    net = net_of("transformer", head={"class_path": "torch.nn.Linear", "init_args": {"bias": False}})
    assert isinstance(net, TextTransformer)
    assert net.head.bias is None
    assert {n.split(".")[0] for n, _ in net.named_parameters()} == {"backbone", "head"}
    assert net(*inputs(net, "a film", 0)).shape == (1, 3)


def test_weights_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    first = net_of("transformer")
    nn.init.normal_(first.backbone.norm.bias)  # type: ignore[union-attr, arg-type]
    save_file(first.state_dict(), file)
    again = net_of("transformer", pretrained=str(file))
    assert torch.equal(again.state_dict()["backbone.norm.bias"], first.state_dict()["backbone.norm.bias"])
    other = build(Model(name="transformer", args=SMALL["transformer"], pretrained=str(file)), TOKENS, 5)
    assert other(torch.ones(1, 2, dtype=torch.long)).shape == (1, 5), "the head is made anew"
    with pytest.raises(ModelError, match=r"does not fit the net: .*such as 'backbone"):
        net_of("transformer", args={"width": 8}, pretrained=str(file))
    with pytest.raises(ModelError, match="no file of weights in safetensors"):
        net_of("transformer", pretrained=str(tmp_path / "none.safetensors"))
    (tmp_path / "bad.safetensors").write_bytes(b"pickle?")
    with pytest.raises(ModelError, match="no file of weights in safetensors"):
        net_of("transformer", pretrained=str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize("name", list(SMALL))
def test_it_can_be_exported_with_free_sizes(name: str) -> None:
    net = net_of(name).eval()
    given = tuple(torch.cat([i, i]) for i in inputs(net, "not good at all", 2))
    batch, lengths = torch.export.Dim("batch"), torch.export.Dim("length", min=2, max=20)
    words = torch.export.Dim("words", min=3)
    shapes = [{0: batch, 1: lengths}, {0: batch, 1: lengths}, {0: batch, 1: words}][: len(given)]
    if len(given) == 3:
        shapes[:2] = [{0: batch, 1: torch.export.Dim("ngrams", min=2)}] * 2
    exported = torch.export.export(net, given, dynamic_shapes=tuple(shapes)).module()
    other = inputs(net, "the plot was dull", 1)
    torch.testing.assert_close(exported(*other), net(*other), rtol=1e-5, atol=1e-5)
