"""N-grams are counted by text, whole batches at a time."""

from __future__ import annotations

import numpy as np

from torchkiln.codec import ngrams


def counted(texts: list[str], kind: str, most: int = 100) -> list[dict[str, int]]:
    """The counts of each text by name, from the arrays."""
    ids: dict[str, int] = {}
    count = ngrams.count_words if kind == "words" else ngrams.count_characters
    found = count(ngrams.words_of(texts, most), ngrams.growing(ids))
    names, out = list(ids), [dict[str, int]() for _ in texts]
    for row, gram, n in zip(found.rows, found.ids, found.counts, strict=True):
        out[row][names[gram]] = int(n)
    return out


def test_words_and_pairs_of_neighbours() -> None:
    first, second, third = counted(["Not good, not GOOD", "", "good"], "words")
    assert first == {
        "not": 2, "good": 2, ",": 1, "not good": 2, "good ,": 1, ", not": 1,
    }  # fmt: skip
    assert second == {}
    assert third == {"good": 1}, "no pair reaches from one text into the next"


def test_pieces_of_words_with_their_borders() -> None:
    (found,) = counted(["ab, ab"], "characters")
    assert found == {" a": 2, "ab": 2, "b ": 2, " ab": 2, "ab ": 2, " ab ": 2}


def test_words_of_many_scripts_stay_whole() -> None:
    assert ngrams.split("naïve cafe\u0301 Straße") == ["naïve", "café", "straße"]
    assert ngrams.split("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert ngrams.split("ภาษาไทย 日本語") == ["ภาษาไทย", "日本語"]
    assert ngrams.split("ok🙂\x00\x07!") == ["ok", "🙂", "\x00", "\x07", "!"]
    assert ngrams.split("\uff21\uff22\uff23 \ufb01ne") == ["abc", "fine"], "compatibility forms are one"


def test_only_the_first_words_are_read() -> None:
    found = ngrams.words_of(["a b c d", "e"], most=2)
    assert [found.names[c] for c in found.codes] == ["a", "b", "e"]
    assert found.rows.tolist() == [0, 0, 1]
    (pieces,) = counted(["x" * 10_000], "characters")
    assert sum(pieces.values()) < 5 * ngrams.LONGEST_WORD


def test_unknown_ones_are_left_out() -> None:
    words = ngrams.words_of(["a b a", "c"], 10)
    found = ngrams.count_words(words, ngrams.fixed({"a": 0, "b": 1}))
    assert (found.rows.tolist(), found.ids.tolist(), found.counts.tolist()) == ([0, 0], [0, 1], [2, 1])
    nothing = ngrams.count_words(words, ngrams.fixed({}))
    assert len(nothing.ids) == 0
    assert ngrams.document_counts(found, 3).tolist() == [1, 1, 0]


def test_weights_are_tf_idf_of_length_one() -> None:
    counts = ngrams.count_words(ngrams.words_of(["a a b", "b"], 10), ngrams.fixed({"a": 0, "b": 1}))
    weights = ngrams.weighted(counts, np.array([3.0, 1.0]), 2)
    raw = np.array([(1 + np.log(2)) * 3, 1.0])
    np.testing.assert_allclose(weights[:2], raw / np.linalg.norm(raw), rtol=1e-6)
    assert weights[2] == 1
