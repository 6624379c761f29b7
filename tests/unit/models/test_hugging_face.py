"""Hugging Face's models: from a kind, a folder with or without weights, and no network anywhere."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn

from torchkiln.codec.base import Ragged
from torchkiln.codec.text import TokenCodec
from torchkiln.errors import ModelError
from torchkiln.models import hugging_face as hf
from torchkiln.models.reach import OFFLINE
from torchkiln.recipe.schema import Model

transformers = pytest.importorskip("transformers")

TEXTS = pl.DataFrame({"text": ["a good film", "a bad film", "not good at all", "the plot was dull"] * 3})
SIZES: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 40,
}  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "bert": SIZES,
    "roberta": SIZES,
    "electra": {**SIZES, "embedding_size": 16},
    "distilbert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 40},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40},
}
CLASSES = ["bad", "good", "so so"]


def made(model: Model, *, fresh: bool = True) -> tuple[hf.HuggingFaceNet, TokenCodec]:
    codec, _ = hf.fit_codec(TEXTS, "text", model, 24, 300)
    torch.manual_seed(0)
    return hf.build(model, codec, CLASSES, fresh=fresh), codec


def of_kind(kind: str, **more: Any) -> tuple[hf.HuggingFaceNet, TokenCodec]:
    return made(Model(**{"name": f"hf:{kind}", "args": KINDS[kind], "pretrained": False, **more}))


def ids_of(codec: TokenCodec, text: str, more: int = 0) -> torch.Tensor:
    found = codec.encode(pl.DataFrame({"text": [text]}))["ids"]
    assert isinstance(found, Ragged)
    return nn.functional.pad(torch.from_numpy(found.values).long()[None], (0, more), value=codec.pad)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published model: configuration, weights and tokenizer."""
    net, codec = of_kind("bert")
    net._whole[0].save_pretrained(tmp_path)
    codec.save_files(tmp_path)
    settings = '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 12}'
    (tmp_path / "tokenizer_config.json").write_text(settings)
    return tmp_path


@pytest.mark.parametrize("kind", list(KINDS))
def test_padding_changes_nothing(kind: str) -> None:
    net, codec = of_kind(kind)
    net.eval()
    for parameter in net.parameters():  # their own start is near zero, where little can be told apart
        nn.init.normal_(parameter, std=0.3)
    for text in ("not good at all", "film", ""):
        tight, wide = net(ids_of(codec, text)), net(ids_of(codec, text, 9))
        assert tight.shape == (1, 3)
        torch.testing.assert_close(tight, wide, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(net(ids_of(codec, "film")), net(ids_of(codec, "a bad plot")), atol=1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_its_parts_are_backbone_and_head(kind: str) -> None:
    net, codec = of_kind(kind)
    names = [n for n, _ in net.named_parameters()]
    assert {n.split(".")[0] for n in names} == {"backbone", "head"}
    assert len(names) == len(list(net._whole[0].parameters())), "each parameter once"
    net.train()
    assert net._whole[0].training
    net(ids_of(codec, "a good film")).sum().backward()
    stepped = [n for n, p in net.named_parameters() if p.grad is not None]
    assert any(n.startswith("backbone") for n in stepped)
    assert any(n.startswith("head") for n in stepped)
    net.eval()
    assert not net._whole[0].training


def test_a_copy_is_a_net_of_its_own() -> None:
    net, codec = of_kind("bert")
    other = copy.deepcopy(net).eval()
    with torch.no_grad():
        next(p for n, p in other.named_parameters() if n.startswith("head")).add_(1)
    assert not torch.equal(other(ids_of(codec, "film")), net.eval()(ids_of(codec, "film")))
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(ids_of(codec, "film")), net(ids_of(codec, "film")))


def test_published_weights_tokenizer_and_limit(folder: Path) -> None:
    assert hf.weights_in_reach(f"hf:{folder}")
    net, codec = made(Model(name=f"hf:{folder}", pretrained=True))
    first, _ = of_kind("bert")
    assert codec.max_tokens == 12, "the tokenizer's own limit"
    theirs, ours = net.backbone.state_dict(), first.backbone.state_dict()
    assert all(torch.equal(theirs[n], ours[n]) for n in ours)
    other, _ = made(Model(name=f"hf:{folder}", pretrained=False, args={"hidden_size": 8}))
    assert other.backbone.config.hidden_size == 8, "from nothing, its sizes are free"


def test_a_tokenizer_that_does_not_work(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="no tokenizer that works can be read from"):
        made(Model(name=f"hf:{folder}", pretrained=True))


def test_the_number_of_classes_may_differ(folder: Path) -> None:
    model = Model(name=f"hf:{folder}", pretrained=True)
    codec, _ = hf.fit_codec(TEXTS, "text", model, 24, 300)
    net = hf.build(model, codec, ["a", "b"], fresh=True)
    assert net(ids_of(codec, "film")).shape == (1, 2)


def test_a_configuration_alone(folder: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert not hf.weights_in_reach(str(bare))
    model = Model(name=f"hf:{bare}", pretrained=False, args={"num_hidden_layers": 1, "hidden_dropout_prob": 0.3})
    codec, note = hf.fit_codec(TEXTS, "text", model, 24, 300)
    assert note is not None
    assert "has no tokenizer at hand: one of" in note
    net = hf.build(model, codec, CLASSES, fresh=True)
    config = net._whole[0].config
    assert (config.num_hidden_layers, config.hidden_dropout_prob, config.hidden_size) == (1, 0.3, 16)
    assert config.vocab_size == codec.size
    assert config.id2label == dict(enumerate(CLASSES))
    with pytest.raises(ModelError, match="has no tokenizer at hand"):
        hf.fit_codec(TEXTS, "text", Model(name=f"hf:{bare}", pretrained=True), 24, 300)
    (bare / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(ModelError, match="cannot be built"):
        made(Model(name=f"hf:{bare}", pretrained=True))


def test_it_is_built_again_from_the_codec_alone(folder: Path, tmp_path: Path) -> None:
    model = Model(name=f"hf:{folder}", pretrained=True)
    net, codec = made(model)
    run = tmp_path / "run"
    run.mkdir()
    codec.save_files(run)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    again = TokenCodec.from_state(codec.state(), run)
    other = hf.build(model, again, CLASSES, fresh=False)
    other.load_state_dict(net.state_dict())
    # Weights mapped from a file lie otherwise in memory, so the last bit of a product may differ.
    torch.testing.assert_close(other.eval()(ids_of(again, "film")), net.eval()(ids_of(codec, "film")))


class Wide(nn.Linear):
    """A head of the person's own."""


def test_a_head_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.models.adapt.load_object", lambda path, where: Wide)
    for kind in ("bert", "roberta"):
        net, codec = of_kind(kind, head={"class_path": "mine.Wide"})
        assert any(isinstance(m, Wide) for m in net.head.modules()), kind
        assert net(ids_of(codec, "film")).shape == (1, 3)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="hf:bert has no field 'hidden_sise': did you mean 'hidden_size'"):
        of_kind("bert", args={"hidden_sise": 3})
    with pytest.raises(ModelError, match=r"model.* hf:bert .*multiple of the number of attention heads"):
        of_kind("bert", args={"hidden_size": 13, "num_attention_heads": 2})
    with pytest.raises(ModelError, match="no kind of transformers: did you mean 'roberta'"):
        made(Model(name="hf:robrta", pretrained=False))
    with pytest.raises(ModelError, match="hf:someone/some-model is neither a folder nor in the cache"):
        made(Model(name="hf:someone/some-model", pretrained=False))
    with pytest.raises(ModelError, match="holds no model that transformers can read"):
        made(Model(name=f"hf:{tmp_path}", pretrained=False))


def test_nothing_of_the_hub_is_in_reach_without_a_network() -> None:
    assert os.environ[OFFLINE] == "1"
    assert not hf.weights_in_reach("hf:someone/some-model")
    assert not hf.weights_in_reach("hf:bert")


def test_the_hub_s_own_switch_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.models.hugging_face.answers", lambda url: True)
    for offline in (True, False):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
        assert hf.weights_in_reach("hf:someone/some-model") is not offline
