"""Texts to ids: counted n-grams with weights, or the pieces of a trained tokenizer in their order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import polars as pl

from torchkiln.codec import ngrams
from torchkiln.codec.base import BATCH, Arrays, ArraySpec, Axis, InputCodec, Ragged
from torchkiln.errors import DataError, MissingExtra
from torchkiln.registry import did_you_mean

MOST_WORDS = 1024
"""Words of a text that the n-gram codec reads unless the recipe says otherwise."""
MOST_NGRAMS = 50_000
"""N-grams of words that are kept, and of characters: those of the most texts first."""
SAMPLE = 100_000
"""Texts, spread over the training split, that n-grams and tokenizers are taken from."""
SPECIAL = ("[PAD]", "[CLS]", "[SEP]")
"""Of our own tokenizer, with ids 0, 1 and 2."""

_CHUNK = 4096  # texts encoded at once: bounds the memory, changes no result
_VOCABULARY = "ngrams.json"
_TOKENIZER = "tokenizer.json"


class NgramCodec(InputCodec):
    """Words, pairs of words and pieces of words, weighted by TF-IDF; and the words in their order.

    Args:
        column: The column of texts.
        max_words: Words read of each text.
        texts: How many texts the n-grams were counted in.
        words, characters: Each n-gram's count of texts. Ids begin at 1, single words first.
    """

    kind: ClassVar[str] = "ngrams"

    def __init__(
        self, column: str, max_words: int, texts: int, words: dict[str, int], characters: dict[str, int]
    ) -> None:
        self.column, self.max_words, self.texts = column, max_words, texts
        self.words, self.characters = words, characters
        self._word_ids = {name: i for i, name in enumerate(words)}
        self._character_ids = {name: i for i, name in enumerate(characters)}
        self._word_rarity = self._rarity(words)
        self._character_rarity = self._rarity(characters)

    @classmethod
    def fit(cls, train: pl.DataFrame, column: str, max_words: int | None = None) -> NgramCodec:
        """N-grams that stand in two training texts or more; in one, where there are few texts.

        Raises:
            DataError: There is no such column, or no text holds a word.
        """
        most = max_words or MOST_WORDS
        texts = sample(texts_of(train, column))
        least = 1 if len(texts) < 500 else 2
        found = ngrams.words_of(texts, most)
        if not len(found.codes):
            raise DataError(f"column {column!r} holds no text: every training row is empty")
        kept = []
        for count in (ngrams.count_words, ngrams.count_characters):
            ids: dict[str, int] = {}
            counts = count(found, ngrams.growing(ids))
            kept.append(_frequent(list(ids), ngrams.document_counts(counts, len(ids)), least))
        words = dict(sorted(kept[0].items(), key=lambda item: " " in item[0]))
        return cls(column, most, len(texts), words, kept[1])

    @property
    def size(self) -> int:
        """Ids there are, 0 for padding included."""
        return 1 + len(self.words) + len(self.characters)

    @property
    def word_size(self) -> int:
        """Ids of single words, 0 for padding and 1 for an unknown word included."""
        return 2 + sum(" " not in name for name in self.words)

    def encode(self, frame: pl.DataFrame) -> Arrays:
        """`ids` and `weights` of each text's n-grams, and `words`, all padded with 0.

        ids: int32; weights: float32, those of words and those of characters each of length one a text.
        words: int32, the text's words in their order, 1 for one that training did not see twice.
        """
        texts = texts_of(frame, self.column)
        parts = [self._chunk(texts[i : i + _CHUNK]) for i in range(0, max(1, len(texts)), _CHUNK)]
        ids, weights, lengths, words, word_counts = (np.concatenate(p) for p in zip(*parts, strict=True))
        offsets = _offsets(lengths)
        return {
            "ids": Ragged(ids, offsets),
            "weights": Ragged(weights, offsets),
            "words": Ragged(words, _offsets(word_counts)),
        }

    def lengths(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Words of each text, before any are cut off, int64 of shape [n]."""
        return np.array([len(ngrams.split(t)) for t in texts_of(frame, self.column)], np.int64)

    def specs(self) -> list[ArraySpec]:
        counted, in_order = (BATCH, Axis("ngrams")), (BATCH, Axis("words", self.max_words))
        return [
            ArraySpec("ids", "int32", counted, below=self.size),
            ArraySpec("weights", "float32", counted),
            ArraySpec("words", "int32", in_order, below=self.word_size),
        ]

    def state(self) -> dict[str, Any]:
        return {"column": self.column, "max_words": self.max_words, "texts": self.texts}

    def save_files(self, folder: Path) -> None:
        content = {"words": self.words, "characters": self.characters}
        (folder / _VOCABULARY).write_text(json.dumps(content, ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def from_state(cls, state: dict[str, Any], folder: Path) -> NgramCodec:
        content = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
        return cls(**state, **content)

    def _chunk(self, texts: list[str]) -> tuple[npt.NDArray[Any], ...]:
        found = ngrams.words_of(texts, self.max_words)
        words = ngrams.count_words(found, ngrams.fixed(self._word_ids))
        characters = ngrams.count_characters(found, ngrams.fixed(self._character_ids))
        rows = np.concatenate([words.rows, characters.rows])
        ids = np.concatenate([words.ids + 1, characters.ids + 1 + len(self.words)])
        weights = np.concatenate([
            ngrams.weighted(words, self._word_rarity, len(texts)),
            ngrams.weighted(characters, self._character_rarity, len(texts)),
        ])  # fmt: skip
        order = np.argsort(rows, kind="stable")
        lengths = np.bincount(rows, minlength=len(texts))
        known = ngrams.fixed(self._word_ids)(found.names) + 2
        in_order = np.where(known > 1, known, 1)[found.codes].astype(np.int32)
        counts = np.bincount(found.rows, minlength=len(texts))
        return ids[order].astype(np.int32), weights[order], lengths, in_order, counts

    def _rarity(self, counts: dict[str, int]) -> npt.NDArray[np.float64]:
        return np.log((1 + self.texts) / (1 + np.array(list(counts.values()), np.float64))) + 1


class TokenCodec(InputCodec):
    """The pieces of a tokenizer of the library `tokenizers`, in their order.

    Args:
        column: The column of texts.
        tokenizer: The content of a tokenizer.json.
        pad: The id that fills up shorter texts.
        max_tokens: Ids of each text, special ones included; the rest is cut off.
        model: Configuration of the Hugging Face model that the ids are for, kept with them so that a
            trained net can be built again without the hub.
    """

    kind: ClassVar[str] = "tokens"

    def __init__(
        self, column: str, tokenizer: str, pad: int, max_tokens: int, model: dict[str, Any] | None = None
    ) -> None:
        self.column, self.tokenizer, self.pad, self.max_tokens = column, tokenizer, pad, max_tokens
        self.model = model
        self._pieces = _read_tokenizer(tokenizer)

    @classmethod
    def fit(cls, train: pl.DataFrame, column: str, max_tokens: int, vocabulary: int = 8000) -> TokenCodec:
        """A byte-level BPE trained on the texts: any script, nothing unknown, the same on each training.

        Args:
            train: Training rows.
            column: The column of texts.
            max_tokens: As for the class.
            vocabulary: Most ids.

        Raises:
            DataError: There is no such column, or no text holds anything.
        """
        texts = sample(texts_of(train, column))
        if not any(text.strip() for text in texts):
            raise DataError(f"column {column!r} holds no text: every training row is empty")
        return cls(column, _trained(texts, vocabulary), 0, max_tokens)

    @property
    def size(self) -> int:
        """Ids there are."""
        return int(self._pieces.get_vocab_size())

    def encode(self, frame: pl.DataFrame) -> Arrays:
        """`ids`: int32 of each text, padded behind with `pad`."""
        values = list(self._encoded(texts_of(frame, self.column)))
        lengths = np.array([len(v) for v in values], np.int64)
        joined = np.concatenate([*values, np.empty(0, np.int32)])
        return {"ids": Ragged(joined, _offsets(lengths), self.pad)}

    def lengths(self, frame: pl.DataFrame) -> npt.NDArray[np.int64]:
        """Ids of each text, before any are cut off, int64 of shape [n]."""
        whole = TokenCodec(self.column, self.tokenizer, self.pad, np.iinfo(np.int32).max)
        return np.array([len(v) for v in whole._encoded(texts_of(frame, self.column))], np.int64)

    def specs(self) -> list[ArraySpec]:
        shape = (BATCH, Axis("length", self.max_tokens))
        return [ArraySpec("ids", "int32", shape, below=self.size, pad=self.pad)]

    def state(self) -> dict[str, Any]:
        own = {"column": self.column, "pad": self.pad, "max_tokens": self.max_tokens}
        return own if self.model is None else {**own, "model": self.model}

    def save_files(self, folder: Path) -> None:
        (folder / _TOKENIZER).write_text(self.tokenizer, encoding="utf-8")

    @classmethod
    def from_state(cls, state: dict[str, Any], folder: Path) -> TokenCodec:
        return cls(tokenizer=(folder / _TOKENIZER).read_text(encoding="utf-8"), **state)

    def _encoded(self, texts: list[str]) -> Iterator[npt.NDArray[np.int32]]:
        self._pieces.enable_truncation(self.max_tokens)
        for i in range(0, len(texts), _CHUNK):
            for found in self._pieces.encode_batch_fast(texts[i : i + _CHUNK]):
                yield np.array(found.ids, np.int32)


def texts_of(frame: pl.DataFrame, column: str) -> list[str]:
    """The texts of a column; a missing one is empty.

    Raises:
        DataError: There is no such column.
    """
    if column not in frame.columns:
        hint = did_you_mean(column, frame.columns)
        raise DataError(f"there is no column {column!r} to take texts from{hint}")
    return frame[column].cast(pl.String).fill_null("").to_list()


def sample(texts: list[str]) -> list[str]:
    """At most `SAMPLE` of the texts, spread evenly."""
    if len(texts) <= SAMPLE:
        return texts
    return [texts[i] for i in np.linspace(0, len(texts) - 1, SAMPLE).astype(np.int64)]


def _frequent(names: Sequence[str], counts: npt.NDArray[np.int64], least: int) -> dict[str, int]:
    """Those that stand in enough texts, the most frequent first, equal ones by name."""
    kept = [(name, count) for name, count in zip(names, counts.tolist(), strict=True) if count >= least]
    return dict(sorted(kept, key=lambda item: (-item[1], item[0]))[:MOST_NGRAMS])


def _offsets(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _trained(texts: list[str], vocabulary: int) -> str:
    """The tokenizer.json of a byte-level BPE."""
    tokenizers = _tokenizers()
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    normalizers, pre, processors = tokenizers.normalizers, tokenizers.pre_tokenizers, tokenizers.processors
    one_space = normalizers.Replace(tokenizers.Regex(r"\s+"), " ")
    steps = [normalizers.NFKC(), normalizers.Lowercase(), one_space, normalizers.Strip()]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre.ByteLevel(add_prefix_space=True)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    ends = [(token, SPECIAL.index(token)) for token in SPECIAL[1:]]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return str(made.to_str())


def _read_tokenizer(content: str) -> Any:
    made = _tokenizers().Tokenizer.from_str(content)
    made.no_padding()
    # A text that spells "[PAD]" must not become the id of padding.
    made.encode_special_tokens = True
    return made


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise MissingExtra("tokenizers", "train") from error
    return tokenizers
