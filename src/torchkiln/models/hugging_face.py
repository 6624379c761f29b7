"""Hugging Face's models for sorting texts: by name, by local folder, or laid out anew by kind.

`hf:NAME` is a model of the hub, `hf:FOLDER` one on this machine, and `hf:KIND` (`hf:bert`) one of the kinds
that transformers knows, trained from nothing with the sizes of `model.args`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from torch import Tensor, nn

from torchkiln.codec.text import TokenCodec
from torchkiln.errors import MissingExtra, ModelError
from torchkiln.models import adapt
from torchkiln.models.reach import answers
from torchkiln.models.text import HUGGING_FACE, text_mask
from torchkiln.recipe.schema import Model
from torchkiln.registry import did_you_mean

HUB = "https://huggingface.co"

_WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


class HuggingFaceNet(nn.Module):
    """A model of transformers whose parts are called `backbone` and `head`, as in our other nets.

    Args:
        model: For sorting into classes; its `base_model` becomes the backbone, all else the head.
        pad: The id of padding.
    """

    def __init__(self, model: Any, pad: int) -> None:
        super().__init__()
        prefix = model.base_model_prefix
        self.pad = pad
        self.backbone = model.base_model
        self.head = nn.ModuleDict({n: m for n, m in model.named_children() if n != prefix})
        # In a list, so that its parameters are not registered a second time under other names.
        self._whole = [model]

    def forward(self, ids: Tensor) -> Tensor:
        """[B, C], from ids [B, L] padded behind."""
        # Full-length masks of 0 and 1: the kinds differ in what else they understand.
        mask = text_mask(ids, self.pad).long()
        logits: Tensor = self._whole[0](input_ids=ids, attention_mask=mask).logits
        return logits

    def train(self, mode: bool = True) -> HuggingFaceNet:
        """Set the mode of all parts, that of the whole model included."""
        super().train(mode)
        self._whole[0].training = mode
        return self


def build(model: Model, codec: TokenCodec, classes: list[str], *, fresh: bool) -> HuggingFaceNet:
    """The net that a recipe names.

    Args:
        model: `name` begins with `hf:`; `pretrained` is true or false.
        codec: Holds the model's configuration.
        classes: Names of the classes.
        fresh: Whether published weights are wanted; false where trained ones are loaded next.

    Raises:
        ModelError: Weights cannot be had, or the configuration does not fit.
        MissingExtra: transformers is not installed.
    """
    transformers = _transformers()
    name = source_of(model)
    labels = dict(enumerate(classes))
    config = _configured(codec.model or {}, name)
    config.update({"id2label": labels, "label2id": {n: i for i, n in labels.items()}, "pad_token_id": codec.pad})
    config.problem_type = "single_label_classification"
    made = transformers.AutoModelForSequenceClassification
    with _quiet(transformers):
        try:
            if fresh and model.pretrained is True:
                whole = made.from_pretrained(name, config=config, ignore_mismatched_sizes=True, **_reach(name))
            else:
                whole = made.from_config(config)
        except Exception as error:  # the library raises many kinds
            raise ModelError(f"model: hf:{name} cannot be built ({_first_line(error)})") from error
    whole = whole.float()
    if model.head is not None:
        _replace_last_linear(whole, model, len(classes))
    return HuggingFaceNet(whole, codec.pad)


def fit_codec(
    train: pl.DataFrame, column: str, model: Model, most: int, vocabulary: int
) -> tuple[TokenCodec, str | None]:
    """The model's own tokenizer; or one trained on the texts where it has none, and a word about it.

    Args:
        train: Training rows.
        column: The column of texts.
        model: As in `build`.
        most: Longest text, in tokens.
        vocabulary: Most ids of a tokenizer trained here.

    Raises:
        ModelError: The model is pretrained, and the tokenizer it was trained with cannot be had.
    """
    name = source_of(model)
    config = read_config(model)
    most = _most(config, most)
    if has_tokenizer(name):
        return _read_tokenizer(name, column, most, config), None
    if model.pretrained is True:
        raise ModelError(f"model.name: hf:{name} has no tokenizer at hand, and its weights are of no use without it")
    codec = TokenCodec.fit(train, column, most, vocabulary)
    config = {**config, "vocab_size": codec.size, "pad_token_id": codec.pad, **_ENDS}
    made = TokenCodec(column, codec.tokenizer, codec.pad, codec.max_tokens, config)
    return made, f"hf:{name} has no tokenizer at hand: one of {codec.size:,} pieces was trained on the texts"


_ENDS = {"bos_token_id": 1, "cls_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
"""Ids of our own tokenizer's ends, for kinds that look for them."""


def source_of(model: Model) -> str:
    """The name or folder behind `hf:`."""
    return (model.name or "").removeprefix(HUGGING_FACE)


def read_config(model: Model) -> dict[str, Any]:
    """The model's configuration, with what `model.args` sets in it.

    Raises:
        ModelError: There is none, or an argument is none of its fields.
    """
    transformers, name = _transformers(), source_of(model)
    try:
        with _quiet(transformers):
            if _is_kind(name):
                config = transformers.AutoConfig.for_model(name)
            else:
                config = transformers.AutoConfig.from_pretrained(name, **_reach(name))
    except Exception as error:  # the library raises many kinds for a name or folder that is none
        raise ModelError(_not_found(name, error)) from error
    known = config.to_dict()
    for key in model.args:
        if key not in known:
            raise ModelError(f"model.args: hf:{name} has no field {key!r}{did_you_mean(key, known)}")
    return {**known, **model.args, "model_type": config.model_type}


def weights_in_reach(name: str) -> bool:
    """Whether weights of a model are on this machine or can be downloaded now.

    Args:
        name: With or without `hf:`.
    """
    name = name.removeprefix(HUGGING_FACE)
    if _is_kind(name):
        return False
    if Path(name).is_dir():
        return any((Path(name) / file).exists() for file in _WEIGHTS)
    return _cached(name, _WEIGHTS) or _hub_answers()


def has_tokenizer(name: str) -> bool:
    """Whether a tokenizer is on this machine or can be downloaded now."""
    if _is_kind(name):
        return False
    if Path(name).is_dir():
        return any((Path(name) / file).exists() for file in _TOKENIZERS)
    return _cached(name, _TOKENIZERS) or _hub_answers()


def _read_tokenizer(name: str, column: str, most: int, config: dict[str, Any]) -> TokenCodec:
    """What `AutoTokenizer` finds, in the form that needs no transformers."""
    transformers = _transformers()
    try:
        with _quiet(transformers):
            theirs = transformers.AutoTokenizer.from_pretrained(name, **_reach(name))
        pad = theirs.pad_token_id if theirs.pad_token_id is not None else theirs.eos_token_id
        most = min(most, theirs.model_max_length)
        made = TokenCodec(column, theirs.backend_tokenizer.to_str(), pad or 0, most, config)
        made.encode(pl.DataFrame({column: ["a"]}))
    except Exception as error:  # the libraries raise many kinds for files that are not whole
        raise ModelError(
            f"model.name: no tokenizer that works can be read from {name} ({_first_line(error)})"
        ) from error
    return made


def _is_kind(name: str) -> bool:
    return not Path(name).exists() and name in _transformers().CONFIG_MAPPING


def _not_found(name: str, error: Exception) -> str:
    if Path(name).is_dir():
        return f"model.name: {name} holds no model that transformers can read ({_first_line(error)})"
    if "/" in name and not _hub_answers():
        return (f"model.name: hf:{name} is neither a folder nor in the cache of this machine, and the hub of "
                "Hugging Face does not answer; give a local folder")  # fmt: skip
    hint = did_you_mean(name, _transformers().CONFIG_MAPPING)
    return f"model.name: hf:{name} is no folder, no model of the hub in reach, and no kind of transformers{hint}"


def _configured(config: Mapping[str, Any], name: str) -> Any:
    values = dict(config)
    try:
        return _transformers().AutoConfig.for_model(values.pop("model_type"), **values)
    except Exception as error:
        raise ModelError(f"model.args: hf:{name} does not take them ({_first_line(error)})") from error


def _most(config: Mapping[str, Any], wanted: int) -> int:
    """The longest text that the model has positions for; some kinds count from behind the padding's id."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(positions, int) or positions <= 0:
        return wanted
    return min(wanted, positions - 2)


def _replace_last_linear(whole: nn.Module, model: Model, classes: int) -> None:
    assert model.head is not None
    linear = [n for n, m in whole.named_modules() if isinstance(m, nn.Linear) and m.out_features == classes]
    if not linear:
        raise ModelError(f"model.head: {model.name} has no linear layer that gives the classes")
    parent, _, attribute = linear[-1].rpartition(".")
    old = whole.get_submodule(linear[-1])
    assert isinstance(old, nn.Linear)
    setattr(whole.get_submodule(parent), attribute, adapt.build_head(model.head, old.in_features, classes))


def _reach(name: str) -> dict[str, Any]:
    """Arguments that keep the library from the network where that leads nowhere."""
    return {"local_files_only": not Path(name).exists() and not _hub_answers()}


def _hub_answers() -> bool:
    from huggingface_hub.constants import HF_HUB_OFFLINE

    return not HF_HUB_OFFLINE and answers(HUB)


def _cached(name: str, files: tuple[str, ...]) -> bool:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)
    except HFValidationError:
        return False


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No bars and no notes of the library: what matters is said in our findings and errors."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", "text") from error
    return transformers
