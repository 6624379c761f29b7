"""Texts to ids: the same alone and among many, the same on each training, and right for odd texts."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from torchkiln.codec import ngrams
from torchkiln.codec.base import Arrays, InputCodec, Ragged
from torchkiln.codec.text import SPECIAL, NgramCodec, TokenCodec
from torchkiln.errors import DataError

WORDS = ["the", "a", "film", "was", "not", "very", "good", "bad", "dull", "bright", "plot", "actor", "scene"]
ODD = ["", "   ", "\x00\x01\x1b", "[PAD] [CLS] film", "हिन्दी 日本語 🙂", "film " * 3000, "q" * 50_000]


def texts(n: int = 60) -> list[str]:
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, random.integers(2, 14))) for _ in range(n)]


def frame(values: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"key": [str(i) for i in range(len(values))], "text": values})


def codec(kind: str, values: list[str] | None = None) -> NgramCodec | TokenCodec:
    train = frame(values or texts())
    return NgramCodec.fit(train, "text") if kind == "ngrams" else TokenCodec.fit(train, "text", 32, 400)


def rows(arrays: Arrays) -> list[dict[str, list[Any]]]:
    """What each text became, without padding."""
    out = []
    for i in range(len(arrays["ids"])):
        at = {name: (a.offsets[i], a.offsets[i + 1], a) for name, a in arrays.items() if isinstance(a, Ragged)}
        out.append({name: a.values[start:end].tolist() for name, (start, end, a) in at.items()})
    return out


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_a_text_alone_is_as_among_many(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = codec(kind)
    many = [*texts(), *ODD]
    together = rows(made.encode(frame(many)))
    assert [rows(made.encode(frame([text])))[0] for text in many] == together
    monkeypatch.setattr("torchkiln.codec.text._CHUNK", 7)
    assert rows(made.encode(frame(many))) == together


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_saved_and_read_it_is_the_same(kind: str, tmp_path: Path) -> None:
    made = codec(kind)
    made.save_files(tmp_path)
    read: InputCodec = type(made).from_state(made.state(), tmp_path)
    assert rows(read.encode(frame([*texts(), *ODD]))) == rows(made.encode(frame([*texts(), *ODD])))
    assert read.state() == made.state()


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_empty_and_missing_texts(kind: str) -> None:
    made = codec(kind)
    empty, spaces, missing = rows(made.encode(frame(["", "   ", None])))
    assert empty == spaces == missing
    assert len(empty["ids"]) == (0 if kind == "ngrams" else 2)
    encoded = made.encode(frame([""]))["ids"]
    assert isinstance(encoded, Ragged)
    assert encoded.padded(np.array([0])).shape == (1, 1 if kind == "ngrams" else 2)
    assert len(made.encode(frame([]).cast(pl.String))["ids"]) == 0


@pytest.mark.parametrize("kind", ["ngrams", "tokens"])
def test_what_cannot_be_fitted(kind: str) -> None:
    with pytest.raises(DataError, match="column 'text' holds no text: every training row is empty"):
        codec(kind, ["", " "])
    with pytest.raises(DataError, match="no column 'text' to take texts from: did you mean 'texts'"):
        codec(kind).encode(frame(["a"]).rename({"text": "texts"}))


def test_numbers_are_texts_too() -> None:
    made = NgramCodec.fit(frame(["12", "13"]), "text")
    assert rows(made.encode(frame([12]))) == rows(made.encode(frame(["12"])))


def test_ngrams_weigh_as_scikit_learn_s_tf_idf() -> None:
    values = texts()
    made = codec("ngrams", values)
    assert isinstance(made, NgramCodec)
    theirs = TfidfVectorizer(tokenizer=ngrams.split, token_pattern=None, ngram_range=(1, 2), sublinear_tf=True)
    expected = theirs.fit_transform(values)
    names = list(made.words)
    for i, row in enumerate(rows(made.encode(frame(values)))):
        pairs = zip(row["ids"], row["weights"], strict=True)
        ours = {names[k - 1]: w for k, w in pairs if k <= len(names)}
        start, end = expected.indptr[i : i + 2]
        column_names = theirs.get_feature_names_out()[expected.indices[start:end]]
        assert set(ours) == set(column_names)
        for name, weight in zip(column_names, expected.data[start:end], strict=True):
            assert ours[name] == pytest.approx(weight, rel=1e-5)


def test_words_in_their_order_and_unknown_ones() -> None:
    made = codec("ngrams")
    assert isinstance(made, NgramCodec)
    (row,) = rows(made.encode(frame(["plot zebra film plot"])))
    plot, unknown, film, again = row["words"]
    assert unknown == 1
    assert plot == again > 1
    assert film not in (plot, 1)
    assert made.word_size == 2 + len(WORDS)
    names = [name for name in made.words if " " not in name]
    assert list(made.words)[: len(names)] == names, "ids of single words come first"
    assert max(row["ids"]) < made.size
    assert names[plot - 2] == "plot"


def test_rare_ngrams_are_left_out_where_there_are_many_texts() -> None:
    many = [*texts(600), "zebra stripes"]
    assert "zebra" not in codec("ngrams", many).words  # type: ignore[union-attr]
    assert "zebra" in codec("ngrams", many[-50:]).words  # type: ignore[union-attr]


def test_the_most_frequent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchkiln.codec.text.MOST_NGRAMS", 3)
    made = NgramCodec.fit(frame(["b", "b c", "a b", "a d"]), "text")
    assert made.words == {"b": 3, "a": 2, "a b": 1}, "equal counts by name"


def test_a_tokenizer_is_the_same_in_every_process() -> None:
    program = (
        "import hashlib, polars as pl, sys; from torchkiln.codec.text import TokenCodec\n"
        "words = sys.stdin.read().splitlines()\n"
        "made = TokenCodec.fit(pl.DataFrame({'text': words}), 'text', 32, 400)\n"
        "print(hashlib.sha256(made.tokenizer.encode()).hexdigest())"
    )
    found = {hashlib.sha256(codec("tokens").tokenizer.encode()).hexdigest()}  # type: ignore[union-attr]
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program], input="\n".join(texts()), text=True, capture_output=True,
            check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        found.add(done.stdout.strip())
    assert len(found) == 1


def test_tokens_of_odd_texts() -> None:
    made = codec("tokens")
    assert isinstance(made, TokenCodec)
    pad, begin, end = (SPECIAL.index(t) for t in SPECIAL)
    for text, row in zip(ODD, rows(made.encode(frame(ODD))), strict=True):
        ids = row["ids"]
        assert ids[0] == begin, text[:20]
        assert ids[-1] == end, text[:20]
        assert len(ids) <= 32
        assert pad not in ids
        assert begin not in ids[1:], "what a text spells is never a special id"
        assert max(ids) < made.size


def test_lengths_are_those_before_the_cut() -> None:
    made = codec("tokens")
    assert made.lengths(frame(["film " * 3000])).tolist() == [3002]
    assert rows(made.encode(frame(["film " * 3000])))[0]["ids"][-1] == SPECIAL.index("[SEP]")
    short = NgramCodec.fit(frame(texts()), "text", max_words=4)
    assert short.lengths(frame(["a film was not good"])).tolist() == [5]
    assert len(rows(short.encode(frame(["a film was not good"])))[0]["words"]) == 4


def test_nothing_of_torch_is_needed() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import polars as pl; from torchkiln.codec.text import NgramCodec, TokenCodec\n"
        "data = pl.DataFrame({'text': ['a film', 'the film']})\n"
        "NgramCodec.fit(data, 'text').encode(data); TokenCodec.fit(data, 'text', 8).encode(data)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
